"""Whose request it is, in terms of addresses: the peer, or whom a proxy of ours says it speaks for.

Rule 1: only a proxy that the operator named is believed; anybody can write an ``X-Forwarded-For``.
Rule 2: the header is read from the right, for each hop appends what it saw itself; the first address that is not a proxy of ours is the client.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from werkzeug.datastructures import Headers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
HOPS_MAX = 16
_OF_PROXIES = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP")


def networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks between commas ("10.0.0.1, 10.1.0.0/16"); raises ValueError."""
    return tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())


def client_address(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """Return the client's address: ``peer``, or behind proxies of ours what they say."""
    client = peer
    for hop in ["", *forwarded_for.split(",")[-HOPS_MAX:]][:0:-1]:
        if not _is_one_of(client, proxies):
            break
        address = _parse(hop.strip())
        if address is None:
            break
        client = str(address)
    return client


def is_direct_and_local(peer: str, headers: Headers) -> bool:
    """Whether somebody on this machine asks, and no proxy on this machine for somebody elsewhere."""
    address = _parse(peer)
    return address is not None and address.is_loopback and not any(name in headers for name in _OF_PROXIES)


def _is_one_of(address: str, proxies: Sequence[Network]) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in each for each in proxies)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed
