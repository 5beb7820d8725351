"""Who may ask what: the secret of the house, and the judges', which opens only what judges ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
import trio

from chaos.engines.child import free_port
from contracts.errors import Unavailable
from contracts.messages import CloseSessions, Request, VerifyProblem
from edge.aio import AsyncioLoop
from edge.rpc import server
from edge.rpc.grpc import GrpcRpc
from edge.rpc.url import JUDGES_MAY, RpcUrl
from edge.rpc.wire import PATHS
from tests.edge.grpc_parts import ask, named

HOUSE, JUDGES = "the-secret-of-the-house", "the-secret-of-the-judges"
BOTH = f"grpc://:{HOUSE}@127.0.0.1:7000?judge_secret={JUDGES}"
OF_JUDGES = {
    "/codewarz.v1.Core/GetProblem",
    "/codewarz.v1.Core/GetWork",
    "/codewarz.v1.Core/PersistVerdict",
    "/codewarz.v1.Judge/VerifyProblem",
    "/codewarz.v1.Leaderboard/UpdateLeaderboard",
}


@pytest.fixture
async def aio() -> AsyncIterator[AsyncioLoop]:
    with trio.fail_after(60):
        async with AsyncioLoop() as opened:
            yield opened


def is_let_in(url: str, path: str, authorization: str | None) -> bool:
    """Whether a server with this URL would answer; it serves nothing, so it refuses in either case, but for another reason."""
    headers = {":method": "POST", ":path": path, "content-type": "application/grpc"}
    if authorization is not None:
        headers["authorization"] = authorization
    there = server.Server(cast("AsyncioLoop", None), {}, RpcUrl.parse(url), cast("asyncio.TaskGroup", None))
    with pytest.raises(server._Refused) as refused:
        there.admit(headers)
    return not refused.value.is_stranger


@pytest.mark.parametrize("path", PATHS)
def test_each_method_is_open_to_the_house_and_only_what_judges_ask_to_judges(path: str) -> None:
    assert is_let_in(BOTH, path, f"Bearer {HOUSE}")
    assert is_let_in(BOTH, path, f"Bearer {JUDGES}") is (path in OF_JUDGES)
    for wrong in (None, "", "Bearer ", "Bearer wrong", HOUSE, JUDGES, f"Bearer {HOUSE}x", f"bearer {HOUSE}"):
        assert not is_let_in(BOTH, path, wrong)
    alone = f"grpc://:{HOUSE}@127.0.0.1:7000"
    assert is_let_in(alone, path, f"Bearer {HOUSE}")
    for wrong in (None, "Bearer ", f"Bearer {JUDGES}"):
        assert not is_let_in(alone, path, wrong)


def test_what_judges_may_ask_is_there() -> None:
    assert OF_JUDGES == JUDGES_MAY


async def test_a_judge_gets_its_problem_and_makes_nobody_sign_out(aio: AsyncioLoop) -> None:
    port = free_port()
    async with (
        GrpcRpc(f"grpc://:{HOUSE}@127.0.0.1:{port}?judge_secret={JUDGES}", aio) as core,
        core.serve("core", named("core")),
        GrpcRpc(f"grpc://:{JUDGES}@?core=127.0.0.1:{port}", aio) as judge,
    ):
        assert await ask(judge) == "core"
        with pytest.raises(Unavailable, match="no judge asks") as caught:
            await judge.call("core", CloseSessions(user_id="u"), timeout=5.0)
        assert HOUSE not in repr(caught.value)


async def test_a_judge_is_shown_no_secret_but_its_own(aio: AsyncioLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    shown = []

    def opens(_: RpcUrl, authorization: str, _path: str) -> bool:
        shown.append(authorization)
        return True

    async def never(request: Request[object], *, timeout: float) -> object:
        raise Unavailable("not now")

    monkeypatch.setattr(RpcUrl, "opens", opens)
    async with (
        GrpcRpc(f"grpc://:{JUDGES}@127.0.0.1:{port}", aio) as judge,
        judge.serve("judge", never),
        judge.serve("core", named("core")),
        GrpcRpc(f"grpc://:{HOUSE}@?core=127.0.0.1:{port}&judge=127.0.0.1:{port}&judge_secret={JUDGES}", aio) as gateway,
    ):
        with pytest.raises(Unavailable, match="not now"):
            await gateway.call("judge", VerifyProblem(package=b""), timeout=5.0)
        await ask(gateway)
    assert shown == [f"Bearer {JUDGES}", f"Bearer {HOUSE}"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"grpc://?core=a:1&judge_secret={JUDGES}", "needs the secret of the others"),
        (f"grpc://:{HOUSE}@?core=a:1&judge_secret=", "said once, and not empty"),
        (f"grpc://:{HOUSE}@?core=a:1&judge_secret={JUDGES}&judge_secret={JUDGES}", "said once"),
        (f"grpc://:{HOUSE}@?core=a:1&judge_secret={JUDGES}%20x", "printable"),
    ],
)
def test_a_judges_secret_that_makes_no_sense_is_refused_without_being_repeated(text: str, why: str) -> None:
    with pytest.raises(Exception, match=why) as caught:
        RpcUrl.parse(text)
    assert HOUSE not in str(caught.value)
    assert JUDGES not in str(caught.value)
    assert JUDGES not in repr(RpcUrl.parse(BOTH))
