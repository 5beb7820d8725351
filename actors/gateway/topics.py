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
DOUBT_S = 60.0  # how long we believe what was heard against what Redis says: it may have lost its last second, which the sweeper finds sooner than this
SNAPSHOT_ROWS = 100
TOO_SLOW = "this client was too slow"

ReadRules = Callable[[], Awaitable[Rules]]


class Client:
    """One open stream, as the hub sees it."""

    def __init__(self) -> None:
        self.queue: deque[Frame] = deque()
        self.reset_reason: str | None = None
        self.seen = -1  # the newest number that was sent or is in the queue
        self.is_to_look = False  # something was heard that only the database can confirm
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
        """Forget the queue, and the numbers, which may have been anybody's; a snapshot follows."""
        self.queue.clear()
        self.reset_reason = reason
        self.seen = -1
        self._news.set()

    def look(self) -> None:
        """Have the source look whether it is so."""
        self.is_to_look = True
        self._news.set()

    def end(self) -> None:
        """End the stream."""
        self.is_ended = True
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is something to do."""
        if not (self.queue or self.reset_reason is not None or self.is_to_look or self.is_ended):
            self._news = trio.Event()
            await self._news.wait()


class SubmissionClient(Client):
    """Somebody who watches one submission. Its order is (attempt, seq), and a judging that starts over begins at 1 again.

    Which attempt is the current one, and what its verdict is, only the database says: whoever may publish to Redis may say anything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attempt = 0  # 0 until the first picture

    def hear(self, step: Progress, frame: Frame) -> None:
        """Take in one step of the judging and its event."""
        if step.attempt < self.attempt or self.reset_reason is not None:
            return
        if step.verdict is not None:
            self.look()
        elif self.attempt and (step.attempt > self.attempt or (step.seq == 1 and self.seen >= 1)):
            # Or an old message came late, or a forged one: a fresh picture is right in all cases.
            self.reset("the judging started over")
        else:
            self.push(frame)

    def catch_up(self, attempt: int, seq: int) -> None:
        """Drop from the queue what a picture up to ``attempt`` and ``seq`` shows already; what is of a later attempt wants another picture."""
        heard = tuple(self.queue)
        newer = [frame for frame in heard if int(frame.epoch) == attempt and frame.seq > seq]
        self.attempt, self.queue = attempt, deque(newer)
        self.seen = max((frame.seq for frame in newer), default=seq)
        if any(int(frame.epoch) > attempt for frame in heard):
            self.reset("the judging started over")


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
        self._floor_since = 0.0
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
            if change.version > self._floor:
                self._floor, self._floor_since = change.version, trio.current_time()
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
        elif any(frame.seq == change.version and frame.data != self._frame(change).data for frame in self._ring):
            self.lose_track("two events contradict each other")  # one of them is forged, and Redis knows which

    def _hold(self, change: BoardChanged) -> None:
        if self._held.get(change.version, change) != change:
            self.lose_track("two events contradict each other")
            return
        if not self._held:
            self.held_since = trio.current_time()
        self._held[change.version] = change
        if len(self._held) > HELD_MAX:
            if self.epoch is None:
                del self._held[min(self._held)]
            else:
                self.lose_track("events were lost")

    def _frame(self, change: BoardChanged) -> Frame:
        assert change.row is not None
        update = LeaderboardUpdate(change.contest_id, change.version, change.total, row_view(change.row, self._rules))
        return encode_event("update", change.epoch, change.version, update)

    def _pass_on(self, change: BoardChanged) -> None:
        frame = self._frame(change)
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
            if page is None or not self._is_up_to_date(page.version):
                raise Busy("The board is being built; come again in a moment.", retry_after_s=1)
            if self.epoch is not None and page.epoch != self.epoch and page.version > self.last:
                self.lose_track("the board was made afresh", page.version)  # and nobody has told us
            if self.epoch is None:
                self._begin(page.epoch, page.version)
            self._snapshot = encode_event("snapshot", page.epoch, page.version, leaderboard_view(page, self._rules))
            return self._snapshot

    def _is_up_to_date(self, version: int) -> bool:
        """Return whether a board is as new as the newest that was heard of. What Redis does not know of for so long, nobody of ours has said."""
        if version < self._floor and trio.current_time() - self._floor_since >= DOUBT_S:
            self._floor = version
        return version >= self._floor

    def _begin(self, epoch: str, version: int) -> None:
        """Build upon a snapshot: what came while it was read follows it."""
        self.epoch, self.last = epoch, version
        held, self._held = self._held, {}
        for early in sorted(held):
            if early > version and held[early].epoch == epoch:
                self.hear(held[early])
