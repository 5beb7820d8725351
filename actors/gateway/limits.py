"""Token buckets of this process: how often one client may do one thing.

Rule 1: a bucket belongs to a client (a user, or an address prefix), never to the gateway's own address.
Rule 2: the table is bounded. The bucket that was untouched for longest goes first; it is the likeliest to be full again anyway.
Rule 3: a refused request costs nothing, so a client that waits as told is served.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

import msgspec
import trio

BUCKETS_MAX = 20_000


class Rule(msgspec.Struct, frozen=True):
    """``burst`` requests at once, then ``per_s`` each second. ``by_address``: whoever is signed in is counted by address too, not as a user."""

    name: str
    burst: int
    per_s: float
    by_address: bool = False


class Standing(msgspec.Struct, frozen=True):
    """Where a client stands after asking. ``retry_after_s`` is None when it was let through."""

    rule: Rule
    remaining: int
    full_after_s: float
    retry_after_s: float | None = None

    def headers(self) -> dict[str, str]:
        """Return the RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10)."""
        window = math.ceil(self.rule.burst / self.rule.per_s)
        return {
            "RateLimit-Policy": f'"{self.rule.name}";q={self.rule.burst};w={window}',
            "RateLimit": f'"{self.rule.name}";r={self.remaining};t={math.ceil(self.full_after_s)}',
        }


class Limiter:
    """Every bucket of this process. Time is the Trio clock's."""

    def __init__(self, buckets_max: int = BUCKETS_MAX) -> None:
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # tokens, as of when

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, rule: Rule, client: str) -> Standing:
        """Take one token of the client's bucket if there is one, and say where the client stands."""
        key, now = (rule.name, client), trio.current_time()
        tokens, since = self._buckets.pop(key, (float(rule.burst), now))
        tokens = min(float(rule.burst), tokens + (now - since) * rule.per_s)
        is_let_through = tokens >= 1
        if is_let_through:
            tokens -= 1
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > self._buckets_max:
            self._buckets.popitem(last=False)
        return Standing(
            rule,
            int(tokens),
            (rule.burst - tokens) / rule.per_s,
            None if is_let_through else (1 - tokens) / rule.per_s,
        )


def address_prefix(address: str) -> str:
    """Return what one client surely owns: an IPv4 address, or an IPv6 /64 (a home gets one); "unknown" for anything else."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
