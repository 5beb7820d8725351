"""gRPC between processes: what the conformance suite does not say. Peers are real, on the loopback; waits are for them."""

from __future__ import annotations

import random
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from chaos.engines.child import free_port
from contracts.errors import (
    DeadlineExceeded,
    EdgeLost,
    NotFound,
    Unavailable,
)
from contracts.messages import (
    BuildBoard,
    CloseSession,
    ProblemBlob,
    Request,
    VerifyProblem,
)
from edge.aio import AsyncioLoop
from edge.rpc import balance, http2
from edge.rpc.grpc import GrpcRpc
from tests.edge.grpc_parts import SLOW, Dawdler, ask, named, serving, settled, until_answered, url_of
from tests.edge.grpc_peer import CorePeer

BUILD = BuildBoard(contest_id="c")
VERIFY = VerifyProblem(package=b"")


# ---- deadlines and cancellation --------------------------------------------------------------------------------------


async def test_the_handler_gets_what_is_left_to_the_millisecond(aio: AsyncioLoop, port: int) -> None:
    given: list[float] = []

    async def answer(request: Request[Any], *, timeout: float) -> Any:
        given.append(timeout)
        return ProblemBlob(problem_id="p", version=1, digest="", package=b"")

    async with serving(aio, port, answer), GrpcRpc(url_of(port), aio) as rpc:
        await ask(rpc)  # connects
        await ask(rpc, timeout=20.9)
    assert 20.0 < given[1] < 20.9


async def test_a_handler_that_gives_up_at_the_deadline_and_the_caller_agree(aio: AsyncioLoop, port: int) -> None:
    dawdler = Dawdler()
    async with serving(aio, port, dawdler), GrpcRpc(url_of(port), aio) as rpc:
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await ask(rpc, timeout=0.5)
        await settled(rpc)
        with trio.fail_after(5):
            while dawdler.ended < dawdler.began:
                await trio.sleep(0.01)  # the other side's own deadline
    assert dawdler.began == 5


async def test_cancelled_at_any_moment_nothing_is_left_and_the_connection_goes_on(aio: AsyncioLoop, port: int) -> None:
    rng = random.Random(4)
    began = ended = 0

    async def answer(request: Request[Any], *, timeout: float) -> Any:
        nonlocal began, ended
        began += 1
        try:
            await trio.sleep(rng.uniform(0, 0.004))
        finally:
            ended += 1
        return ProblemBlob(problem_id="p", version=1, digest="x", package=b"p" * rng.choice((0, 100, 200_000)))

    async def one(rpc: GrpcRpc, after_s: float) -> None:
        with trio.move_on_after(after_s):
            await ask(rpc)

    async with serving(aio, port, answer) as there, GrpcRpc(url_of(port), aio) as rpc:
        await ask(rpc)
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(15):
                    nursery.start_soon(one, rpc, rng.uniform(0, 0.02))
        await settled(rpc, there)
        assert began == ended
        assert await ask(rpc) == "x"
        assert rpc._inside is not None
        assert len(rpc._inside.balance._side.connections) == 1  # and it is still the first


# ---- servers that are away, go, come back ----------------------------------------------------------------------------


async def test_refused_is_unavailable_at_once_and_works_when_there_is_somebody(aio: AsyncioLoop, port: int) -> None:
    async with GrpcRpc(url_of(port), aio) as rpc:
        with trio.fail_after(1.5), pytest.raises(Unavailable, match="cannot be reached") as caught:
            await ask(rpc)
        assert not isinstance(caught.value, EdgeLost | DeadlineExceeded)
        assert caught.value.retry_after_s is not None
        for name in ("first", "second"):  # a restart in between
            async with serving(aio, port, named(name)):
                await until_answered(rpc, [name], within_s=5)


async def test_calls_take_turns_and_go_on_where_one_has_left(aio: AsyncioLoop) -> None:
    ports = free_port(), free_port()
    async with GrpcRpc(url_of(*ports), aio) as rpc, serving(aio, ports[1], named("b")):
        async with serving(aio, ports[0], named("a")):
            await until_answered(rpc, "ab")
            assert sorted([await ask(rpc) for _ in range(10)]) == ["a"] * 5 + ["b"] * 5
        assert {await ask(rpc) for _ in range(20)} == {"b"}  # none of them fails
        async with serving(aio, ports[0], named("a again")):
            await until_answered(rpc, ["a again", "b"], within_s=5)


async def test_a_process_that_does_not_serve_it_at_the_moment_is_passed_over(aio: AsyncioLoop) -> None:
    ports = free_port(), free_port()
    async with (
        GrpcRpc(f"grpc://127.0.0.1:{ports[0]}", aio),
        serving(aio, ports[1], named("b")),
        GrpcRpc(url_of(*ports), aio) as rpc,
    ):
        await until_answered(rpc, "b")
        assert {await ask(rpc) for _ in range(6)} == {"b"}


async def test_what_was_sent_is_never_repeated(aio: AsyncioLoop) -> None:
    ports = free_port(), free_port()
    dawdler = Dawdler()
    lost: list[EdgeLost] = []

    async def call(rpc: GrpcRpc) -> None:
        try:
            await ask(rpc)
        except EdgeLost as error:
            lost.append(error)

    async with (
        trio.open_nursery() as nursery,
        GrpcRpc(url_of(*ports), aio) as rpc,
        serving(aio, ports[0], dawdler),
        serving(aio, ports[1], dawdler),
    ):
        nursery.start_soon(call, rpc)
        await dawdler.has_begun.wait()
    assert len(lost) == 1
    assert dawdler.began == 1


async def test_a_killed_server_is_edge_lost_then_unavailable_and_back_after_its_restart(
    aio: AsyncioLoop, port: int
) -> None:
    with CorePeer(port) as peer:
        async with GrpcRpc(url_of(port), aio) as rpc:
            await until_answered(rpc, [str(port)])
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with pytest.raises(EdgeLost):
                        await rpc.call("core", SLOW, timeout=30)

                nursery.start_soon(call)
                await trio.sleep(0.2)  # for the call to be there
                peer.kill()
            with pytest.raises(Unavailable, match="no server of 'core' can be reached"):
                await ask(rpc)
            await trio.to_thread.run_sync(peer.start)
            await until_answered(rpc, [str(port)], within_s=5)


async def test_a_frozen_server_is_found_and_left_out_and_asked_again_when_it_thaws(aio: AsyncioLoop) -> None:
    frozen_port, other_port = free_port(), free_port()
    with CorePeer(frozen_port) as frozen:
        async with (
            serving(aio, other_port, named("other")),
            GrpcRpc(url_of(frozen_port, other_port), aio) as rpc,
        ):
            await until_answered(rpc, [str(frozen_port), "other"])
            frozen.freeze()
            began = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def until_lost() -> None:
                    with pytest.raises(EdgeLost, match="nothing was heard"):
                        for _ in range(2):  # one of two turns is the frozen one's
                            await ask(rpc, timeout=30)

                nursery.start_soon(until_lost)
            assert trio.current_time() - began < 20  # 6 to 8 s, on a machine that is quiet
            began = trio.current_time()
            assert {await ask(rpc) for _ in range(20)} == {"other"}
            assert trio.current_time() - began < 6  # and nobody waits for the frozen one
            frozen.thaw()
            await until_answered(rpc, [str(frozen_port)])


async def test_a_frozen_server_is_no_longer_chosen_before_it_is_given_up(
    aio: AsyncioLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "BEATS_LOST", 1000)
    monkeypatch.setattr("edge.rpc.client.BEAT_S", 0.1)
    ports = free_port(), free_port()
    with CorePeer(ports[0]) as frozen:
        async with serving(aio, ports[1], named("other")), GrpcRpc(url_of(*ports), aio) as rpc:
            await until_answered(rpc, [str(ports[0]), "other"])
            frozen.freeze()
            await trio.sleep(0.5)  # some beats
            assert {await ask(rpc) for _ in range(10)} == {"other"}
            frozen.thaw()
            await until_answered(rpc, [str(ports[0])])


async def test_a_listener_that_never_says_a_word_is_not_up(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent_port = silent.getsockname()[1]
        async with GrpcRpc(url_of(silent_port), aio) as rpc:
            with pytest.raises(Unavailable, match="could not be reached in time"):
                await ask(rpc, timeout=0.2)
            with pytest.raises(Unavailable, match="no answer within 2 s"):
                await ask(rpc, timeout=10)
        monkeypatch.setattr("edge.rpc.client.CONNECT_S", 10.0)
        async with serving(aio, port, named("a")), GrpcRpc(url_of(silent_port, port), aio) as rpc:
            with trio.fail_after(8):
                assert {await ask(rpc) for _ in range(10)} == {"a"}


async def test_a_name_is_all_its_addresses_and_is_asked_again(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ["127.0.0.1", "127.0.0.2"]
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> tuple[str, ...]:
        asked.append(host)
        if not known:
            raise OSError("no such name")
        return tuple(known)

    monkeypatch.setattr(balance, "resolve", resolve)
    async with AsyncExitStack() as stack:
        for number in (1, 2, 3):
            await stack.enter_async_context(serving(aio, port, named(str(number)), host=f"127.0.0.{number}"))
        rpc = await stack.enter_async_context(GrpcRpc(f"grpc://?core=core.example:{port}", aio))
        await until_answered(rpc, "12")
        assert asked == ["core.example"]
        known[:] = ["127.0.0.2", "127.0.0.3"]
        monkeypatch.setattr(balance, "NAME_S", 0.0)
        await until_answered(rpc, "3")
        assert {await ask(rpc) for _ in range(10)} == {"2", "3"}
        known.clear()  # the resolver is away: what was known is known
        assert {await ask(rpc) for _ in range(10)} == {"2", "3"}
        with pytest.raises(Unavailable, match="cannot be resolved"):
            async with GrpcRpc(f"grpc://?core=core.example:{port}", aio) as other:
                await ask(other)


async def test_localhost_is_resolved_for_real(aio: AsyncioLoop, port: int) -> None:
    async with serving(aio, port, named("a")), GrpcRpc(f"grpc://?core=localhost:{port}", aio) as rpc:
        assert await ask(rpc) == "a"


# ---- TLS and the secret ----------------------------------------------------------------------------------------------


async def test_tls_verifies_the_server_and_its_name(aio: AsyncioLoop, port: int, certificates: Path) -> None:
    import trustme

    stranger = certificates / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    ca, cert, key = (certificates / f"{each}.pem" for each in ("ca", "cert", "key"))
    url = f"grpcs://127.0.0.1:{port}?cert={cert}&key={key}"
    async with GrpcRpc(url, aio) as there, there.serve("core", named("a")):
        for host in ("127.0.0.1", "localhost"):
            async with GrpcRpc(f"grpcs://?core={host}:{port}&ca={ca}", aio) as rpc:
                assert await ask(rpc) == "a"
        for bad in (
            f"grpcs://?core=127.0.0.1:{port}&ca={stranger}",  # not vouched for
            f"grpcs://?core=127.0.0.2:{port}&ca={ca}",  # another name
            f"grpcs://?core=127.0.0.1:{port}",  # the system vouches for nobody here
            f"grpc://?core=127.0.0.1:{port}",  # clear text
        ):
            async with GrpcRpc(bad, aio) as rpc:
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await ask(rpc)
    clear = free_port()
    async with serving(aio, clear, named("a")), GrpcRpc(f"grpcs://?core=127.0.0.1:{clear}&ca={ca}", aio) as rpc:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await ask(rpc)


async def test_without_the_secret_nothing_begins_and_it_is_never_shown(aio: AsyncioLoop, port: int) -> None:
    dawdler = Dawdler()
    with structlog.testing.capture_logs() as logs:
        async with GrpcRpc(f"grpc://:s3cr%2Fet@127.0.0.1:{port}", aio) as there, there.serve("core", dawdler):
            for secret in ("", "wrong", "s3cr%2Fe", "s3cr%2Fett"):
                async with GrpcRpc(url_of(port, secret=secret), aio) as rpc:
                    for _ in range(2):
                        with pytest.raises(Unavailable, match="wrong secret: see CODEWARZ_RPC") as caught:
                            await ask(rpc)
                    assert not isinstance(caught.value, EdgeLost | DeadlineExceeded)
                    assert "s3cr" not in f"{caught.value!r} {rpc!r} {rpc.url!r} {there!r} {there.url!r}"
        assert dawdler.began == 0
        async with (
            GrpcRpc(f"grpc://:s3cr%2Fet@127.0.0.1:{port}", aio) as there,
            there.serve("core", named("a")),
            GrpcRpc(url_of(port, secret="s3cr%2Fet"), aio) as rpc,
        ):
            assert await ask(rpc) == "a"
    assert "s3cr" not in str(logs)
    assert len([each for each in logs if each["event"] == "rpc_wrong_secret"]) == 4  # one for each stranger


# ---- what travels along ----------------------------------------------------------------------------------------------


async def test_the_log_of_core_shows_the_gateways_correlation_id(
    aio: AsyncioLoop, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []

    async def answer(request: Request[Any], *, timeout: float) -> Any:
        seen.append(dict(structlog.contextvars.get_contextvars()))
        structlog.get_logger("core").info("problem_read")
        return ProblemBlob(problem_id="p", version=1, digest="", package=b"")

    async def gateway(rpc: GrpcRpc, correlation_id: str) -> None:
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id, traceparent="00-ab-cd-01", user="ada")
        await ask(rpc)

    async with serving(aio, port, answer), GrpcRpc(url_of(port), aio) as rpc:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway, rpc, "r-1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway, rpc, "not\nprintable")
        await ask(rpc)
    assert seen == [{"correlation_id": "r-1", "traceparent": "00-ab-cd-01"}, {"traceparent": "00-ab-cd-01"}, {}]
    first, *others = (line for line in capsys.readouterr().out.splitlines() if "problem_read" in line)
    assert "r-1" in first
    assert not any("r-1" in line for line in others)


# ---- the edge itself -------------------------------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_unavailable_with_one_line(aio: AsyncioLoop, port: int) -> None:
    async with serving(aio, port, named("a")):
        with pytest.raises(Unavailable, match=f"nothing can be served at 127.0.0.1:{port}") as caught:
            async with GrpcRpc(f"grpc://127.0.0.1:{port}", aio):
                pass
        assert "\n" not in caught.value.detail


async def test_port_zero_is_a_port_that_is_free(aio: AsyncioLoop) -> None:
    async with (
        GrpcRpc("grpc://127.0.0.1:0", aio) as there,
        there.serve("core", named("a")),
        GrpcRpc(url_of(there.port), aio) as rpc,
    ):
        assert await ask(rpc) == "a"


async def test_an_error_of_the_block_leaves_it_as_it_is(aio: AsyncioLoop, port: int) -> None:
    with pytest.raises(NotFound, match="mine"):
        async with serving(aio, port, named("a")):
            raise NotFound("mine")


async def test_it_can_be_closed_and_opened_again_under_what_it_serves(aio: AsyncioLoop, port: int) -> None:
    there = GrpcRpc(f"grpc://127.0.0.1:{port}?core=127.0.0.1:{port}", aio)
    async with there.serve("core", named("a")):
        with pytest.raises(Unavailable, match="closed"):
            await ask(there)
        for _ in range(2):
            async with there:
                assert await ask(there) == "a"
                with pytest.raises(RuntimeError, match="open already"):
                    await there.__aenter__()
                with pytest.raises(RuntimeError, match="served already"):
                    async with there.serve("core", named("b")):
                        pass


async def test_the_end_of_the_edge_fails_the_calls_under_way_on_both_sides(aio: AsyncioLoop, port: int) -> None:
    dawdler = Dawdler()
    lost = 0

    async def call(rpc: GrpcRpc) -> None:
        nonlocal lost
        with pytest.raises(EdgeLost):
            await ask(rpc, timeout=30)
        lost += 1

    there = GrpcRpc(f"grpc://127.0.0.1:{port}", aio)
    async with there.serve("core", dawdler), trio.open_nursery() as nursery, GrpcRpc(url_of(port), aio) as rpc:
        async with there:
            nursery.start_soon(call, rpc)
            await dawdler.has_begun.wait()
        assert dawdler.ended == 1
        async with there, GrpcRpc(url_of(port), aio) as other:
            nursery.start_soon(call, other)
            with trio.fail_after(5):
                while dawdler.began < 2:
                    await trio.sleep(0.01)
    assert lost == 2


async def test_several_services_share_one_port(aio: AsyncioLoop, port: int) -> None:
    async def nothing(request: Request[Any], *, timeout: float) -> Any:
        return None

    here = f"127.0.0.1:{port}"
    async with GrpcRpc(f"grpc://{here}?core={here}&leaderboard={here}", aio) as rpc:
        async with rpc.serve("core", nothing):
            await rpc.call("core", CloseSession(session_id="s"), timeout=5)
            async with rpc.serve("leaderboard", nothing):
                await rpc.call("leaderboard", BUILD, timeout=5)
            with pytest.raises(Unavailable, match="not served here"):
                await rpc.call("leaderboard", BUILD, timeout=5)
            await rpc.call("core", CloseSession(session_id="s"), timeout=5)
        with pytest.raises(Unavailable, match="names no address of 'judge'"):
            await rpc.call("judge", VERIFY, timeout=5)
