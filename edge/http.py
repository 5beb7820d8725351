"""HTTP on Trio: Hypercorn's connections, our listening, limits and end.

Rule 1: everything a client can hold is bounded: connections, headers, the time between requests, the time that it lets a send wait.
Rule 2: draining stops listening first, closes idle connections, lets requests under way finish within the grace, and then closes what is left,
        even a connection whose client has stopped reading.
Rule 3: a connection that breaks its protocol, or our handling of it, ends alone.
Rule 4: when every place is taken, the connection that has been idle for longest gives its place to the newcomer: silence, or headers that never end,
        can lock nobody out. Only when each place has a request under way is a newcomer told to come again.
Rule 5: HTTP/1.1 and nothing else. HTTP/2 over clear text serves no browser, and its floods (rapid reset, settings, continuation) would be ours to bound.
"""

from __future__ import annotations

import errno
import logging
import re
import resource
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol, cast

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from contracts.errors import Invalid, Unavailable

BACKLOG = 1024
PIECES_FREE = 1024  # of a body, however small; beyond them each
PIECE_MIN = 256  # bytes allow one more
SPARE_FILES = 128  # descriptors that other parts of the process need
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]*):(?P<port>[0-9]{1,5})\Z")
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BAD_TARGET = b"The request target must begin with one slash.\n"

_log = structlog.get_logger("http")

App = Callable[..., Awaitable[None]]


@dataclass
class Address:
    """Where to listen. Port 0 lets the system choose; ``port`` is the real one once the server is ready."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port`` (``[::1]:8080`` for IPv6); raises Invalid."""
        found = _ADDRESS.match(text)
        if found is None or int(found["port"]) > 65_535:
            raise Invalid(f"{text!r} is no address to listen on: write host:port, as in 127.0.0.1:8080")
        return cls(found["host"].strip("[]") or "0.0.0.0", int(found["port"]))  # noqa: S104 - asked for by ":port"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else "::1" if self.host == "::" else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Limits:
    """What clients may hold. ``keep_alive_s`` bounds idle connections and slow headers alike."""

    connections: int = 10_000
    headers: int = 16 * 1024  # bytes
    keep_alive_s: float = 75.0
    send_s: float = 20.0
    grace_s: float = 2.0


async def serve(
    app: App,
    address: Address,
    *,
    ready: Callable[[], None],
    draining: trio.Event,
    limits: Limits | None = None,
) -> None:
    """Answer requests with the ASGI application until ``draining`` is set, then end within the grace.

    Calls ``ready`` when connections are accepted and ``address`` has its real port. Raises Unavailable with one clear line when the address cannot be had.
    """
    limits = limits or Limits()
    async with AsyncExitStack() as stack:
        listeners = await _listen(address)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        address.port = listeners[0].socket.getsockname()[1]
        await _Server(app, limits).run(listeners, ready, draining)


def places(limits: Limits | None = None) -> int:
    """Return how many connections may be open at once: as many as ``limits`` say and the process has descriptors for."""
    most = (limits or Limits()).connections
    return min(most, max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES))


async def check(address: Address) -> None:
    """Raise Unavailable, with one clear line, when the address cannot be had now: a start should say so at once instead of trying again and again."""
    for listener in await _listen(address):
        await listener.aclose()


async def _listen(address: Address) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(f"cannot listen on {address}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use; stop what uses it, or choose another port (CODEWARZ_HTTP)"
    if error.errno == errno.EACCES:
        return "this user may not use that port; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, trio.socket.gaierror):
        return "this machine has no such address"
    return error.strerror or str(error)


class _Note(Protocol):
    def __call__(self, *, is_idle: bool) -> None:
        """Hear whether a connection waits for a request."""


class _Server:
    """One run of the server: the connections that are open, and how they end."""

    def __init__(self, app: App, limits: Limits) -> None:
        self._limits = limits
        self._most = places(limits)
        self._config = _config(limits)
        self._app = ASGIWrapper(cast("Any", _guarded(app)))
        self._context = WorkerContext(None)
        self._open: set[_Stream] = set()
        self._idle: dict[_Stream, None] = {}  # the longest idle first
        self._all_gone = trio.Event()

    async def run(self, listeners: list[trio.SocketListener], ready: Callable[[], None], draining: trio.Event) -> None:
        lifespan = Lifespan(self._app, self._config, {})
        async with trio.open_nursery() as background:
            await background.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._accept, listeners, connections, name="http accept")
                    ready()
                    await draining.wait()
                    accepting.cancel_scope.cancel()
                for listener in listeners:
                    await listener.aclose()
                await self._context.terminated.set()
                connections.cancel_scope.deadline = trio.current_time() + self._limits.grace_s
                connections.start_soon(self._close_after_grace, connections, name="http grace")
            await lifespan.wait_for_shutdown()
            background.cancel_scope.cancel()

    async def _accept(self, listeners: list[trio.SocketListener], connections: trio.Nursery) -> None:
        await trio.serve_listeners(self._connection, listeners, handler_nursery=connections)

    async def _close_after_grace(self, connections: trio.Nursery) -> None:
        """Hypercorn shields its sends from cancellation; only closing the socket under a client that does not read ends them."""
        try:
            if self._open:
                await self._all_gone.wait()
        finally:
            for stream in tuple(self._open):
                stream.close_now()
        connections.cancel_scope.cancel()

    async def _connection(self, raw: trio.SocketStream) -> None:
        if len(self._open) >= self._most and not self._make_room():
            await _turn_away(raw)
            return
        stream = _Stream(raw, self._limits.send_s)
        self._open.add(stream)
        self._idle[stream] = None

        def note(*, is_idle: bool) -> None:
            self._idle.pop(stream, None)
            if is_idle and stream in self._open:
                self._idle[stream] = None

        try:
            connection = _Connection(
                self._app, self._config, self._context, cast("Any", ConnectionState({})), cast("Any", stream)
            )
            connection.note = note
            await connection
        except Exception:  # noqa: BLE001 - whatever a hostile client brought up, it ends here with its connection
            _log.exception("connection_broke")
        finally:
            self._open.discard(stream)
            self._idle.pop(stream, None)
            stream.close_now()
            if not self._open and self._context.terminated.is_set():
                self._all_gone.set()

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; False when each has a request under way."""
        stream = next(iter(self._idle), None)
        if stream is None:
            return False
        del self._idle[stream]
        self._open.discard(stream)
        stream.close_now()
        return True


class _Pieces(h11.Connection):
    """A connection that notices bodies which come in crumbs: each piece costs us 60 µs, a client that sends bytes in chunks of their own next to nothing."""

    _pieces = 0
    _bytes = 0

    def next_event(self) -> Any:
        """Return what came next; raises RemoteProtocolError for more pieces than so many bytes can need."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > PIECES_FREE + self._bytes // PIECE_MIN:
                raise h11.RemoteProtocolError("the body comes in too many pieces", error_status_hint=400)
        return event


class _Http1(H11Protocol):
    """HTTP/1.1 without the ways out of it, and without the two lengths of one body that smuggling lives on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection = _Pieces(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Upgrade to nothing: an offer of h2c is ignored, as RFC 9110 (7.8) allows."""

    async def _create_stream(self, request: h11.Request) -> None:
        names = {bytes(name) for name, _ in request.headers}
        status = None
        if request.http_version not in (b"1.0", b"1.1"):
            status = 505
        elif request.method != request.method.upper():
            status = 501  # "head" is not HEAD; Hypercorn and h11 would disagree about which one it is
        elif {b"content-length", b"transfer-encoding"} <= names:
            status = 400  # RFC 9112 (6.1) lets a server refuse it, and a proxy before us may have counted otherwise
        if status is None:
            await super()._create_stream(request)
            return
        await self._send_error_response(status)
        await self.send(Closed())


class _Connection(TCPServer):
    """One connection that goes on, or closes, whatever happens to the request that has just ended.

    The answer's last byte makes Hypercorn start the idle timer (or close) in the application's task, and Quart-Trio cancels that task at the same
    moment: without the shield the timer never runs, and the connection stays open for ever, through draining too.
    """

    note: _Note

    async def run(self) -> None:
        """Serve the connection until it ends. As in TCPServer, but for TLS, which ends before us, and HTTP/2."""
        socket = self.stream.socket
        try:
            client, server = (
                parse_socket_addr(socket.family, name()) for name in (socket.getpeername, socket.getsockname)
            )
            async with TaskGroup() as task_group:
                self._task_group = task_group
                state = ConnectionState(self.state)
                of_server = (self.app, self.config, self.context)
                http1 = _Http1(*of_server, task_group, state, False, client, server, self.protocol_send)
                self.protocol = cast("Any", http1)
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        except OSError as error:
            _log.debug("connection_lost", error=str(error))
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        """Send what the protocol has, or note that the connection is idle or busy."""
        if isinstance(event, Updated):
            self.note(is_idle=event.idle)
        with trio.CancelScope(
            shield=not isinstance(event, RawData)
        ):  # sending shields itself, and must notice a cancel in between
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        """Read until the client has gone; then the idle timer has nothing left to wait for, and must not keep the connection's place."""
        await super()._read_data()
        await self.idle_task.stop()


class _Stream:
    """A socket whose sends have a deadline: a client that has stopped reading must not hold its sender."""

    def __init__(self, stream: trio.SocketStream, send_s: float) -> None:
        self._stream = stream
        self._send_s = send_s
        self.socket = stream.socket
        self.receive_some = stream.receive_some
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose

    async def send_all(self, data: bytes) -> None:
        """Send, or close the connection and raise BrokenResourceError after the deadline."""
        with trio.move_on_after(self._send_s) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            self.close_now()
            raise trio.BrokenResourceError(f"the client has not read for {self._send_s:g} s")

    def close_now(self) -> None:
        """Close without waiting; whoever waits on the socket is woken."""
        self.socket.close()


async def _turn_away(raw: trio.SocketStream) -> None:
    with trio.move_on_after(1):
        try:
            await raw.send_all(_BUSY)
            await raw.send_eof()
        except trio.BrokenResourceError:
            _log.debug("turned_away_too_late")
    await trio.aclose_forcefully(raw)


def _config(limits: Limits) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("codewarz.http")
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.headers
    config.keep_alive_timeout = cast("Any", limits.keep_alive_s)
    config.graceful_timeout = limits.grace_s
    return config


def _guarded(app: App) -> App:
    """Keep from the application what it has no answer to: websockets, and targets that are no path."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http" and (not scope["path"] or scope["path"].startswith("//")):
            # Quart takes //metrics for /metrics; a proxy that guards an address by its path must not be walked around.
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BAD_TARGET))]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": _BAD_TARGET, "more_body": False})
        else:
            await app(scope, receive, send)

    return guarded
