"""One HTTP/2 connection, of either side: grpclib's protocol objects, bounded and with a pulse.

grpclib's ``Channel`` and ``Server`` are not used, its layer below them is. They read messages of any size, count deadlines above ten seconds in whole ones,
leave connections open when they close, and a call that waits for room in a connection is not told that the connection is lost.

Rule 1: a peer that says nothing is asked (a ping) and given up when it stays silent: see ``BEATS_SUSPECT`` and ``BEATS_LOST``.
Rule 2: whatever a peer sends can end its own connection, and nothing else.
Rule 3: everything is bounded: streams, headers, frames, bytes that nobody has read yet, messages.
Rule 4: frames cost this loop time, which database, Redis and broker share. A peer has some in each beat and some for each call; who sends more is cut off
        before they are read. Data frames that are worth their reading are free.
Rule 5: a client is a stranger until a call of its shows a secret (``welcome``). A stranger has few frames, no more for waiting, and ``FIRST_CALL_S``, of which
        its TLS handshake takes its part.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from typing import cast

import structlog
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, H2Protocol, Stream
from h2.config import H2Configuration
from h2.events import ConnectionTerminated, Event, InformationalResponseReceived, UnknownFrameReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from contracts.errors import Malformed, TooLarge
from edge.rpc.frames import PREFACE, Frames

MESSAGE_MAX = 144 << 20  # bytes: the largest package that may be verified (128 MiB, sandbox.package_source), and room
LARGE = 1 << 20  # bytes: messages above it are read a few at a time
CALLS_MAX = 1024  # under way on one connection, and in one service, as in ``local``
HEADERS_MAX = 16 * 1024  # bytes of one header list as HTTP/2 counts them; trailers with a failure need half of it
FRAME_MAX = 128 * 1024  # a message of 32 MiB is then 256 events instead of 2,048
STREAM_WINDOW = 1 << 20  # bytes that one call may have sent and nobody has read
WRITE_MAX = MESSAGE_MAX  # bytes that a peer has asked for and does not read
WRITE_MAX_STRANGER = 64 * 1024
CONNECTION_WINDOW = 16 << 20  # the same of all calls: sixteen that wait to be read do not stop the others

FRAMES_BEAT = 100  # that a peer has in every beat, whatever for
FRAMES_CALL = 8  # and for each call: headers, data and trailers, windows, a ping, a reset
FRAME_WORTH = (
    8 * 1024
)  # bytes of a message that we send, for which the peer may open its windows once: ours do so for half a MiB
FRAMES_MAX = FRAMES_BEAT + FRAMES_CALL * CALLS_MAX  # that may be saved up from beat to beat
FRAMES_STRANGER = 64  # until the first call
FRAMES_AT_ONCE = 16  # read in one go, so that a first call is heard before what came with it is counted
FIRST_CALL_S = 5.0

# Counted in a connection's beats: at each it looks whether anything came since the last one, and pings when nothing did.
BEATS_SUSPECT = 2  # others are asked as long as there are others
BEATS_LOST = 3
CLOSE_S = 1.0  # to send what is left, then the connection is cut

_log = structlog.get_logger("rpc")


class Handler(AbstractHandler):
    """What a side does with its connection; ``close`` may come more than once."""

    @abstractmethod
    def hear(self) -> None:
        """Hear that the peer said something for the first time, so it lives and speaks HTTP/2."""

    def leave(self, last_stream_id: int) -> bool:  # noqa: ARG002 - for those that care
        """Hear that the peer will take no more streams; True when the connection is to be closed a moment later instead of now."""
        return False


class Http2(H2Protocol):
    """grpclib's protocol with what the head of this module promises. ``beat_s`` is the pulse's."""

    def __init__(self, handler: Handler, *, is_client: bool, beat_s: float) -> None:
        super().__init__(
            handler,
            # As a client's, because grpclib's own pings are then off.
            Configuration(
                http2_connection_window_size=CONNECTION_WINDOW, http2_stream_window_size=STREAM_WINDOW
            ).__for_client__(),
            H2Configuration(
                client_side=is_client,
                header_encoding="ascii",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            ),
        )
        self._side = handler
        self._beat_s = beat_s
        self._has_heard = False
        self._is_new = True
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._arrived_at = (
            asyncio.get_running_loop().time()
        )  # of a server's: made when it accepts, before any handshake
        self.is_stranger = not is_client  # a client knows whom it has connected to
        self._frames = Frames(0 if is_client else PREFACE)
        self._spare = FRAMES_BEAT if is_client else FRAMES_STRANGER
        self._transport: asyncio.Transport
        self.beats_silent = 0
        self.reason = ""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # ---- asyncio's callbacks ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: say our limits, and listen to the pulse."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        super().connection_made(transport)
        self.processor.processors[UnknownFrameReceived] = _ignore
        self.processor.processors[InformationalResponseReceived] = _ignore
        self.processor.processors[ConnectionTerminated] = self._leave
        self.connection._connection.update_settings(  # noqa: SLF001 - grpclib has no setting for these
            {
                SettingCodes.MAX_CONCURRENT_STREAMS: CALLS_MAX,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_MAX,
                SettingCodes.MAX_FRAME_SIZE: FRAME_MAX,
            }
        )
        self.connection.flush()
        if self.is_stranger:
            due = self._arrived_at + FIRST_CALL_S
            self._deadline = self._loop.call_at(due, self.abort, "its first call did not come in time")
        self._wait_a_beat()

    def data_received(self, data: bytes) -> None:
        """Take what came, some frames at a time; a peer that breaks the protocol, or sends more frames than it may, loses its connection."""
        self._has_heard = True
        self.beats_silent = 0
        at = 0
        while at < len(data) and not self.is_closing:
            end, frames = self._frames.cut(data, at, FRAMES_AT_ONCE)
            self._spare -= frames
            if self._spare < 0:
                self.abort("it sends more frames than its calls need")
                return
            self._take(data if end - at == len(data) else data[at:end])
            at = end

    def _take(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - Rule 2: such as headers that are no ASCII, which h2 does not expect
            self.abort(f"it sent what cannot be understood ({type(error).__name__}: {error})")
            return
        if self._transport.get_write_buffer_size() > (WRITE_MAX_STRANGER if self.is_stranger else WRITE_MAX):
            self.abort("it asks on and reads no answers")
            return
        if self._is_new and not self.is_closing:
            self._is_new = False
            self._side.hear()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End everything that was under way."""
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        self.reason = self.reason or (f"the connection broke ({exc})" if exc else "the connection was closed")
        self.processor.close(self.reason)
        if not self.lost.done():
            self.lost.set_result(None)

    # ---- what a peer may ------------------------------------------------------------------------------------------

    def welcome(self) -> None:
        """Hear that the peer is no stranger any more."""
        if self.is_stranger:
            self.is_stranger = False
            self._spare += FRAMES_BEAT
            if self._deadline is not None:
                self._deadline.cancel()

    def expect(self, *, calls: int = 0, size: int = 0) -> None:
        """Let the peer have the frames that go with ``calls``, and with a message of ``size`` bytes that it is sent."""
        self._spare += calls * FRAMES_CALL + size // FRAME_WORTH

    # ---- the end ---------------------------------------------------------------------------------------------------

    @property
    def is_begun(self) -> bool:
        """Whether there is a connection: there is none while a handshake is under way, or when it failed."""
        return hasattr(self, "_transport")

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport.is_closing()

    def abort(self, reason: str) -> None:
        """Cut the connection at once."""
        self.reason = self.reason or reason
        self._transport.abort()
        self.processor.close(reason)

    def close(self, why: str = "") -> None:
        """Say that no more is taken, and ``why``, send what is left, close; cut after ``CLOSE_S``, as a peer that reads nothing would hold it for ever."""
        if not self.is_closing:
            with suppress(ProtocolError):  # it has ended by itself
                self.connection._connection.close_connection(additional_data=why.encode() or None)  # noqa: SLF001 - GOAWAY
                self.connection.flush()
        self.reason = self.reason or "this process closed the connection"
        self.processor.close(self.reason)
        self._loop.call_later(CLOSE_S, self._transport.abort)

    def _leave(self, event: Event) -> None:
        """Hear GOAWAY. Replies that came with it are taken before the connection is closed."""
        assert isinstance(event, ConnectionTerminated)
        why = (event.additional_data or b"")[:200].decode(errors="replace")
        self.reason = self.reason or ("the other side is ending" + (why and f": {why}"))
        close = self.processor.close
        if self._side.leave(event.last_stream_id or 0):
            self._loop.call_soon(close, self.reason)
        else:
            close(self.reason)

    # ---- the pulse -------------------------------------------------------------------------------------------------

    @property
    def is_suspect(self) -> bool:
        """Whether the peer leaves pings unanswered."""
        return self.beats_silent >= BEATS_SUSPECT

    def _wait_a_beat(self) -> None:
        self._due = self._loop.time() + self._beat_s
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        if self.is_closing:
            return
        if not self.is_stranger:
            self._spare = min(max(self._spare, FRAMES_BEAT), FRAMES_MAX)
        was_asleep = self._loop.time() - self._due > self._beat_s  # we were, so the silence may be ours
        if self._has_heard:
            self.beats_silent = 0
        elif not was_asleep:
            self.beats_silent += 1
        self._has_heard = False
        if self.beats_silent >= BEATS_LOST:
            _log.warning("rpc_peer_silent", silent_s=BEATS_LOST * self._beat_s)
            self.abort(f"nothing was heard for {BEATS_LOST * self._beat_s:g} s")
            return
        if self.beats_silent or was_asleep:
            self.connection._connection.ping(b"codewarz")  # noqa: SLF001 - eight bytes, as the protocol wants
            self.connection.flush()
        self._wait_a_beat()


def _ignore(_event: Event) -> None:
    """Do as RFC 9113 says (4.1, 5.5): frames of types that are not known are passed over."""


# ---- messages --------------------------------------------------------------------------------------------------------


def framed(message: bytes) -> bytes:
    """Put gRPC's head before a message: not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def read_message(
    stream: Stream, *, large: asyncio.Semaphore | None = None, most: int | None = None
) -> bytes | None:
    """Read one message, None when the stream ended without; one of the ``large`` when it is one. Malformed, TooLarge above ``most`` bytes."""
    most = MESSAGE_MAX if most is None else most
    head = await _read(stream, 5)
    if not head:
        return None
    if head[0]:
        raise Malformed("a compressed message, where compression was not agreed on")
    length = int.from_bytes(head[1:], "big")
    if length > most:
        raise TooLarge(f"a message of {length} bytes, where {most} are the most")
    if large is None or length <= LARGE:
        return await _read(stream, length)
    async with large:
        return await _read(stream, length)


async def _read(stream: Stream, size: int) -> bytes:
    try:
        return await stream.recv_data(size)
    except AssertionError as error:  # grpclib's way to say it
        raise Malformed("the message ended too early") from error
