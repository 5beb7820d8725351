"""gRPC between processes: sizes, bounds, and peers that mean no good."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from contracts.errors import TooLarge, Unavailable
from contracts.messages import GetProblem, GetWork, ImportProblem, ProblemBlob, Request
from edge.aio import AsyncioLoop
from edge.rpc import balance, grpc, http2, server, service
from edge.rpc.grpc import GrpcRpc
from tests.edge.grpc_parts import ASK, SLOW, Dawdler, ask, named, serving, settled, url_of

MIB = 1 << 20


# ---- sizes and bounds ------------------------------------------------------------------------------------------------


async def test_a_package_of_32_mib_crosses_both_ways_while_small_calls_pass(aio: AsyncioLoop, port: int) -> None:
    package = random.Random(1).randbytes(32 * MIB)
    small: list[float] = []

    async def answer(request: Request[Any], *, timeout: float) -> Any:
        match request:
            case ImportProblem():
                assert request.package == package
                return 7
            case GetProblem():
                return ProblemBlob(problem_id="p", version=7, digest="d", package=package)
            case GetWork():
                return None
        raise AssertionError(request)

    big = ImportProblem(
        problem_id="p", slug="s", title="t", digest="d", package=package, summary=b"{}", imported_by="root"
    )
    async with serving(aio, port, answer), GrpcRpc(url_of(port), aio) as rpc, trio.open_nursery() as nursery:

        async def others() -> None:
            while True:
                began = trio.current_time()
                assert await rpc.call("core", GetWork(submission_id="s", attempt=1), timeout=10) is None
                small.append(trio.current_time() - began)

        nursery.start_soon(others)
        assert await rpc.call("core", big, timeout=30) == 7
        assert (await rpc.call("core", ASK, timeout=30)).package == package
        nursery.cancel_scope.cancel()
    assert len(small) >= 5


async def test_what_is_too_large_is_said_so_on_either_side(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: Request[Any], *, timeout: float) -> Any:
        size = 200_000 if request == SLOW else 0
        return ProblemBlob(problem_id="p", version=1, digest="a", package=b"x" * size)

    big = ImportProblem(
        problem_id="p", slug="", title="", digest="", package=b"x" * 200_000, summary=b"", imported_by=""
    )
    async with serving(aio, port, answer), GrpcRpc(url_of(port), aio) as rpc:
        monkeypatch.setattr(grpc, "MESSAGE_MAX", 100_000)
        with pytest.raises(TooLarge):
            await rpc.call("core", big, timeout=5)
        monkeypatch.setattr(grpc, "MESSAGE_MAX", MIB)
        monkeypatch.setattr(http2, "MESSAGE_MAX", 100_000)
        with pytest.raises(TooLarge):
            await rpc.call("core", big, timeout=5)  # the server does not read it
        monkeypatch.setattr(service, "MESSAGE_MAX", 100_000)
        with pytest.raises(TooLarge):
            await rpc.call("core", SLOW, timeout=5)
        assert await ask(rpc) == "a"
        await settled(rpc)


async def test_large_messages_are_read_a_few_at_a_time_and_do_not_stop_the_small(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "LARGE", 50_000)
    monkeypatch.setattr(server, "LARGE_MAX", 1)
    done = 0

    async def answer(request: Request[Any], *, timeout: float) -> Any:
        return (
            1 if isinstance(request, ImportProblem) else ProblemBlob(problem_id="p", version=1, digest="a", package=b"")
        )

    big = ImportProblem(
        problem_id="p", slug="", title="", digest="", package=b"x" * 3 * MIB, summary=b"", imported_by=""
    )
    async with serving(aio, port, answer), GrpcRpc(url_of(port), aio) as rpc:

        async def send() -> None:
            nonlocal done
            assert await rpc.call("core", big, timeout=30) == 1
            done += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(send)
            for _ in range(5):
                assert await ask(rpc) == "a"
    assert done == 8


async def test_calls_under_way_are_bounded_here_and_there(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dawdler = Dawdler()
    async with serving(aio, port, dawdler) as there, GrpcRpc(url_of(port), aio) as rpc:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, rpc)
            with trio.fail_after(5):
                while dawdler.began < 3:
                    await trio.sleep(0.01)
            monkeypatch.setattr(server, "CALLS_MAX", 3)
            with pytest.raises(Unavailable, match="3 calls under way"):
                await ask(rpc)
            monkeypatch.setattr("edge.rpc.client.CALLS_MAX", 3)
            with pytest.raises(Unavailable, match=r"127.0.0.1:\d+ has 3 calls under way"):
                await ask(rpc)
            nursery.cancel_scope.cancel()
        await settled(rpc, there)


async def test_a_connection_that_has_counted_far_makes_room_for_another(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.rpc.client.STREAM_ID_MAX", 10)
    monkeypatch.setattr(balance, "SHORT_S", 0.0)
    async with serving(aio, port, named("a")) as there, GrpcRpc(url_of(port), aio) as rpc:
        assert [await ask(rpc) for _ in range(40)] == ["a"] * 40
        await settled(rpc, there)
        assert rpc._inside is not None
        assert len(rpc._inside.balance._side.connections) <= 2


async def test_connections_are_bounded(aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 1)
    async with serving(aio, port, named("a")), GrpcRpc(url_of(port), aio) as first:
        assert await ask(first) == "a"
        async with GrpcRpc(url_of(port), aio) as second:
            with pytest.raises(Unavailable):
                await ask(second)
        assert await ask(first) == "a"


HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # the preface, and settings
UNKNOWN_FRAME = b"\0\0\x04\xee\0\0\0\0\0" + b"what"
NO_ASCII = b"\0\0\x05\x01\x05\0\0\0\x01" + b"\0\x01a\x01\xff"  # headers with the value 0xff


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 40,
        HELLO[:24] + b"\xff" * 100,
        HELLO + UNKNOWN_FRAME,
        HELLO + NO_ASCII,
    ],
)
async def test_noise_ends_its_own_connection_at_most(aio: AsyncioLoop, port: int, words: bytes) -> None:
    async with serving(aio, port, named("a")), GrpcRpc(url_of(port), aio) as rpc:
        assert await ask(rpc) == "a"
        async with await trio.open_tcp_stream("127.0.0.1", port) as noise:
            await noise.send_all(words)
            with trio.move_on_after(0.2):
                while await noise.receive_some():
                    pass
        assert await ask(rpc) == "a"


async def test_a_client_that_says_nothing_more_is_given_up_with_its_calls(
    aio: AsyncioLoop, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BEAT_S", 0.05)
    async with serving(aio, port, named("a")), await trio.open_tcp_stream("127.0.0.1", port) as silent:
        await silent.send_all(HELLO)
        with trio.fail_after(5):
            while await silent.receive_some():
                pass
