"""What streams watch: one client's bounded queue, and a board's events in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from actors.boards import BoardChanged, Boards, BoardView
from actors.gateway.frames import Frame, encode_event
from actors.gateway.views import LeaderboardUpdate, leaderboard_view, row_view
from contracts.errors import Busy
from contracts.messages import Progress
from contracts.scoring import Rules

QUEUE_MAX = 64  # events that wait for one client
RING_MAX = 512  # events of one board that are kept for replay
HELD_MAX = 64  # board events that came early
PATIENCE_S = 1.0  # how long an early event waits for the one before it
SNAPSHOT_ROWS = 100
TOO_SLOW = "this client was too slow"

ReadRules = Callable[[], Awaitable[Rules]]


class Client:
    """One open stream, as the hub sees it."""

    def __init__(self) -> None:
        self.queue: deque[Frame] = deque()
        self.reset_reason: str | None = None
        self.seen = -1  # the newest number that was sent or is in the queue
        self.is_ended = False
        self._news = trio.Event()

    def push(self, frame: Frame) -> None:
        """Queue an event; a full queue becomes a reset."""
        if self.reset_reason is not None or frame.seq <= self.seen:
            return
        if len(self.queue) >= QUEUE_MAX:
            self.reset(TOO_SLOW)
            return
        self.seen = frame.seq
        self.queue.append(frame)
        self._news.set()

    def reset(self, reason: str) -> None:
        """Forget the queue; a snapshot follows."""
        self.queue.clear()
        self.reset_reason = reason
        self._news.set()

    def end(self) -> None:
        """End the stream."""
        self.is_ended = True
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is something to do."""
        if not (self.queue or self.reset_reason is not None or self.is_ended):
            self._news = trio.Event()
            await self._news.wait()


class SubmissionClient(Client):
    """Somebody who watches one submission. Its order is (attempt, seq), and a judging that starts over begins at 1 again."""

    def __init__(self) -> None:
        super().__init__()
        self.attempt = 0

    def hear(self, step: Progress, frame: Frame) -> None:
        """Take in one step of the judging and its event."""
        if step.attempt < self.attempt or self.reset_reason is not None:
            return
        if step.attempt > self.attempt:
            self.attempt, self.seen = step.attempt, -1
        elif step.seq == 1 and self.seen >= 1:
            self.reset(
                "the judging started over"
            )  # or an old message came late: a fresh picture is right in both cases
            return
        self.push(frame)
        if step.verdict is not None:
            self.end()

    def reset(self, reason: str) -> None:
        """Forget the queue and the numbers: a judging that started over counts from 1 again."""
        super().reset(reason)
        self.seen = -1

    def catch_up(self, attempt: int, seq: int) -> None:
        """Drop from the queue what a picture up to ``attempt`` and ``seq`` shows already."""
        if attempt > self.attempt:
            self.attempt, self.seen = attempt, seq
        elif attempt == self.attempt:
            self.seen = max(self.seen, seq)
        newer = [frame for frame in self.queue if (int(frame.epoch), frame.seq) > (attempt, seq)]
        self.queue = deque(newer)


class BoardTopic:
    """One view of one board: who watches, and the last events. ``epoch`` is None while nothing is known to build upon."""

    def __init__(self, contest_id: str, view: BoardView) -> None:
        self.contest_id = contest_id
        self.view = view
        self.clients: set[Client] = set()
        self.epoch: str | None = None
        self.last = 0  # version of the newest event passed on
        self.held_since = 0.0
        self._held: dict[int, BoardChanged] = {}
        self._floor = 0  # a snapshot older than this is out of date
        self._rules = Rules.ICPC
        self._ring: deque[Frame] = deque(maxlen=RING_MAX)
        self._snapshot: Frame | None = None
        self._reading = trio.Lock()

    @property
    def is_waiting_in_vain(self) -> bool:
        """Whether an early event has waited too long for the one before it."""
        is_waiting = self.epoch is not None and bool(self._held)
        return is_waiting and trio.current_time() - self.held_since >= PATIENCE_S

    def hear(self, change: BoardChanged) -> None:
        """Pass a change on, in order."""
        if change.row is None or (self.epoch is not None and change.epoch != self.epoch):
            self._floor = max(self._floor, change.version)
            if change.version > self.last:
                self.lose_track("the board was made afresh", change.version)
            elif change.epoch != self.epoch:
                # Old news of an earlier board that comes late, or a board whose numbers began anew: a look at the board tells, and everybody takes one.
                self.lose_track("the board was made afresh")
        elif self.epoch is None or change.version > self.last + 1:
            self._hold(change)
        elif change.version == self.last + 1:
            self._pass_on(change)
            while (early := self._held.pop(self.last + 1, None)) is not None:
                self._pass_on(early)

    def _hold(self, change: BoardChanged) -> None:
        if not self._held:
            self.held_since = trio.current_time()
        self._held[change.version] = change
        if len(self._held) > HELD_MAX:
            if self.epoch is None:
                del self._held[min(self._held)]
            else:
                self.lose_track("events were lost")

    def _pass_on(self, change: BoardChanged) -> None:
        assert change.row is not None
        update = LeaderboardUpdate(change.contest_id, change.version, change.total, row_view(change.row, self._rules))
        frame = encode_event("update", change.epoch, change.version, update)
        self.last = change.version
        self._ring.append(frame)
        for client in self.clients:
            client.push(frame)

    def lose_track(self, reason: str, version: int | None = None) -> None:
        """Nothing that is kept can be relied on: forget it, and reset whoever has not seen ``version`` (None: everybody)."""
        self.epoch, self.last = None, 0
        self._ring.clear()
        self._held.clear()
        self._snapshot = None
        for client in self.clients:
            if version is None or client.seen < version:
                client.reset(reason)

    def replay(self, epoch: str, seq: int) -> list[Frame] | None:
        """Return the events after ``epoch:seq``; None when they are not all here."""
        if epoch != self.epoch or seq > self.last:
            return None
        oldest = self._ring[0].seq if self._ring else self.last + 1
        if seq + 1 < oldest:
            return None
        return [frame for frame in self._ring if frame.seq > seq]

    async def snapshot(self, boards: Boards, rules: ReadRules, *, afresh: bool = False) -> Frame:
        """Return the board's first rows as an event; those who ask together share one read, unless they ask for one ``afresh``."""
        async with self._reading:
            known = self._snapshot
            if known is not None and known.epoch == self.epoch and known.seq >= self.last and not afresh:
                return known
            if self.epoch is None or afresh:
                self._rules = await rules()  # they may have changed while nobody could tell us
            page = await boards.page(self.contest_id, self.view, limit=SNAPSHOT_ROWS)
            # buggify at stream.read
            if page is None or page.version < self._floor:
                raise Busy("The board is being built; come again in a moment.", retry_after_s=1)
            if self.epoch is not None and page.epoch != self.epoch and page.version > self.last:
                self.lose_track("the board was made afresh", page.version)  # and nobody has told us
            if self.epoch is None:
                self._begin(page.epoch, page.version)
            self._snapshot = encode_event("snapshot", page.epoch, page.version, leaderboard_view(page, self._rules))
            return self._snapshot

    def _begin(self, epoch: str, version: int) -> None:
        """Build upon a snapshot: what came while it was read follows it."""
        self.epoch, self.last = epoch, version
        held, self._held = self._held, {}
        for early in sorted(held):
            if early > version and held[early].epoch == epoch:
                self.hear(held[early])
