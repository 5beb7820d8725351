"""What feeds one stream, and the body of the HTTP answer that it becomes."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

import structlog
import trio
from quart.wrappers.response import ResponseBody

from actors.boards import Boards
from actors.gateway.frames import Steps, encode_reset
from actors.gateway.topics import DOUBT_S, BoardTopic, Client, ReadRules, SubmissionClient
from contracts.errors import CodeWarzError

C = TypeVar("C", bound=Client)
HEARTBEAT_S = 15.0
HEARTBEAT = b": \n\n"
PACE_S = 1.0  # from one reset of a stream, or one look at the database, to the next: whoever publishes steps must not be able to keep a gateway busy with it

ReadSteps = Callable[[], Awaitable[Steps]]

_log = structlog.get_logger("sse")


class Source(Generic[C]):
    """What feeds one stream: a client to wait for, and the chunks that a reset or a beginning needs."""

    def __init__(self, client: C) -> None:
        self.client = client

    async def begin(self) -> bytes:
        """Start watching; return the first chunk."""
        raise NotImplementedError

    async def picture(self) -> bytes:
        """Return where things stand now, and drop from the client's queue what that shows."""
        raise NotImplementedError

    async def idle(self) -> bytes:
        """Return the heartbeat, or more when waiting in vain was a mistake."""
        return HEARTBEAT

    async def look(self) -> bytes:
        """Return what came of it, after the client heard what only the database can confirm; nothing when it is not so."""
        return b""

    def stop(self) -> None:
        """Stop watching."""
        raise NotImplementedError


class BoardSource(Source[Client]):
    """One client of one board."""

    def __init__(self, boards: Boards, topic: BoardTopic, rules: ReadRules, last_event: tuple[str, int] | None) -> None:
        super().__init__(Client())
        self._boards = boards
        self._topic = topic
        self._rules = rules
        self._last_event = last_event
        self._ahead_since: float | None = None  # when the client was found to have more than the board

    async def begin(self) -> bytes:
        """Replay what the client missed, or send a snapshot."""
        self._topic.clients.add(self.client)
        # buggify at stream.subscribed
        if self._last_event is None:
            return await self.picture()
        missed = self._topic.replay(*self._last_event)
        if missed is not None:
            self._drop(self._topic.last)
            return b"".join(frame.data for frame in missed) or HEARTBEAT
        epoch, seq = self._last_event
        frame = await self._topic.snapshot(self._boards, self._rules)
        if frame.epoch != epoch and frame.seq <= seq:
            # Another board, and an older one: it was made afresh and this gateway has not heard of it, or nobody ever sent that event. Redis knows.
            frame = await self._topic.snapshot(self._boards, self._rules, afresh=True)
        if frame.epoch == epoch and frame.seq <= seq:
            # It comes from a gateway that had heard more than this one: what it has is newer than any picture from here.
            self._drop(seq)
            return HEARTBEAT
        self._drop(frame.seq)
        return encode_reset("the events since then are gone") + frame.data

    async def picture(self) -> bytes:
        """Return a snapshot."""
        frame = await self._topic.snapshot(self._boards, self._rules)
        self._drop(frame.seq)
        return frame.data

    async def idle(self) -> bytes:
        """Return the heartbeat, or a picture for whoever has had an event that the board has not, for longer than a loss of Redis can explain."""
        if self._topic.epoch is None or self.client.seen <= self._topic.last:
            self._ahead_since = None
            return HEARTBEAT
        if self._ahead_since is None:
            self._ahead_since = trio.current_time()
        if trio.current_time() - self._ahead_since < DOUBT_S:
            return HEARTBEAT
        self._ahead_since, self.client.seen = None, -1
        return encode_reset("an event was heard that never was") + await self.picture()

    def _drop(self, seq: int) -> None:
        """Forget what waits for the client up to ``seq``: it has that."""
        client = self.client
        client.seen = max(client.seen, seq)
        while client.queue and client.queue[0].seq <= seq:
            client.queue.popleft()

    def stop(self) -> None:
        """Stop watching."""
        self._topic.clients.discard(self.client)


class SubmissionSource(Source[SubmissionClient]):
    """One client of one submission."""

    def __init__(
        self, registry: dict[str, set[SubmissionClient]], submission_id: str, read: ReadSteps, *, is_return: bool
    ) -> None:
        super().__init__(SubmissionClient())
        self._registry = registry
        self._submission_id = submission_id
        self._read = read
        self._is_return = is_return

    async def begin(self) -> bytes:
        """Send what happened so far; a browser that comes back is told to forget what it had, because a judging may have started over."""
        self._registry.setdefault(self._submission_id, set()).add(self.client)
        picture = await self.picture()
        return encode_reset("what happened so far follows") + picture if self._is_return else picture

    async def picture(self) -> bytes:
        """Return every step so far."""
        steps = await self._read()
        self.client.catch_up(steps.attempt, steps.seq)
        if steps.is_judged:
            self.client.end()
        return b"".join(frame.data for frame in steps.frames)

    async def idle(self) -> bytes:
        """Look whether the verdict is there without anybody having told us: its message may have been lost."""
        steps, client = await self._read(), self.client
        if steps.is_judged:
            return encode_reset("the verdict was missed") + await self.picture()
        if steps.attempt != client.attempt or 0 < steps.seq < client.seen:
            return encode_reset("an event was heard that never was") + await self.picture()
        return HEARTBEAT

    async def look(self) -> bytes:
        """Return the verdict if there is one."""
        steps, client = await self._read(), self.client
        if not steps.is_judged:
            return b""
        if steps.attempt != client.attempt:
            return encode_reset("the judging started over") + await self.picture()
        client.end()
        return steps.frames[-1].data

    def stop(self) -> None:
        """Stop watching."""
        watchers = self._registry.get(self._submission_id)
        if watchers is not None:
            watchers.discard(self.client)
            if not watchers:
                del self._registry[self._submission_id]


class EventBody(ResponseBody, Generic[C]):
    """The body of one stream: begins when the server starts to send it, ends when the client goes, the source ends or ``age_s`` is over."""

    def __init__(
        self,
        source: Source[C],
        release: Callable[[], None],
        on_reset: Callable[[str], None],
        *,
        age_s: float,
        retry_ms: int,
    ) -> None:
        self._source = source
        self._has_begun = False
        # A request that is cancelled between admission and the first byte never enters the block.
        self._release = weakref.finalize(self, release)
        self._on_reset = on_reset
        self._ends_at = trio.current_time() + age_s
        self._retry_ms = retry_ms
        self._allowed_at: dict[str, float] = {}

    async def __aenter__(self) -> EventBody[C]:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._source.stop()
        self._release()

    def __aiter__(self) -> EventBody[C]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except CodeWarzError as error:
            _log.warning("stream_ended", error=error.detail)
            raise StopAsyncIteration from error  # the browser comes back after ``retry``

    async def _pace(self, what: str) -> None:
        """Wait until it may be done again."""
        allowed_at = self._allowed_at.get(what, 0.0)
        if trio.current_time() < allowed_at:
            await trio.sleep_until(allowed_at)
        self._allowed_at[what] = trio.current_time() + PACE_S

    async def _next(self) -> bytes:
        client = self._source.client
        if not self._has_begun:
            self._has_begun = True
            return b"retry: %d\n\n" % self._retry_ms + await self._source.begin()
        while True:
            if client.reset_reason is not None:
                await self._pace("reset")
                reason, client.reset_reason = client.reset_reason, None
                self._on_reset(reason)
                return encode_reset(reason) + await self._source.picture()
            if client.queue:
                chunk = b"".join(frame.data for frame in client.queue)
                client.queue.clear()
                return chunk
            if client.is_to_look:
                await self._pace("look")
                client.is_to_look = False
                if chunk := await self._source.look():
                    return chunk
                continue
            left_s = self._ends_at - trio.current_time()
            if client.is_ended or left_s <= 0:
                raise StopAsyncIteration
            with trio.move_on_after(min(HEARTBEAT_S, left_s)) as scope:
                await client.wait()
            if scope.cancelled_caught:
                return await self._source.idle()
