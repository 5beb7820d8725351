"""Who is counted when proxies are, or pretend to be, in between."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from actors.gateway.addresses import client_address, is_direct_and_local, networks
from tests.actors.gateway.conftest import House

OURS = networks("127.0.0.1, 10.0.0.0/8, ::1")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # anybody can write the header
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the left part is the client's invention
        ("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "198.51.100.1, nonsense", "127.0.0.1"),
        ("127.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("127.0.0.1", ",".join(["10.0.0.1"] * 10_000), "10.0.0.1"),
        ("unknown", "198.51.100.1", "unknown"),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str, forwarded_for: str, client: str) -> None:
    assert client_address(peer, forwarded_for, OURS) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert client_address("127.0.0.1", "198.51.100.1", ()) == "127.0.0.1"


def test_networks_are_read_or_refused() -> None:
    assert networks("") == ()
    with pytest.raises(ValueError, match="nonsense"):
        networks("10.0.0.1, nonsense")


def test_a_proxy_on_this_machine_is_not_this_machine() -> None:
    assert is_direct_and_local("127.0.0.1", Headers())
    assert not is_direct_and_local("127.0.0.1", Headers({"X-Forwarded-For": "127.0.0.1"}))
    assert not is_direct_and_local("198.51.100.1", Headers())


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_metrics_are_not_served_through_a_proxy_on_this_machine(house: House, header: str) -> None:
    assert (await house.anonymous.get("/metrics")).status_code == 200
    assert (await house.anonymous.get("/metrics", headers={header: "127.0.0.1"})).status_code == 403
