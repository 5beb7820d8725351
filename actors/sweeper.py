"""The sweeper: what the fast ways lost, it finds again. Everything here is idempotent, so sweeping too much does no harm.

- A submission without a verdict, which the outbox has not and no judge has a lease for, while nothing waits in the queue or later ones have overtaken it, has
  lost its message: it is published again.
- One that was handed to judges STARTS_MOST times has killed them all: it gets a judge error.
- A board that differs from the fold of the verdict log, twice in a row and not for what the outbox has yet to tell, is rebuilt.
- What has served its time (sent outbox rows, used-up refresh tokens, old idempotency keys) is deleted, in batches.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from actors.boards import Boards, BoardView, UnreadableBoard
from actors.core.desk import Desk
from actors.judge.intake import judge_error
from actors.judge.lease import are_held
from actors.outbox import SUBMISSION_QUEUE
from actors.projector import Log, read_event
from contracts.errors import CodeWarzError
from contracts.messages import BoardInvalidated, BuildBoard, Judged, JudgeRequested, Priority, Topic
from contracts.ports import Broker, Database, Meter, Redis, Row, Rpc, WallClock
from contracts.reading import Unreadable
from supervisor.context import Context

PERIOD_S = 5.0
STALE_MS = 30_000  # a message that waits longer in an empty queue is not there
BOARDS_EVERY = 6  # periods
CLEAN_EVERY = 60
BATCH_MOST = 500
PRIORITIES = (Priority.CONTEST, Priority.PRACTICE, Priority.REJUDGE)  # a submission's
STARTS_MOST = 8
KEEP_SENT_MS = 3_600_000
KEEP_KEYS_MS = 24 * 3_600_000
CORE_TIMEOUT_S = 10.0

_COLUMNS = "id, attempt, priority, fencing, queued_at_ms, correlation_id"
_HAS_NO_TOKENS = "created_at_ms < $1 AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = sessions.id)"

Difference = tuple[str, str, str]
"""Contest, view and contestant (or "version" and the one that the board was built for)."""

_log = structlog.get_logger("sweeper")


@dataclass
class Sweeper:
    """Looks every PERIOD_S seconds; a neighbour that is away is looked at the next time."""

    database: Database
    broker: Broker
    redis: Redis
    rpc: Rpc
    boards: Boards
    log: Log
    clock: WallClock
    rng: random.Random
    meter: Meter
    _has_begun: bool = False  # of this process: an actor that is restarted finds the queue as it was
    _suspects: frozenset[Difference] = frozenset()

    async def run(self, ctx: Context[None]) -> None:
        """Sweep until cancelled. A broker that forgets makes the first sweep take everything that had been queued before the start."""
        ctx.ready()
        period = 0
        while True:
            await self._attempt("submissions", self._sweep_waiting)
            if period % BOARDS_EVERY == BOARDS_EVERY - 1:
                await self._attempt("boards", self.sweep_boards)
            if period % CLEAN_EVERY == 0:
                await self._attempt("clean", self.clean)
            period += 1
            await trio.sleep(PERIOD_S)

    async def _attempt(self, what: str, sweep: Callable[[], Awaitable[object]]) -> None:
        """Do one part; what fails in it does not keep the others from being done."""
        try:
            await sweep()
        except CodeWarzError as error:
            _log.warning("sweep_interrupted", what=what, error=error.detail)

    async def _sweep_waiting(self) -> None:
        if self._has_begun or self.broker.is_durable:
            await self.sweep_submissions()
        else:
            await self.sweep_everything()
            self._has_begun = True

    async def sweep_everything(self) -> int:
        """Publish again whatever is with nobody, however short it has waited; return how many that were."""
        return await self._sweep(self.clock.now_ms(), may_queue=False)

    async def sweep_submissions(self) -> int:
        """Publish again what has waited longer than STALE_MS and is with nobody; return how many that were."""
        return await self._sweep(self.clock.now_ms() - STALE_MS, may_queue=True)

    async def _sweep(self, before_ms: int, *, may_queue: bool) -> int:
        """Look at all without a verdict that were queued up to ``before_ms``: page by page, or what judges have would hide what is lost.

        Whether anything waits in the queue is asked after the outbox was: what the outbox gave to the broker before then counts as waiting there.
        """
        limits_ms = dict.fromkeys(PRIORITIES, before_ms)
        published, after = 0, (0, "")
        while rows := await self._page(limits_ms, after):
            after = (rows[-1]["queued_at_ms"], rows[-1]["id"])
            rows = await self._sent(rows)
            if rows and may_queue and (await self.broker.depth(SUBMISSION_QUEUE.name)).ready > 0:
                may_queue = False
                overtaken_ms = await self._overtaken()
                limits_ms = {each: min(before_ms, overtaken_ms[each]) for each in PRIORITIES}
                rows = [row for row in rows if row["queued_at_ms"] <= limits_ms[row["priority"]]]
            published += await self._find_lost(rows)
        return published

    async def _page(self, limits_ms: Mapping[int, int], after: tuple[int, str]) -> list[Row]:
        """Read the next BATCH_MOST, oldest first."""
        queued = " OR ".join(
            f"priority = {priority} AND queued_at_ms <= ${number}" for number, priority in enumerate(PRIORITIES, 5)
        )
        return await self.database.fetch(
            f"SELECT {_COLUMNS} FROM submissions WHERE verdict IS NULL AND queued_at_ms <= $1 AND (queued_at_ms, id) > ($2, $3) AND ({queued})"  # noqa: S608 - constants
            " ORDER BY queued_at_ms, id LIMIT $4",
            max(limits_ms.values()),
            *after,
            BATCH_MOST,
            *(limits_ms[priority] for priority in PRIORITIES),
        )

    async def _sent(self, rows: list[Row]) -> list[Row]:
        """Return those that the outbox has no more: what it still has is not lost, and would be there once more with every sweep.

        A statement of its own: joined, PostgreSQL would compare each with each when its statistics are from before a rush.
        """
        ids = [row["id"] for row in rows] + [None] * (BATCH_MOST - len(rows))  # the same text each time
        asked = await self.database.fetch(
            f"SELECT submission_id FROM outbox_messages WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL AND submission_id IN ({_numbers(len(ids))})",  # noqa: S608 - constants
            *ids,
        )
        unsent = {row["submission_id"] for row in asked}
        return [row for row in rows if row["id"] not in unsent]

    async def _overtaken(self) -> dict[int, int]:
        """Return, by priority, up to when something must have been queued to be with judges by now: in a long rush the queue is never empty, and still nothing
        may be lost. What judges have now, the queue has handed out after it.
        """
        begun = await self._leased(
            await self.database.fetch(
                f"SELECT {_COLUMNS} FROM submissions WHERE verdict IS NULL AND fencing > 0 ORDER BY queued_at_ms DESC LIMIT $1",  # noqa: S608 - constants
                BATCH_MOST,
            )
        )
        return {
            priority: max((each["queued_at_ms"] for each in begun if each["priority"] <= priority), default=0)
            - STALE_MS
            - 1
            for priority in PRIORITIES
        }

    async def _leased(self, rows: list[Row]) -> list[Row]:
        """Return those that a judge has."""
        if not rows:
            return []
        leases = await are_held(self.redis, [(row["id"], row["attempt"]) for row in rows])
        return [row for row, is_leased in zip(rows, leases, strict=True) if is_leased]

    async def _find_lost(self, rows: list[Row]) -> int:
        """Publish again those that no judge has; one that has been with too many gets its judge error."""
        leased = {row["id"] for row in await self._leased(rows)}
        lost = [row for row in rows if row["id"] not in leased]
        poisonous = [row for row in lost if row["fencing"] >= STARTS_MOST]
        for row in poisonous:
            _log.error("submission_poisonous", submission=row["id"], starts=row["fencing"])
            request = JudgeRequested(submission_id=row["id"], attempt=row["attempt"])
            verdict = judge_error(request, row["fencing"], "sweeper", f"{row['fencing']} judges died of it")
            await self._attempt(row["id"], partial(self.rpc.call, "core", verdict, timeout=CORE_TIMEOUT_S))
        # buggify at sweeper.found
        return await self._publish_again([row for row in lost if row["fencing"] < STARTS_MOST])

    async def _publish_again(self, rows: list[Row]) -> int:
        if not rows:
            return 0
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as tx:
            desk = Desk(tx, now_ms, self.rng)
            for row in rows:
                waiting = await tx.execute(
                    "UPDATE submissions SET queued_at_ms = $1 WHERE id = $2 AND attempt = $3 AND verdict IS NULL AND queued_at_ms = $4",
                    now_ms,
                    row["id"],
                    row["attempt"],
                    row["queued_at_ms"],  # changed when another core's sweeper was here first
                )
                if waiting:
                    asked = JudgeRequested(submission_id=row["id"], attempt=row["attempt"])
                    await desk.request_judging([(asked, row["priority"], row["correlation_id"])])
        _log.warning("published_again", submissions=len(rows))
        self.meter.count("submissions_published_again", len(rows))
        return len(rows)

    async def sweep_boards(self) -> list[str]:
        """Rebuild the boards of current contests that differ now where they differed the last time.

        Somebody whose change is on its way differs for a moment only; in a busy contest there is always somebody, so it must be the same one.
        """
        now_ms = self.clock.now_ms()
        rows = await self.database.fetch(
            "SELECT id FROM contests WHERE starts_at_ms <= $1 AND ends_at_ms >= $2", now_ms, now_ms - KEEP_KEYS_MS
        )
        differing: set[Difference] = set()
        unreadable: set[str] = set()
        for row in rows:
            try:
                differing |= await self._differences(row["id"])
            except UnreadableBoard as error:  # that is nobody's change on its way
                _log.error("board_unreadable", contest=row["id"], error=error.detail)
                unreadable.add(row["id"])
        if differing:
            differing -= await self._untold(differing)
        rebuilt = sorted({contest_id for contest_id, *_ in differing & self._suspects} | unreadable)
        for contest_id in rebuilt:
            _log.error("board_differs", contest=contest_id)
            self.meter.count("boards_repaired")
            await self.rpc.call("leaderboard", BuildBoard(contest_id=contest_id, afresh=True), timeout=CORE_TIMEOUT_S)
        self._suspects = frozenset(each for each in differing if each[0] not in rebuilt)
        return rebuilt

    async def _untold(self, differing: set[Difference]) -> set[Difference]:
        """Return those of which the outbox has yet to tell the boards, as while RabbitMQ takes nothing; all, where there is more than can be looked through."""
        rows = await self.database.fetch(
            "SELECT body FROM outbox_messages WHERE topic = $1 AND sent_at_ms IS NULL AND parked_at_ms IS NULL LIMIT $2",
            Topic.VERDICT,
            BATCH_MOST,
        )
        if len(rows) == BATCH_MOST:
            return differing
        contests, people = set[str](), set[tuple[str, str]]()
        for row in rows:
            with suppress(Unreadable):
                event = read_event(row["body"])
                if isinstance(event, BoardInvalidated):
                    contests.add(event.contest_id)
                elif not isinstance(event, Judged):
                    people.add((event.contest_id, event.user_id))
                elif event.change is not None:
                    people.add((event.change.contest_id, event.change.user_id))
        return {each for each in differing if each[0] in contests or (each[0], each[2]) in people}

    async def _differences(self, contest_id: str) -> set[Difference]:
        contest = await self.log.contest(contest_id)
        built_for = await self.boards.contest_version(contest_id)
        if contest is None or built_for is None:
            return set()  # nobody has looked at it yet
        names, entries = await self.log.names(contest_id), await self.log.entries(contest_id)
        found = {
            (contest_id, str(view), user)
            for view in BoardView
            for user in await self.boards.differences(contest, view, names, entries)
        }
        return found if built_for == contest.version else {*found, (contest_id, "version", str(built_for))}

    async def clean(self) -> None:
        """Delete all that has served its time, a batch per commit."""
        now_ms = self.clock.now_ms()
        for table, key, condition, before_ms in (
            ("outbox_messages", "id", "sent_at_ms < $1", now_ms - KEEP_SENT_MS),
            ("refresh_tokens", "token_hash", "expires_at_ms < $1", now_ms),
            ("sessions", "id", _HAS_NO_TOKENS, now_ms - KEEP_KEYS_MS),
            ("idempotency_keys", "(user_id, route, key)", "created_at_ms < $1", now_ms - KEEP_KEYS_MS),
        ):
            columns = key.strip("()")
            delete = f"DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} WHERE {condition} LIMIT {BATCH_MOST})"  # noqa: S608 - constants
            while await self.database.execute(delete, before_ms) == BATCH_MOST:
                await trio.lowlevel.checkpoint()


def _numbers(many: int) -> str:
    return ", ".join(f"${number}" for number in range(1, many + 1))
