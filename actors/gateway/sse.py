"""Server-sent events: one hub hears of every change and tells every browser that watches.

Rule 1: an event is encoded once, whoever watches; each client has a bounded queue, and a client that does not keep up loses its queue and gets
        ``reset`` and a fresh snapshot instead. Nobody waits for anybody.
Rule 2: subscribe first, then read the snapshot, then drop what the snapshot had: no gap. Versions that one client sees only rise.
Rule 3: board events are passed on in the order of their versions. Publishing is not atomic with the change, so a version may come early (it waits a
        moment for the one before) or never (then everybody on that board is reset).
Rule 4: whenever events may have been missed (the hub's actor started, or its subscription was renewed) everybody is reset.
Rule 5: whoever may publish to Redis may say anything. What is heard is shown at once and held against Redis (a board) or the database (which attempt, which
        verdict): what never was is gone after ``topics.DOUBT_S``, and no number that was made up keeps what is true from being shown for longer.
Rule 6: a stream ends after a while, and when the gateway drains; browsers come back by themselves. What everybody may see lasts ``MAX_AGE_S``; what took
        credentials to see lasts as long as an access token, so that nobody watches on for long after they lost the right to.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog
import trio

from actors.boards import BOARD_CHANNEL, BoardChanged, BoardPage, Boards, BoardView, UnreadableBoard
from actors.gateway.frames import parse_event_id
from actors.gateway.identity import ACCESS_TTL_S
from actors.gateway.progress_events import encode_step
from actors.gateway.sources import BoardSource, EventBody, ReadSteps, Source, SubmissionSource
from actors.gateway.topics import DOUBT_S, TOO_SLOW, BoardTopic, Client, ReadRules, SubmissionClient
from actors.patience import again_and_again
from actors.progress import PROGRESS_PREFIX
from contracts.errors import Busy, TooMany
from contracts.messages import Progress
from contracts.ports import Meter, Redis, Subscription, WallClock
from contracts.reading import Unreadable, reader
from supervisor.context import Context

C = TypeVar("C", bound=Client)
TOPICS_MAX = 256  # boards that are kept without anybody watching
MAX_AGE_S = 30 * 60
CREDENTIALS_AGE_S = ACCESS_TTL_S
RETRY_MS = (1000, 4000)
TICK_S = 0.5
CHECK_S = 5.0  # how often watched boards are compared with the truth, in case the last message was lost
PAYLOAD_MAX = 256 * 1024  # bytes of one message: a row with a hundred cells has some ten thousand
LIVE_TIMEOUT_S = 5.0

_log = structlog.get_logger("gateway")
_read_change = reader(msgspec.json.Decoder(BoardChanged))
_read_step = reader(msgspec.json.Decoder(Progress))


class StreamLimits(msgspec.Struct, frozen=True):
    """How many streams may be open at once."""

    total: int = 7_500
    per_address: int = 6_000
    per_user: int = 20

    @classmethod
    def within(cls, places: int) -> StreamLimits:
        """Return the limits for a server of so many connections: a stream holds its place for long, so a quarter is left for everything else."""
        return cls(total=max(1, places * 3 // 4), per_address=max(1, places * 3 // 5))


@dataclass(frozen=True)
class Slot:
    """The right to one open stream."""

    address: str
    user_id: str | None


class Hub:
    """Every open stream of this gateway, and what they watch. Lives as long as the gateway; its actor (``run``) may come and go."""

    def __init__(
        self, redis: Redis, clock: WallClock, rng: random.Random, meter: Meter, limits: StreamLimits | None = None
    ) -> None:
        self._redis = redis
        self._boards = Boards(redis, clock)
        self._rng = rng
        self._meter = meter
        self._limits = limits or StreamLimits()
        self._topics: OrderedDict[tuple[str, BoardView], BoardTopic] = OrderedDict()
        self._submissions: dict[str, set[SubmissionClient]] = {}
        self._slots: Counter[str] = Counter()
        self._live = trio.Event()
        self._is_draining = False
        self._told_of: set[str] = set()
        self.streams = 0

    # ---- the actor ---------------------------------------------------------------------------------------------------

    async def run(self, ctx: Context[Any]) -> None:
        """Hear of changes until told to drain. When the subscription is lost it is renewed, and everybody reset."""
        self._is_draining = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tick, name="sse tick")
            nursery.start_soon(again_and_again, ctx, lambda: self._hear(ctx), "sse_hub", name="sse listen")
            await ctx.draining.wait()
            self.drain()
            nursery.cancel_scope.cancel()

    async def _hear(self, ctx: Context[Any]) -> None:
        """Hear of changes until the subscription is lost."""
        async with self._redis.subscribe(BOARD_CHANNEL, f"{PROGRESS_PREFIX}*") as subscription:
            self.reset_everybody("the connection to the events was renewed")
            self._live.set()
            ctx.ready()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._check_boards, name="sse check")
                    await self._listen(subscription)
            finally:
                self._live = trio.Event()

    async def _listen(self, subscription: Subscription) -> None:
        async for channel, payload in subscription:
            self.hear(channel, payload)

    def hear(self, channel: str, payload: bytes) -> None:
        """Take in one message. One that is none of ours is passed over: whoever may publish to Redis must not be able to end gateways."""
        stream, take = (
            ("board", self._hear_of_board) if channel == BOARD_CHANNEL else ("submission", self._hear_of_step)
        )
        try:
            if len(payload) > PAYLOAD_MAX:
                raise Unreadable(f"{len(payload)} bytes in one message")
            take(channel, payload)
        except (Unreadable, OverflowError) as error:  # the latter of points that are no number a float can be
            self._meter.count("sse_unreadable", stream=stream)
            if stream not in self._told_of:  # once: there may be as many as somebody likes
                self._told_of.add(stream)
                _log.error("unreadable_event", channel=channel, error=str(error))

    def _hear_of_board(self, _channel: str, payload: bytes) -> None:
        change = _read_change(payload)
        topic = self._topics.get((change.contest_id, change.view))
        if topic is not None:
            self._meter.count("sse_events", stream="board")
            topic.hear(change)

    def _hear_of_step(self, channel: str, payload: bytes) -> None:
        watchers = self._submissions.get(channel.removeprefix(PROGRESS_PREFIX))
        if watchers:
            step = _read_step(payload)
            frame = encode_step(step)
            self._meter.count("sse_events", stream="submission")
            for client in tuple(watchers):
                client.hear(step, frame)

    def reset_everybody(self, reason: str) -> None:
        """Events may have been missed: start every stream again from a snapshot."""
        for topic in self._topics.values():
            topic.lose_track(reason)
        for watchers in self._submissions.values():
            for client in watchers:
                client.reset(reason)

    def drain(self) -> None:
        """End every stream and let no new one in."""
        self._is_draining = True
        for topic in self._topics.values():
            for client in topic.clients:
                client.end()
        for watchers in self._submissions.values():
            for client in watchers:
                client.end()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            boards = sum(len(topic.clients) for topic in self._topics.values())
            self._meter.gauge("sse_clients", boards, stream="board")
            self._meter.gauge("sse_clients", self.streams - boards, stream="submission")
            for topic in self._topics.values():
                if topic.is_waiting_in_vain:
                    topic.lose_track("events were lost")

    async def _check_boards(self) -> None:
        """Compare watched boards with Redis: when the newest message was lost, no later one would show it.

        A topic that has lost track, and of whose clients nobody asks for a snapshot, is behind as well: nothing else would bring it back. One that is ahead has
        heard what never was, unless Redis has lost it: so it is given time.
        """
        behind: dict[tuple[str, BoardView], int] = {}
        ahead: dict[tuple[str, BoardView], float] = {}
        while True:
            await trio.sleep(CHECK_S)
            for key, topic in tuple(self._topics.items()):
                if not topic.clients:
                    continue
                page = await self._look(topic)
                if page is None or page.version >= topic.last:
                    ahead.pop(key, None)
                elif trio.current_time() - ahead.setdefault(key, trio.current_time()) >= DOUBT_S:
                    ahead.pop(key)
                    topic.lose_track("an event was heard that never was")
                if page is None or page.version <= topic.last:
                    behind.pop(key, None)
                elif behind.get(key) == topic.last:
                    topic.lose_track("events were lost")  # behind for two rounds without moving
                else:
                    behind[key] = topic.last

    async def _look(self, topic: BoardTopic) -> BoardPage | None:
        """Return the top of a board. One whose keys somebody has spoiled is as good as none: whoever asks for it has it made again, and the others watch on."""
        try:
            return await self._boards.page(topic.contest_id, topic.view, limit=1)
        except UnreadableBoard as error:
            if topic.contest_id not in self._told_of:
                self._told_of.add(topic.contest_id)
                _log.error("board_unreadable", contest=topic.contest_id, error=error.detail)
            return None

    # ---- streams -----------------------------------------------------------------------------------------------------

    async def admit(self, address: str, user_id: str | None) -> Slot:
        """Return the right to one stream; raises TooMany above a cap and Busy while events cannot be heard."""
        if self._is_draining:
            raise Busy("The server is about to restart.", retry_after_s=2)
        with trio.move_on_after(LIVE_TIMEOUT_S):
            await self._live.wait()
        if not self._live.is_set():
            raise Busy("Live updates are away for the moment.", retry_after_s=2)
        if (
            self.streams >= self._limits.total
            or self._slots[f"address {address}"] >= self._limits.per_address
            or (user_id is not None and self._slots[f"user {user_id}"] >= self._limits.per_user)
        ):
            raise TooMany("Too many live streams are open; close one.", retry_after_s=10)
        self._slots[f"address {address}"] += 1
        self._slots[f"user {user_id}"] += user_id is not None
        self.streams += 1
        return Slot(address, user_id)

    def release(self, slot: Slot) -> None:
        """Give the right back."""
        self.streams -= 1
        self._lower(f"address {slot.address}")
        if slot.user_id is not None:
            self._lower(f"user {slot.user_id}")

    def _lower(self, key: str) -> None:
        self._slots[key] -= 1
        if self._slots[key] <= 0:
            del self._slots[key]

    def board_stream(
        self,
        slot: Slot,
        contest_id: str,
        view: BoardView,
        rules: ReadRules,
        last_event_id: str | None,
        *,
        is_public: bool = True,
    ) -> EventBody[Client]:
        """Return the body of a stream of one board's changes; ``is_public`` when everybody may see them."""
        key = (contest_id, view)
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = BoardTopic(contest_id, view)
            self._forget_topics()
        self._topics.move_to_end(key)
        last_event = parse_event_id(last_event_id) if last_event_id else None
        age_s = MAX_AGE_S if is_public else CREDENTIALS_AGE_S
        return self._body(slot, BoardSource(self._boards, topic, rules, last_event), "board", age_s)

    def submission_stream(
        self, slot: Slot, submission_id: str, read: ReadSteps, last_event_id: str | None
    ) -> EventBody[SubmissionClient]:
        """Return the body of a stream of one submission's judging."""
        is_return = last_event_id is not None
        source = SubmissionSource(self._submissions, submission_id, read, is_return=is_return)
        return self._body(slot, source, "submission", CREDENTIALS_AGE_S)

    def _body(self, slot: Slot, source: Source[C], stream: str, age_s: float) -> EventBody[C]:
        def on_reset(reason: str) -> None:
            if reason == TOO_SLOW:
                self._meter.count("sse_dropped", stream=stream)

        # Jittered, so that browsers that came together neither leave nor come back together.
        age_s *= self._rng.uniform(0.8, 1.2)
        retry_ms = self._rng.randint(*RETRY_MS)
        return EventBody(source, lambda: self.release(slot), on_reset, age_s=age_s, retry_ms=retry_ms)

    def _forget_topics(self) -> None:
        for key in tuple(self._topics)[:-1]:
            if len(self._topics) <= TOPICS_MAX:
                return
            if not self._topics[key].clients:
                del self._topics[key]
