"""Who shows no secret: they have few places, a short time and few frames, and what they send keeps nobody waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from chaos.engines.child import free_port
from edge.aio import AsyncioLoop
from edge.rpc import server
from edge.rpc.grpc import GrpcRpc
from edge.rpc.server import Frames
from tests.edge.grpc_parts import ask, named, until_answered, url_of

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
PING = b"\0\0\x08\x06\0\0\0\0\0codewarz"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
RESET = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"
UPDATE = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01"
DATA = b"\0\0\x05\0\0\0\0\0\x01hello"
EMPTY = b"\0\0\0\0\0\0\0\0\x01"
SECRET = "a-secret-of-the-house"


@pytest.fixture
async def aio() -> AsyncIterator[AsyncioLoop]:
    with trio.fail_after(60):
        async with AsyncioLoop() as opened:
            yield opened


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def core(aio: AsyncioLoop, port: int) -> AsyncIterator[GrpcRpc]:
    async with GrpcRpc(f"grpc://:{SECRET}@127.0.0.1:{port}", aio) as opened, opened.serve("core", named("core")):
        yield opened
    while OPEN:
        await trio.aclose_forcefully(OPEN.pop())


def inside(rpc: GrpcRpc) -> Any:
    assert rpc._inside is not None
    return rpc._inside


OPEN: list[trio.SocketStream] = []  # closed by the fixture ``core``


async def connected(port: int) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    OPEN.append(stream)
    await stream.send_all(HELLO)
    return stream


async def ended(stream: trio.SocketStream, *, within_s: float = 5.0) -> bool:
    """Whether the other side cuts the connection."""
    with trio.move_on_after(within_s):
        try:
            while await stream.receive_some(1 << 16):
                pass
        except trio.BrokenResourceError:
            return True
        return True
    return False


@pytest.mark.parametrize("size", [1, 7, 9, 10, 4096])
def test_frames_are_counted_however_they_are_cut(size: int) -> None:
    frames = Frames()
    sent = HELLO + 3 * PING + DATA + UPDATE + EMPTY + 2 * RESET + DATA
    for start in range(0, len(sent), size):
        frames.count(sent[start : start + size])
    assert (frames.all, frames.empty) == (10, 8)


@pytest.mark.parametrize("frame", [PING, SETTINGS, UPDATE], ids=["ping", "settings", "update"])
async def test_a_flood_of_a_stranger_is_cut_and_keeps_nobody_waiting(
    aio: AsyncioLoop, port: int, core: GrpcRpc, frame: bytes
) -> None:
    async def flood() -> None:
        while True:
            stream = await connected(port)
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await stream.send_all(frame * 4000)
            floods.append(stream)
            await stream.aclose()

    floods: list[trio.SocketStream] = []
    took = []
    async with GrpcRpc(url_of(port, secret=SECRET), aio) as rpc, trio.open_nursery() as nursery:
        await ask(rpc)
        nursery.start_soon(flood)
        for _ in range(20):
            began = time.monotonic()
            assert await ask(rpc) == "core"
            took.append(time.monotonic() - began)
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert len(floods) > 3  # each was cut, and it came again
    assert sorted(took)[10] < 1.0


async def test_a_stranger_who_reads_no_answers_holds_no_memory(
    port: int, core: GrpcRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRANGER_FRAMES_MAX", 1 << 40)
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(raw))
        await stream.send_all(HELLO)
        sent = 0
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(PING * 1000)
                sent += 17_000
        assert sent < 32 << 20  # the kernel's own buffers, and 64 KiB
    with trio.fail_after(5):
        while inside(core).server.peers:
            await trio.sleep(0.01)


async def test_a_stranger_who_asks_nothing_is_cut_after_a_while_and_who_is_known_stays(
    aio: AsyncioLoop, port: int, core: GrpcRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRANGER_S", 0.5)
    async with GrpcRpc(url_of(port, secret=SECRET), aio) as rpc:
        await ask(rpc)
        (known,) = inside(core).server.peers
        stranger = await connected(port)
        assert await ended(stranger)
        assert inside(core).server.peers == {known}
        assert await ask(rpc) == "core"


async def test_strangers_without_end_keep_nobody_of_ours_out(
    aio: AsyncioLoop, port: int, core: GrpcRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRANGERS_MAX", 5)
    strangers = [await connected(port) for _ in range(8)]
    for stream in strangers[:3]:
        assert await ended(stream)
    async with GrpcRpc(url_of(port, secret=SECRET), aio) as rpc:
        assert await ask(rpc) == "core"
        assert len(inside(core).server.strangers) == 4  # the oldest had to go for it
        for _ in range(6):
            await connected(port)
        assert await ask(rpc) == "core"


async def test_who_is_known_may_send_much_and_not_without_end(
    aio: AsyncioLoop, port: int, core: GrpcRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FRAMES_MAX", 400)
    async with GrpcRpc(url_of(port, secret=SECRET), aio) as rpc:
        for _ in range(30):
            await ask(rpc)
        assert rpc._inside is not None
        (mine,) = rpc._inside.balance._side.connections

        async def send(frames: bytes) -> None:
            mine._protocol._transport.write(frames)

        await aio.call(send, PING * 300)
        assert await ask(rpc) == "core"
        assert not mine.is_ended
        await aio.call(send, PING * 300)
        with trio.fail_after(5):
            while mine in rpc._inside.balance._side.connections:
                await trio.sleep(0.01)
        await until_answered(rpc, ["core"])  # by another connection
