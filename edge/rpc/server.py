"""What answers: one listening socket for all services of a process.

Rule 1: a request is refused as early as it can be, before its message is read: wrong secret, not for judges (``callers``), no such method, nobody serves it,
        too many under way.
Rule 2: the work of a call belongs to the service that answers it (its nursery, in Trio) and ends with the call: a reset stream, a lost connection and the
        service's end cancel it, and it is waited for.
Rule 3: what a handler raises reaches the caller if it is a ``CodeWarzError``; anything else is logged here, with its trace, and an internal error there.
Rule 4: health (grpc.health.v1) is answered to everybody: probes have no secret. They are strangers all the same, and asked to come again for more.
Rule 5: strangers take nobody's place. They have some of their own, from their first byte on (``handshake``), and one that comes sends the one away that has
        been a stranger for the longest; who knows a secret is none after his first words. A stranger's first call that is refused is his last.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from grpclib.const import Status
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.metadata import decode_timeout
from grpclib.protocol import Stream
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from contracts.errors import CodeWarzError, EdgeLost, Malformed, NotFound, Unavailable
from edge.aio import AsyncioLoop
from edge.deadline import timeout
from edge.rpc import context, http2
from edge.rpc.callers import Caller, Callers
from edge.rpc.failures import trailers_of
from edge.rpc.handshake import Arrivals, Handshake
from edge.rpc.http2 import CALLS_MAX, CLOSE_S, Handler, Http2, framed, read_message
from edge.rpc.service import Incoming, Service
from edge.rpc.url import Address, RpcUrl
from edge.rpc.wire import HEALTH, PATHS, SERVICES

BEAT_S = 10.0  # clients ping five times as often: who says nothing for 30 to 40 s is gone, and its calls with it
CONNECTIONS_MAX = 512  # of peers that we know
STRANGERS_MAX = 128
LARGE_MAX = 4  # messages above ``http2.LARGE`` that are read at once, so a quarter of what they may hold is 144 MiB
TIMEOUT_S = 60.0  # of calls that bring none, which ours never do
TIMEOUT_MAX_S = 600.0
GRACE_S = 0.25  # beyond the deadline, for the answer that says so

HEALTH_MAX = 1024  # bytes of a question about health, which strangers may ask
_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
_OK = [("grpc-status", "0")]

_log = structlog.get_logger("rpc")
Trailers = list[tuple[str, str]]


class _Refused(Exception):
    """The request is not begun with; ``trailers`` say why."""

    def __init__(self, trailers: Trailers, event: str = "") -> None:
        super().__init__()
        self.trailers = trailers
        self.event = event  # what the log says of it

    @classmethod
    def with_status(cls, status: Status, message: str, event: str = "") -> _Refused:
        """Say it without a failure: the request is none of our clients'."""
        return cls([("grpc-status", str(status.value)), ("grpc-message", message)], event)

    @classmethod
    def for_now(cls, message: str) -> _Refused:
        """Say that another server may be asked."""
        return cls(trailers_of(Unavailable(message, retry_after_s=1.0), not_begun=True))


class Server:
    """The asyncio side of serving. ``services`` is the Trio side's table, which changes while this runs."""

    def __init__(
        self, aio: AsyncioLoop, services: Mapping[str, Service], url: RpcUrl, group: asyncio.TaskGroup
    ) -> None:
        self.aio = aio
        self.group = group
        self.large = asyncio.Semaphore(LARGE_MAX)
        self.peers: set[Peer] = set()
        self.strangers: dict[
            Peer, None
        ] = {}  # those of them that have not shown a secret yet, the oldest first; also while they shake hands
        self.tasks: set[asyncio.Task[None]] = set()
        self._services = services
        self._callers = Callers(url)
        self._server: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"<Server peers={len(self.peers)} calls={len(self.tasks)} {' '.join(self._services)}>"

    async def listen(self, address: Address, context: ssl.SSLContext | None) -> int:
        """Begin to accept connections; returns the port. Unavailable when the address cannot be had."""

        def accepted() -> asyncio.BaseProtocol:
            protocol = Peer(self).protocol
            return protocol if context is None else Handshake(protocol, context, http2.FIRST_CALL_S)

        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(accepted, address.host, address.port, backlog=CONNECTIONS_MAX)
        except OSError as error:
            raise Unavailable(f"CODEWARZ_RPC: nothing can be served at {address} ({error})") from error
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop to listen, let answers that are ready go out, cancel the rest, and close every connection."""
        if self._server is not None:
            self._server.close()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=GRACE_S)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        lost = [each.protocol.lost for each in self.peers]
        for peer in tuple(self.peers):
            peer.shut()
        if lost:
            await asyncio.wait(lost, timeout=2 * CLOSE_S)

    # ---- what is let in --------------------------------------------------------------------------------------------

    def who(self, headers: Mapping[str, str]) -> Caller:
        """Return whose call these headers begin."""
        return self._callers.who(headers.get("authorization", ""))

    def admit(self, caller: Caller, headers: Mapping[str, str]) -> Incoming | None:
        """Return the call that these headers begin, None for a question about health; _Refused."""
        if headers.get(":method") != "POST" or headers.get("content-type", "").partition("+")[0] != "application/grpc":
            raise _Refused.with_status(Status.INTERNAL, "not a gRPC request")
        path = headers.get(":path", "")
        if path == HEALTH:
            return None
        if caller is Caller.STRANGER:
            why = "wrong secret: see CODEWARZ_RPC on both sides"
            raise _Refused.with_status(Status.UNAUTHENTICATED, why, "rpc_wrong_secret")
        if not caller.may_ask(path):
            why = "not with the secret of judges"
            raise _Refused.with_status(Status.PERMISSION_DENIED, why, "rpc_not_for_judges")
        if path not in PATHS or headers.get("grpc-encoding", "identity") != "identity":
            raise _Refused.with_status(Status.UNIMPLEMENTED, "no such method, or a compression that is not known here")
        try:
            timeout_s = min(decode_timeout(headers["grpc-timeout"]), TIMEOUT_MAX_S)
        except KeyError:
            timeout_s = TIMEOUT_S
        except ValueError:
            raise _Refused.with_status(Status.INVALID_ARGUMENT, "grpc-timeout cannot be read") from None
        name, method = PATHS[path]
        service = self._services.get(name)
        if service is None:
            raise _Refused.for_now(f"{name!r} is not served here at the moment")
        if service.calls >= CALLS_MAX:
            raise _Refused.for_now(f"{name!r} has {CALLS_MAX} calls under way already")
        return Incoming(service, method, time.monotonic() + timeout_s, context.incoming(headers))

    def health(self, message: bytes | None) -> bytes:
        """Answer grpc.health.v1: each service by its full name, and all of this server as ""."""
        try:
            asked = HealthCheckRequest.FromString(message or b"").service
        except ValueError as error:
            raise Malformed("the question about health cannot be read") from error
        known = {"": bool(self._services)} | {each.full_name: name in self._services for name, each in SERVICES.items()}
        if asked not in known:
            raise NotFound(f"no service {asked[:100]!r}")
        status = HealthCheckResponse.SERVING if known[asked] else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status).SerializeToString()


class Peer(Handler):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._is_closed = False
        self._logged: set[str] = set()
        self._cut: Callable[[], None] | None = None  # while it shakes hands
        self.protocol = _Protocol(self, is_client=False, beat_s=BEAT_S)

    def begin(self, cut: Callable[[], None] | None = None) -> None:
        """Join the server's peers, as a stranger: with ``cut`` at the begin of a handshake, without it when there is none or it is done."""
        strangers, self._cut = self._server.strangers, cut
        if self in strangers:
            return
        if len(strangers) >= STRANGERS_MAX:
            oldest = next(iter(strangers))
            oldest.end()
            oldest.send_away("a newer stranger has its place")
        self._server.peers.add(self)
        strangers[self] = None

    def end(self) -> None:
        """Leave them: the connection is gone."""
        self._server.peers.discard(self)
        self._server.strangers.pop(self, None)

    def send_away(self, why: str) -> None:
        """Cut the connection, or the handshake."""
        if self._cut is not None:
            self._cut()
        else:
            self.protocol.abort(why)

    def shut(self) -> None:
        """Close it in good order, now."""
        if self._cut is not None:
            self._cut()
        else:
            self.protocol.close()

    def _welcome(self) -> None:
        """Be no stranger any more."""
        server = self._server
        if len(server.peers) - len(server.strangers) >= CONNECTIONS_MAX:
            self.protocol.abort("too many connections")
            return
        server.strangers.pop(self, None)
        self.protocol.welcome()

    # ---- what the protocol tells -----------------------------------------------------------------------------------

    def hear(self) -> None:
        """Nothing waits for it."""

    def accept(self, stream: Stream, headers: Any, release_stream: Any) -> None:
        """Begin with a request, or refuse it."""
        given = dict(headers)
        caller = self._server.who(given)
        if caller is not Caller.STRANGER:
            if self.protocol.is_stranger:
                self._welcome()
            self.protocol.expect(calls=1)
        try:
            call = self._server.admit(caller, given)
        except _Refused as refused:
            if refused.event and refused.event not in self._logged:
                self._logged.add(refused.event)  # said once, and not for each of its requests
                _log.warning(refused.event, peer=str(stream.connection.get_peer().addr()))
            self._refuse(stream, refused.trailers)
            release_stream()
            if self.protocol.is_stranger:
                why = dict(refused.trailers)["grpc-message"]
                asyncio.get_running_loop().call_soon(self.protocol.close, why)  # what came with it is told the same
            return
        if call is not None:
            call.service.calls += 1
        task = self._server.group.create_task(self._serve(stream, call))
        self._tasks[stream] = task
        self._server.tasks.add(task)
        task.add_done_callback(partial(self._done, stream, call, release_stream))

    def cancel(self, stream: Stream) -> None:
        """The client reset the stream."""
        task = self._tasks.get(stream)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """The connection is lost: so is every call on it."""
        if not self._is_closed:
            self._is_closed = True
            for task in self._tasks.values():
                task.cancel()

    def _done(self, stream: Stream, call: Incoming | None, release: Any, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled before its first step never comes to its own end.
        self._tasks.pop(stream, None)
        self._server.tasks.discard(task)
        if call is not None:
            call.service.calls -= 1
        release()

    def _refuse(self, stream: Stream, trailers: Trailers) -> None:
        if not self.protocol.connection.write_ready.is_set():
            self.protocol.abort("it reads no answers and asks on")
            return
        connection = self.protocol.connection._connection  # noqa: SLF001 - grpclib's way to send must be awaited
        assert stream.id is not None
        try:
            connection.send_headers(stream.id, [*_HEADERS, *trailers], end_stream=True)
        except ProtocolError:
            return  # the client is gone already
        if stream.closable:
            stream.reset_nowait(ErrorCodes.NO_ERROR)  # what is still to come of the request is not wanted
        self.protocol.connection.flush()

    # ---- one call --------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Stream, call: Incoming | None) -> None:
        left_s = TIMEOUT_S if call is None else call.left_s
        try:
            async with timeout(left_s + GRACE_S):
                await self._answer(stream, call)
        except TimeoutError:  # the client sends or reads too slowly
            if stream.closable:
                stream.reset_nowait(ErrorCodes.CANCEL)
        except ProtocolError:
            pass  # the stream ended while it was written to: whoever asked is gone
        except Exception as error:  # noqa: BLE001 - Rule 2 of http2: it must not take the server along
            _log.exception("rpc_connection_failed")
            self.protocol.abort(f"its call failed ({type(error).__name__})")

    async def _answer(self, stream: Stream, call: Incoming | None) -> None:
        try:
            reply = await self._reply(stream, call)
        except CodeWarzError as error:
            trailers = trailers_of(error)
            if isinstance(error, EdgeLost) and call is not None and not call.has_begun:
                trailers = _Refused.for_now(f"{call.service.name!r} is about to end").trailers
            await stream.send_headers([*_HEADERS, *trailers], end_stream=True)
            if stream.closable:
                stream.reset_nowait(ErrorCodes.NO_ERROR)
            return
        await stream.send_headers(_HEADERS)
        if call is not None:
            self.protocol.expect(size=len(reply))
        await stream.send_data(framed(reply))
        await stream.send_headers(_OK, end_stream=True)

    async def _reply(self, stream: Stream, call: Incoming | None) -> bytes:
        if call is None:
            return self._server.health(await read_message(stream, most=HEALTH_MAX))
        message = await read_message(stream, large=self._server.large)
        if message is None:
            raise Malformed(f"{call.method.path} without a message")
        return await self._server.aio.call_trio(call.service.nursery, call.service.answer, call, message)


class _Protocol(Http2, Arrivals):
    """A connection that is counted."""

    def __init__(self, peer: Peer, *, is_client: bool, beat_s: float) -> None:
        super().__init__(peer, is_client=is_client, beat_s=beat_s)
        self._peer = peer

    def arrive(self, cut: Callable[[], None]) -> None:
        self._peer.begin(cut)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer.begin()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._peer.end()

    def depart(self) -> None:
        if not self.is_begun and not self.lost.done():
            self.lost.set_result(None)  # nobody else says so: there was no connection but the one in clear text
        self._peer.end()
