"""What each secret opens: of every method of every service, over the wire."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog

from chaos.engines.child import free_port
from contracts.errors import CodeWarzError, Unavailable
from contracts.messages import Request, Verification, VerifyProblem
from edge.aio import AsyncioLoop
from edge.rpc.client import Call
from edge.rpc.grpc import GrpcRpc
from edge.rpc.url import Address, RpcUrl
from edge.rpc.wire import PATHS, SERVICES

HOUSE, JUDGE = "the-house-has-this-one", "the-judges-have-this-one"
FOR_JUDGES = {  # by hand: whoever adds to it adds to what an escape from a sandbox is worth
    "/codewarz.v1.Core/GetWork",
    "/codewarz.v1.Core/GetProblem",
    "/codewarz.v1.Core/PersistVerdict",
    "/codewarz.v1.Leaderboard/UpdateLeaderboard",
    "/codewarz.v1.Judge/VerifyProblem",
}


class Answering:
    """Answers nothing that makes sense; what counts is whether it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, request: Request[Any], *, timeout: float) -> Any:
        self.asked += 1
        raise CodeWarzError("asked")


@pytest.mark.parametrize(
    ("secret", "opens", "status"),
    [
        ("", set(), 16),
        ("wrong", set(), 16),
        (JUDGE[:-1], set(), 16),
        (JUDGE, FOR_JUDGES, 7),
        (HOUSE, set(PATHS), 0),
    ],
)
async def test_of_every_method(aio: AsyncioLoop, secret: str, opens: set[str], status: int) -> None:
    port, answering = free_port(), Answering()
    assert set(PATHS) > FOR_JUDGES
    with structlog.testing.capture_logs():
        async with AsyncExitStack() as stack:
            there = GrpcRpc(f"grpc://:{HOUSE}@127.0.0.1:{port}?judge_secret={JUDGE}", aio)
            await stack.enter_async_context(there)
            for name in SERVICES:
                await stack.enter_async_context(there.serve(name, answering))
            for path, (name, _method) in PATHS.items():
                before = answering.asked
                async with GrpcRpc(f"grpc://:{secret}@?{name}=127.0.0.1:{port}", aio) as rpc:
                    assert rpc._inside is not None
                    call = Call(path, b"", [], time.monotonic() + 5)
                    with pytest.raises(CodeWarzError) as caught:
                        await aio.call(rpc._inside.balance.unary, name, call)
                if path in opens:  # it was read, and answered if an empty message means something
                    assert "status" not in caught.value.detail, path
                else:
                    assert isinstance(caught.value, Unavailable)
                    assert f"status {status}" in caught.value.detail, path
                    assert answering.asked == before, path


async def test_a_judge_is_asked_with_the_secret_that_it_has(aio: AsyncioLoop) -> None:
    async def judge(request: Request[Any], *, timeout: float) -> Any:
        assert isinstance(request, VerifyProblem)
        return Verification(slug="stairs", title="", digest="", package=b"", summary=b"")

    port = free_port()
    ask = VerifyProblem(package=b"")
    async with GrpcRpc(f"grpc://:{JUDGE}@127.0.0.1:{port}", aio) as there, there.serve("judge", judge):
        async with GrpcRpc(f"grpc://:{HOUSE}@?judge=127.0.0.1:{port}&judge_secret={JUDGE}", aio) as rpc:
            assert (await rpc.call("judge", ask, timeout=5)).slug == "stairs"
        async with GrpcRpc(f"grpc://:{HOUSE}@?judge=127.0.0.1:{port}", aio) as rpc:
            with pytest.raises(Unavailable, match="wrong secret"):
                await rpc.call("judge", ask, timeout=5)


async def test_what_a_judge_may_not_is_in_the_log(aio: AsyncioLoop) -> None:
    port, path = free_port(), "/codewarz.v1.Core/CreateUser"
    with structlog.testing.capture_logs() as logs:
        async with (
            GrpcRpc(f"grpc://:{HOUSE}@127.0.0.1:{port}?judge_secret={JUDGE}", aio) as there,
            there.serve("core", Answering()),
            GrpcRpc(f"grpc://:{JUDGE}@?core=127.0.0.1:{port}", aio) as rpc,
        ):
            assert rpc._inside is not None
            for _ in range(2):
                with pytest.raises(Unavailable, match="not with the secret of judges"):
                    await aio.call(rpc._inside.balance.unary, "core", Call(path, b"", [], time.monotonic() + 5))
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["rpc_not_for_judges"]


def test_the_house_s_secret_is_shown_to_no_judge() -> None:
    url = RpcUrl.parse(f"grpc://:{HOUSE}@?core=a:1,b:1&leaderboard=a:1&judge=b:1,c:1,d:1&judge_secret={JUDGE}")
    shown = {each.host: url.secret_for(each) for each in (Address(host, 1) for host in "abcd")}
    assert shown == {"a": HOUSE, "b": HOUSE, "c": JUDGE, "d": JUDGE}  # b is a core as well
    assert RpcUrl.parse(f"grpc://:{HOUSE}@?judge=c:1").secret_for(Address("c", 1)) == HOUSE
