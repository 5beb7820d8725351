"""The HTTP server on real sockets: addresses, limits, broken clients, and how it ends."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from quart import Response, request
from quart_trio import QuartTrio

from contracts.errors import Invalid, Unavailable
from edge.http import SPARE_FILES, Address, Limits, places, serve


class Running:
    """A server under test."""

    def __init__(self, address: Address, draining: trio.Event, ended: trio.Event) -> None:
        self.address, self.draining, self.ended = address, draining, ended
        self.streams: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.address.port)
        self.streams.append(stream)
        return stream


@asynccontextmanager
async def running(app: Any, limits: Limits | None = None) -> AsyncIterator[Running]:
    address, ready, draining, ended = Address("127.0.0.1", 0), trio.Event(), trio.Event(), trio.Event()

    async def run() -> None:
        await serve(app, address, ready=ready.set, draining=draining, limits=limits)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(5):
            await ready.wait()
        server = Running(address, draining, ended)
        try:
            yield server
        finally:
            for stream in server.streams:
                await trio.aclose_forcefully(stream)
        draining.set()
        with trio.fail_after(5):
            await ended.wait()


def make_app() -> QuartTrio:
    app = QuartTrio(__name__)
    app.started = trio.Event()  # type: ignore[attr-defined]
    app.go_on = trio.Event()  # type: ignore[attr-defined]

    @app.get("/")
    async def hello() -> str:
        return "hello"

    @app.post("/echo")
    async def echo() -> str:
        return str(await request.get_data(as_text=True))

    @app.get("/slow")
    async def slow() -> str:
        app.started.set()  # type: ignore[attr-defined]
        await app.go_on.wait()  # type: ignore[attr-defined]
        return "done"

    @app.get("/flood")
    async def flood() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65536

        response = Response(chunks())
        response.timeout = None
        return response

    return app


async def exchange(stream: trio.SocketStream, raw: bytes) -> bytes:
    """Send and read until the end of the first answer with a Content-Length, or of the connection."""
    await stream.send_all(raw)
    data = b""
    with trio.fail_after(5):
        while True:
            chunk = await stream.receive_some(65536)
            data += chunk
            head, separator, body = data.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                None,
            )
            if not chunk or (separator and length is not None and len(body) >= length):
                return data


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("[::1]:80", "::1", 80, "http://[::1]:80"),
        (":0", "0.0.0.0", 0, "http://127.0.0.1:0"),
        ("localhost:65535", "localhost", 65535, "http://localhost:65535"),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int, url: str) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.url) == (host, port, url)


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", "host:70000", "host:-1", "http://host:80", "a b:1"])
def test_no_address_is_one_clear_line(text: str) -> None:
    with pytest.raises(Invalid, match=r"host:port"):
        Address.parse(text)


async def test_port_0_becomes_the_real_port_and_connections_are_kept_alive() -> None:
    async with running(make_app()) as server:
        assert server.address.port > 0
        stream = await server.connect()
        for _ in range(3):
            assert (await exchange(stream, GET)).endswith(b"hello")


async def test_an_address_in_use_is_one_clear_line() -> None:
    async with running(make_app()) as server:
        with pytest.raises(Unavailable, match=r"cannot listen on 127\.0\.0\.1:\d+: the address is in use"):
            await serve(make_app(), server.address, ready=lambda: None, draining=trio.Event())


async def test_an_address_of_another_machine_is_one_clear_line() -> None:
    with pytest.raises(Unavailable, match="this machine has no such address"):
        await serve(make_app(), Address("192.0.2.1", 0), ready=lambda: None, draining=trio.Event())


async def test_a_cancelled_server_gives_its_port_back() -> None:
    address, ready = Address("127.0.0.1", 0), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(make_app(), address, ready=ready.set, draining=trio.Event()))
        await ready.wait()
        nursery.cancel_scope.cancel()
    (listener,) = await trio.open_tcp_listeners(address.port, host="127.0.0.1")
    await listener.aclose()


async def test_headers_above_the_limit_are_refused() -> None:
    async with running(make_app(), Limits(headers=1024)) as server:
        stream = await server.connect()
        answer = await exchange(stream, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4096)
        assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01 nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_nonsense_ends_its_own_connection_with_a_400(raw: bytes) -> None:
    async with running(make_app()) as server:
        assert (await exchange(await server.connect(), raw)).startswith(b"HTTP/1.1 400")
        assert (await exchange(await server.connect(), GET)).endswith(b"hello")


async def test_a_websocket_is_refused() -> None:
    raw = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with running(make_app()) as server:
        assert (await exchange(await server.connect(), raw)).startswith(b"HTTP/1.1 403")


async def test_an_application_that_raises_ends_its_own_connection_only() -> None:
    async def broken(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        raise RuntimeError("bug")

    async with running(broken) as server:
        for _ in range(2):
            assert (await exchange(await server.connect(), GET)).startswith(b"HTTP/1.1 500")


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_nobodys_problem() -> None:
    async with running(make_app()) as server:
        stream = await server.connect()
        await stream.send_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        await stream.aclose()
        assert (await exchange(await server.connect(), GET)).endswith(b"hello")


async def test_connections_above_the_limit_are_told_to_come_again() -> None:
    app = make_app()
    async with running(app, Limits(connections=2)) as server:
        kept = [await server.connect() for _ in range(2)]
        for stream in kept:
            app.started = trio.Event()  # type: ignore[attr-defined]
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await app.started.wait()  # type: ignore[attr-defined]
        answer = await exchange(await server.connect(), GET)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After" in answer
        await kept[0].aclose()
        for _ in range(100):
            if (await exchange(await server.connect(), GET)).endswith(b"hello"):
                break
            await trio.sleep(0.01)
        else:
            raise AssertionError("the freed place was not given to anybody")


def test_there_are_no_more_places_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert places() == 1024 - SPARE_FILES
    assert places(Limits(connections=50)) == 50


async def test_silence_and_endless_headers_lock_nobody_out() -> None:
    async with running(make_app(), Limits(connections=4)) as server:
        silent = [await server.connect() for _ in range(4)]
        for stream in silent[::2]:
            await stream.send_all(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(6):
            assert (await exchange(await server.connect(), GET)).endswith(b"hello")
        with trio.fail_after(5):
            assert await silent[0].receive_some(100) == b""  # the longest idle went first


async def test_a_request_under_way_keeps_its_place() -> None:
    app = make_app()
    async with running(app, Limits(connections=2)) as server:
        busy = await server.connect()
        await busy.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.started.wait()  # type: ignore[attr-defined]
        for _ in range(4):
            assert (await exchange(await server.connect(), GET)).endswith(b"hello")
        app.go_on.set()  # type: ignore[attr-defined]
        assert (await exchange(busy, b"")).endswith(b"done")


async def test_http_2_by_prior_knowledge_is_refused() -> None:
    async with running(make_app()) as server:
        answer = await exchange(await server.connect(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert answer.startswith(b"HTTP/1.1 505")


async def test_an_offer_of_http_2_is_answered_in_http_1() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    async with running(make_app()) as server:
        answer = await exchange(await server.connect(), raw)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"hello")


async def test_a_body_of_two_lengths_is_refused_and_what_follows_it_is_not_read() -> None:
    body = b"0\r\n\r\n" + GET
    raw = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    async with running(make_app()) as server:
        stream = await server.connect()
        answer = await exchange(stream, raw)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"hello" not in answer
        with trio.fail_after(5):
            assert await stream.receive_some(1000) == b""


@pytest.mark.parametrize("method", [b"head", b"get", b"Post"])
async def test_methods_are_written_in_capitals(method: bytes) -> None:
    async with running(make_app()) as server:
        answer = await exchange(await server.connect(), method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 501")


async def test_a_body_in_crumbs_is_refused() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running(make_app()) as server:
        stream = await server.connect()
        assert (await exchange(stream, head + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")).endswith(b"x" * 1000)
        assert (await exchange(stream, head + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")).endswith(b"x" * 1000)
        answer = await exchange(stream, head + b"1\r\nx\r\n" * 20_000)
        assert answer.startswith(b"HTTP/1.1 400")
        large = b"100\r\n" + b"y" * 256 + b"\r\n"
        answer = await exchange(await server.connect(), head + large * 4000 + b"0\r\n\r\n")
        assert answer.endswith(b"y" * 1000)


async def test_two_slashes_are_not_one() -> None:
    async with running(make_app()) as server:
        answer = await exchange(await server.connect(), b"GET //slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400")


async def test_slow_headers_are_cut_off() -> None:
    async with running(make_app(), Limits(keep_alive_s=0.05)) as server:
        stream = await server.connect()
        await stream.send_all(b"GET / HT")
        with trio.fail_after(5):
            assert await stream.receive_some(100) == b""


async def test_draining_lets_a_request_finish_and_closes_idle_connections() -> None:
    app = make_app()
    async with running(app) as server:
        idle, busy = await server.connect(), await server.connect()
        await exchange(idle, GET)
        await busy.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.started.wait()  # type: ignore[attr-defined]
        server.draining.set()
        with trio.fail_after(5):
            assert await idle.receive_some(100) == b""
        with pytest.raises(OSError, match=r"."):
            await server.connect()
        app.go_on.set()  # type: ignore[attr-defined]
        assert (await exchange(busy, b"")).endswith(b"done")
        with trio.fail_after(10):
            await server.ended.wait()


async def test_a_request_that_does_not_finish_is_cut_off_after_the_grace() -> None:
    app = make_app()
    async with running(app, Limits(grace_s=0.05)) as server:
        stream = await server.connect()
        await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.started.wait()  # type: ignore[attr-defined]
        server.draining.set()
        with trio.fail_after(10):
            await server.ended.wait()


async def test_a_client_that_does_not_read_cannot_hold_the_end_up() -> None:
    async with running(make_app(), Limits(grace_s=0.05)) as server:
        stream = await server.connect()
        await stream.send_all(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await stream.receive_some(100)
        await trio.sleep(0.05)  # let the socket's buffers fill, which only the kernel could tell us
        server.draining.set()
        with trio.fail_after(10):
            await server.ended.wait()


async def test_a_client_that_does_not_read_is_closed_after_the_deadline() -> None:
    async with running(make_app(), Limits(send_s=0.05, connections=16)) as server:
        stream = await server.connect()
        await stream.send_all(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.sleep(0.2)
        with trio.fail_after(5):
            try:
                while await stream.receive_some(1 << 20):
                    pass
            except trio.BrokenResourceError:
                pass  # reset instead of closed: as good
