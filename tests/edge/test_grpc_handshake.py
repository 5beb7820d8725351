"""gRPC between processes: whoever has not finished his TLS handshake is a stranger like any other, counted and bounded from his first byte on."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
import trio

from chaos.engines.child import free_port
from edge.aio import AsyncioLoop
from edge.rpc import handshake, http2, server
from edge.rpc.grpc import GrpcRpc
from edge.rpc.server import Server
from edge.rpc.url import RpcUrl
from tests.edge.grpc_parts import ask, named
from tests.edge.test_grpc_strangers import HELLO, PING, ended

PONG = PING[:4] + b"\x01" + PING[5:]
SECRET = "a-secret-of-the-house"
# A record that says that a handshake message of 4 KiB begins, and does not bring it.
HALF = b"\x16\x03\x01\x10\x04" + b"\x01\x00\x10\x00" + b"x" * 100


@pytest.fixture
async def there(aio: AsyncioLoop, certificates: Path) -> AsyncIterator[GrpcRpc]:
    """A core behind TLS that knows a secret."""
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    url = f"grpcs://:{SECRET}@127.0.0.1:{free_port()}?cert={cert}&key={key}"
    with structlog.testing.capture_logs():
        async with GrpcRpc(url, aio) as opened, opened.serve("core", named("a")):
            yield opened


@pytest.fixture
async def rpc(aio: AsyncioLoop, there: GrpcRpc, certificates: Path) -> AsyncIterator[GrpcRpc]:
    """A friend of it, who has asked it before."""
    async with GrpcRpc(friends(there, certificates), aio) as opened:
        assert await ask(opened) == "a"
        yield opened


def friends(there: GrpcRpc, certificates: Path) -> str:
    return f"grpcs://:{SECRET}@?core=127.0.0.1:{there.port}&ca={certificates / 'ca.pem'}"


def inside(there: GrpcRpc) -> Server:
    assert there._inside is not None
    return there._inside.server


async def until_strangers(there: GrpcRpc, many: int) -> None:
    with trio.fail_after(5):
        while len(inside(there).strangers) != many:
            await trio.sleep(0.01)


async def dialled(there: GrpcRpc, say: bytes = b"") -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", there.port)
    if say:
        await stream.send_all(say)
    return stream


def encrypted(stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return trio.SSLStream(stream, context)


@contextmanager
def closing(streams: list[trio.SocketStream]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in streams:
            each.socket.close()


@pytest.mark.parametrize("say", [b"", b"\x16", HALF], ids=["nothing", "a byte", "half a hello"])
async def test_who_is_in_his_handshake_has_a_stranger_s_place_and_takes_none_of_friends(
    aio: AsyncioLoop,
    there: GrpcRpc,
    rpc: GrpcRpc,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    say: bytes,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(server, "STRANGERS_MAX", 20)
    strangers: list[trio.SocketStream] = []
    with closing(strangers):
        for number in range(40):
            strangers.append(await dialled(there, say))
            await until_strangers(there, min(number + 1, 20))
        for each in strangers[:20]:  # the oldest had to go
            await ended(each, 5)
        assert len(inside(there).peers) == 21
        async with GrpcRpc(friends(there, certificates), aio) as second:
            assert await ask(second) == "a"
        assert await ask(rpc) == "a"
    await until_strangers(there, 0)
    assert len(inside(there).peers) == 1


async def test_a_handshake_and_the_first_call_have_one_time_together(
    there: GrpcRpc, rpc: GrpcRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "FIRST_CALL_S", 2.0)
    began = trio.current_time()
    mute, slow = await dialled(there), await dialled(there)
    with closing([mute, slow]):
        await trio.sleep(1.2)
        late = encrypted(slow)
        await late.do_handshake()
        await late.send_all(HELLO)
        await ended(mute, 5)
        await ended(slow, 5)
        assert 1.9 < trio.current_time() - began < 3.1
    await until_strangers(there, 0)
    assert await ask(rpc) == "a"


async def test_a_handshake_has_so_many_bytes(there: GrpcRpc, rpc: GrpcRpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "FIRST_CALL_S", 30.0)
    stream = await dialled(there)
    begins, sent = b"\x01\x00\xff\xff", 0
    with closing([stream]), trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
        while True:  # a hello that is never whole, a byte in each record
            await stream.send_all(b"\x16\x03\x01\x00\x01" + (begins[sent : sent + 1] or b"x"))
            sent += 1
            assert sent * 6 < 4 * handshake.BYTES_MAX
    await until_strangers(there, 0)
    assert await ask(rpc) == "a"


async def test_what_comes_with_the_end_of_a_handshake_is_not_counted_to_it(
    there: GrpcRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "BYTES_MAX", 2000)
    monkeypatch.setattr(http2, "FRAMES_STRANGER", 1000)
    raw = await dialled(there)
    with closing([raw]):
        stream = encrypted(raw)
        await stream.send_all(HELLO + PING * 200)  # in one go, more than a handshake may have
        heard = b""
        with trio.fail_after(5):
            while PONG not in heard:
                heard += await stream.receive_some()


async def test_a_server_that_ends_does_not_wait_for_handshakes(
    aio: AsyncioLoop, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "FIRST_CALL_S", 30.0)
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    streams: list[trio.SocketStream] = []
    with closing(streams):
        async with GrpcRpc(f"grpcs://:{SECRET}@127.0.0.1:0?cert={cert}&key={key}", aio) as there:
            async with there.serve("core", named("a")):
                streams.append(await dialled(there))
                await until_strangers(there, 1)
            began = trio.current_time()
        assert trio.current_time() - began < http2.FIRST_CALL_S
        await ended(streams[0], 5)


def test_nobody_begins_a_handshake_again(certificates: Path) -> None:
    url = RpcUrl.parse(f"grpcs://127.0.0.1:0?cert={certificates / 'cert.pem'}&key={certificates / 'key.pem'}")
    context = url.server_context()
    assert context is not None
    assert context.options & ssl.OP_NO_RENEGOTIATION
