"""``CODEWARZ_RPC``: read into data, or refused with one line that gives no secret away."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Invalid
from edge.aio import AsyncioLoop
from edge.rpc.grpc import GrpcRpc
from edge.rpc.url import Address, RpcUrl

SECRET = "Tr0ub4dor"


def test_everything_that_can_be_said() -> None:
    url = RpcUrl.parse(
        f"grpcs://:{SECRET}%2F%40@[::1]:7000?core=a.example:1,10.0.0.1:2&judge=[::2]:3&judge_secret=a%26b+c&ca=/c/ca.pem&cert=/c/cert.pem&key=key"
    )
    assert url == RpcUrl(
        listen=Address("::1", 7000),
        services={"core": (Address("a.example", 1), Address("10.0.0.1", 2)), "judge": (Address("::2", 3),)},
        secret=f"{SECRET}/@",
        judge_secret="a&b+c",
        is_encrypted=True,
        ca=Path("/c/ca.pem"),
        cert=Path("/c/cert.pem"),
        key=Path("key"),
    )
    assert str(Address("::1", 7)) == "[::1]:7"


@pytest.mark.parametrize(
    "text", ["grpc://?core=a:1", f"grpc://:{SECRET}@?core=a:1", "grpc:?core=a:1", "grpc:///?core=a:1"]
)
def test_a_process_that_serves_nothing_has_no_address(text: str) -> None:
    url = RpcUrl.parse(text)
    assert url.listen is None
    assert url.services == {"core": (Address("a", 1),)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "scheme"),
        (f"http://:{SECRET}@a:1", "scheme"),
        (f"grpc://user:{SECRET}@a:1", "user's name"),
        (f"grpc://:{SECRET}/x@a:1", "path or a fragment"),
        (f"grpc://:{SECRET}#x@a:1", "path or a fragment"),
        (f"grpc://:{SECRET}?x@a:1", "no meaning behind"),
        (f"grpc://:{SECRET}@a:port", "address to serve at"),
        (f"grpc://:{SECRET}@a", "address to serve at"),
        (f"grpc://:{SECRET}@a:65536", "address to serve at"),
        (f"grpc://:{SECRET}@[::1", "write grpc://"),
        (f"grpc://:{SECRET}%20b@a:1", "printable"),
        (f"grpc://:{SECRET}%C3%A9@a:1", "printable"),
        ("grpc://?coer=a:1", "'coer' is none of core, leaderboard, judge, ca, cert, key, judge_secret"),
        (f"grpc://:{SECRET}@a:1?judge_secret={SECRET}", "one of their own"),
        (f"grpc://a:1?judge_secret={SECRET}%20b", "printable"),
        (f"grpc://a:1?judge_secret={SECRET}&judge_secret={SECRET}", "said twice"),
        ("grpc://a:1?judge_secret=", "is empty"),
        ("grpc://?core=", "no address of core"),
        ("grpc://?core=a:1,", "no address of core"),
        ("grpc://?core=a:99999", "no address of core"),
        ("grpc://?core=a:1&core=b:1", "said twice"),
        ("grpc://?core=" + ",".join(["a:1"] * 65), "more than 64"),
        ("grpc://?ca=x", "needs grpcs"),
        ("grpcs://?ca=", "names no file"),
        ("grpcs://?cert=x", "belong together"),
        ("grpcs://a:1", "cert=FILE and key=FILE"),
    ],
)
def test_a_bad_one_is_refused_with_one_line(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        RpcUrl.parse(text)
    assert caught.value.detail.startswith("CODEWARZ_RPC: ")
    assert "\n" not in caught.value.detail
    assert SECRET not in caught.value.detail


def test_files_that_cannot_be_used_are_said_before_anything_is_opened(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    aio = AsyncioLoop()
    for query in ("ca=/nowhere", f"ca={bad}", f"cert={bad}&key={bad}"):
        with pytest.raises(Invalid, match=r"CODEWARZ_RPC: (ca|cert or key) cannot be used"):
            GrpcRpc(f"grpcs://?core=a:1&{query}", aio)


def test_the_secret_is_in_no_repr() -> None:
    url = RpcUrl.parse(f"grpc://:{SECRET}@a:1?core=b:2&judge_secret=J{SECRET}")
    assert SECRET not in repr(url)
    assert SECRET not in repr(GrpcRpc(url, AsyncioLoop()))
