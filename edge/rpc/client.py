"""One connection to one server, and calls on it.

Rule 1: a call that was not sent to its last byte did nothing (a server begins when it has the whole message): NotBegun. After that its outcome is unknown when
        the connection is lost: EdgeLost.
Rule 2: a call that ends before its answer, for whatever reason, resets its stream: the server cancels the work. Nothing of it stays in the connection.
Rule 3: a connection is up when the server has answered. A frozen one accepts connections as well, its kernel does. What it is asked is its health, which also
        shows it our secret: it does not keep strangers for long (``http2``), and a call may be late in coming.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Stream
from grpclib.utils import Wrapper
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from contracts.errors import CodeWarzError, EdgeLost, Unavailable
from edge.deadline import timeout
from edge.rpc.failures import NotBegun, error_of
from edge.rpc.http2 import CALLS_MAX, Handler, Http2, framed, read_message
from edge.rpc.url import Address
from edge.rpc.wire import HEALTH

BEAT_S = 2.0  # so a frozen server is found within 6 to 8 s, and others are preferred after 4 to 6
CONNECT_S = 2.0  # name aside: TCP, TLS and the server's first word
STREAM_ID_MAX = 1 << 30  # of 2^31: a connection has used half of what HTTP/2 can count, and makes room for another
TIMEOUT_MAX_MS = 99_999_999  # gRPC has eight digits


@dataclass(slots=True)
class Call:
    """One request on its way. ``deadline`` is on ``time.monotonic``; ``is_sent`` once a server may have begun with it."""

    path: str
    body: bytes
    metadata: list[tuple[str, str]]
    deadline: float
    is_sent: bool = field(default=False)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(self.deadline - time.monotonic(), 0.0)


class Connection(Handler):
    """One connection. ``fixed`` are the headers that every call has; ``on_end`` is called once, when it takes no more calls."""

    def __init__(self, who: str, fixed: list[tuple[str, str]], on_end: Callable[[Connection], None]) -> None:
        self.who = who
        self.is_ended = False
        self._is_retired = False
        self._fixed = fixed
        self._on_end = on_end
        self._calls: set[_Interrupt] = set()
        self._heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol: Http2

    def __repr__(self) -> str:
        return f"<Connection {self.who} {'ended' if self.is_ended else 'open'} calls={len(self._calls)}>"

    async def open(self, address: Address, host: str, context: ssl.SSLContext | None) -> None:
        """Connect to ``address``, which is one of ``host``'s; OSError (time-outs and certificates among them) when that fails."""
        loop = asyncio.get_running_loop()
        is_up = False
        try:
            async with timeout(CONNECT_S):
                await loop.create_connection(
                    self._make_protocol,
                    address.host,
                    address.port,
                    ssl=context,
                    server_hostname=host if context is not None else None,
                )
                await self._heard
                await self._greet()
                is_up = True
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {CONNECT_S:g} s") from error
        finally:
            if not is_up:
                self.abort("it was not opened in time")

    async def _greet(self) -> None:
        """Show our secret. What the server says of its health is not asked for, nor whether it knows such a question."""
        try:
            await self.unary(Call(HEALTH, b"", [], time.monotonic() + CONNECT_S))
        except (NotBegun, CodeWarzError) as error:
            if self.is_ended or self._protocol.is_closing:
                raise ConnectionError(self.reason) from error

    def _make_protocol(self) -> Http2:
        self._protocol = Http2(self, is_client=True, beat_s=BEAT_S)
        return self._protocol

    # ---- what the balance asks -------------------------------------------------------------------------------------

    @property
    def is_suspect(self) -> bool:
        """Whether the server leaves pings unanswered."""
        return self._protocol.is_suspect

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when the connection is gone."""
        return self._protocol.lost

    def close(self) -> None:
        """Hear that the connection is lost (grpclib calls this): the calls under way fail."""
        if not self._heard.done():
            self._heard.set_exception(ConnectionError(self.reason))
            self._heard.exception()  # seen: nobody else may be waiting for it
        self._end()
        for each in self._calls:
            each.cancel(StreamTerminatedError(self.reason))

    def shut(self) -> None:
        """Close in good order, now."""
        self._protocol.close()

    def retire(self) -> None:
        """Close in good order when the calls under way have ended; nobody begins another."""
        self._is_retired = True
        if not self._calls:
            self.shut()

    def abort(self, reason: str) -> None:
        """Cut it, if it was ever there."""
        if hasattr(self, "_protocol") and hasattr(self._protocol, "processor"):
            self._protocol.abort(reason)

    @property
    def reason(self) -> str:
        """Why it is gone."""
        return self._protocol.reason or "the connection was lost"

    def _end(self) -> None:
        if not self.is_ended:
            self.is_ended = True
            self._on_end(self)

    # ---- what the protocol tells -----------------------------------------------------------------------------------

    def accept(self, stream: object, headers: object, release_stream: object) -> None:  # noqa: ARG002
        """A server that calls its client breaks the protocol."""
        raise ProtocolError("a server cannot begin a stream")

    def cancel(self, stream: Stream) -> None:
        """Nothing beyond what the stream's own interrupt does."""

    def hear(self) -> None:
        """The server lives."""
        if not self._heard.done():
            self._heard.set_result(None)

    def leave(self, last_stream_id: int) -> bool:
        """The server takes no more: calls that it has not seen may go elsewhere."""
        self._end()
        for stream in tuple(self._protocol.processor.streams.values()):
            if stream.id is not None and stream.id > last_stream_id and stream.wrapper is not None:
                stream.wrapper.cancel(_NotSeen("the server was ending"))
        return True

    # ---- calls -----------------------------------------------------------------------------------------------------

    async def unary(self, call: Call) -> bytes:
        """Send the request and return the reply's message; raises the server's error, NotBegun, EdgeLost."""
        connection = self._protocol.connection
        most = min(CALLS_MAX, connection._connection.remote_settings.max_concurrent_streams)  # noqa: SLF001
        if len(self._calls) >= most:
            raise NotBegun(Unavailable(f"{self.who} has {most} calls under way already", retry_after_s=1.0))
        if self._protocol.is_closing:
            raise NotBegun(Unavailable(f"{self.who}: {self.reason}", retry_after_s=1.0))
        interrupt = _Interrupt()
        self._calls.add(interrupt)
        stream = connection.create_stream(wrapper=interrupt)
        release: Callable[[], None] | None = None
        try:
            with interrupt:
                self._protocol.expect(calls=1, size=len(call.body))
                release = await stream.send_request(self._headers(call), _processor=self._protocol.processor)
                self._retire_if_used_up(stream)
                await stream.send_data(framed(call.body), end_stream=True)
                call.is_sent = True
                return await self._reply(stream)
        except (StreamTerminatedError, ProtocolError) as error:
            raise self._lost(call, stream, error) from error
        finally:
            self._calls.discard(interrupt)
            if release is not None:
                if stream.closable:
                    stream.reset_nowait(ErrorCodes.CANCEL)
                release()
            if self._is_retired and not self._calls:
                self.shut()

    def _retire_if_used_up(self, stream: Stream) -> None:
        if stream.id is not None and stream.id > STREAM_ID_MAX:
            self._is_retired = True
            self._end()

    def _headers(self, call: Call) -> list[tuple[str, str]]:
        timeout_ms = min(max(int(call.left_s * 1000), 1), TIMEOUT_MAX_MS)
        return [
            (":method", "POST"),
            (":path", call.path),
            *self._fixed,
            ("grpc-timeout", f"{timeout_ms}m"),
            *call.metadata,
        ]

    async def _reply(self, stream: Stream) -> bytes:
        headers = dict(await stream.recv_headers())
        message = None
        if "grpc-status" not in headers:
            if headers.get(":status") != "200":
                raise EdgeLost(f"{self.who} answered with HTTP status {headers.get(':status')}")
            message = await read_message(stream)
            headers = dict(await stream.recv_trailers())
        self._raise_error_of(headers)
        if message is None:
            raise EdgeLost(f"{self.who} answered without a message")
        return message

    def _raise_error_of(self, headers: dict[str, str]) -> None:
        error = error_of(headers, self.who)
        if error is not None:
            raise error

    def _lost(self, call: Call, stream: Stream, error: Exception) -> Exception:
        """Say what a stream's early end means. The server's word counts, if it came before the end."""
        for headers in (stream.trailers, stream.headers):
            said = dict(headers or ())
            if "grpc-status" in said and (found := error_of(said, self.who)) is not None:
                return found
        if isinstance(error, _NotSeen) or not call.is_sent:
            call.is_sent = False
            return NotBegun(Unavailable(f"{self.who}: {error}", retry_after_s=1.0))
        return EdgeLost(f"{self.who} was lost while it answered: {error}")


class _NotSeen(StreamTerminatedError):
    """The server ended before it saw the stream."""


class _Interrupt(Wrapper):
    """Ends a call from outside. Unlike grpclib's it takes its cancellation back, so that the task can go on and a real one is not mistaken for it."""

    def __init__(self) -> None:
        super().__init__()
        self._task: asyncio.Task[object] | None = None
        self._why: Exception | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()

    def cancel(self, error: Exception) -> None:
        """End the call with ``error``, if it is under way. The first time counts."""
        if self._why is None and self._task is not None:
            self._why = error
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._why is None:
            return
        assert task is not None
        if task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise self._why
