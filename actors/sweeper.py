"""The sweeper: what the fast ways lost, it finds again. Everything here is idempotent, so sweeping too much does no harm.

- A submission without a verdict, without a lease and with nothing waiting in the queue has lost its message: it is published again.
- One that was handed to judges STARTS_MOST times has killed them all: it gets a judge error.
- A board that differs from the fold of the verdict log, twice in a row, is rebuilt.
- What has served its time (sent outbox rows, used-up refresh tokens, old idempotency keys) is deleted, in batches.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import structlog
import trio

from actors.boards import Boards, BoardView
from actors.core.desk import Desk
from actors.judge.intake import judge_error
from actors.judge.lease import lease_key
from actors.outbox import SUBMISSION_QUEUE
from actors.projector import Log
from contracts.errors import CodeWarzError
from contracts.messages import BuildBoard, JudgeRequested
from contracts.ports import Broker, Database, Meter, Redis, Row, Rpc, WallClock
from supervisor.context import Context

PERIOD_S = 5.0
STALE_MS = 30_000  # a message that waits longer in an empty queue is not there
BOARDS_EVERY = 6  # periods
CLEAN_EVERY = 60
BATCH_MOST = 500
STARTS_MOST = 8
KEEP_SENT_MS = 3_600_000
KEEP_KEYS_MS = 24 * 3_600_000
CORE_TIMEOUT_S = 10.0

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
    _suspects: set[str] = field(default_factory=set)

    async def run(self, ctx: Context[None]) -> None:
        """Sweep until cancelled. A broker that forgets makes the first sweep take everything that had been queued before the start."""
        is_forgetful = not self.broker.is_durable
        ctx.ready()
        period = 0
        while True:
            try:
                await self.sweep_submissions(all_of_them=is_forgetful)
                is_forgetful = False
                if period % BOARDS_EVERY == BOARDS_EVERY - 1:
                    await self.sweep_boards()
                if period % CLEAN_EVERY == 0:
                    await self.clean()
            except CodeWarzError as error:
                _log.warning("sweep_interrupted", error=error.detail)
            period += 1
            await trio.sleep(PERIOD_S)

    async def sweep_submissions(self, *, all_of_them: bool = False) -> int:
        """Publish again what has waited longer than STALE_MS and is with nobody (``all_of_them``: however short); return how many that were."""
        rows = await self.database.fetch(
            "SELECT id, attempt, priority, fencing, correlation_id FROM submissions WHERE verdict IS NULL AND queued_at_ms <= $1"
            " ORDER BY queued_at_ms LIMIT $2",
            self.clock.now_ms() - (0 if all_of_them else STALE_MS),
            BATCH_MOST,
        )
        if not rows:
            return 0
        if not all_of_them and (await self.broker.depth(SUBMISSION_QUEUE.name)).ready > 0:
            return 0  # what waits in the queue is not lost, and the rest keeps
        leases = await self.redis.pipeline([["EXISTS", lease_key(row["id"], row["attempt"])] for row in rows])
        lost = [row for row, is_leased in zip(rows, leases, strict=True) if not is_leased]
        poisonous = [row for row in lost if row["fencing"] >= STARTS_MOST]
        for row in poisonous:
            _log.error("submission_poisonous", submission=row["id"], starts=row["fencing"])
            request = JudgeRequested(submission_id=row["id"], attempt=row["attempt"])
            verdict = judge_error(request, row["fencing"], "sweeper", f"{row['fencing']} judges died of it")
            await self.rpc.call("core", verdict, timeout=CORE_TIMEOUT_S)
        return await self._publish_again([row for row in lost if row["fencing"] < STARTS_MOST])

    async def _publish_again(self, rows: list[Row]) -> int:
        if not rows:
            return 0
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as tx:
            desk = Desk(tx, now_ms, self.rng)
            for row in rows:
                waiting = await tx.execute(
                    "UPDATE submissions SET queued_at_ms = $1 WHERE id = $2 AND attempt = $3 AND verdict IS NULL",
                    now_ms,
                    row["id"],
                    row["attempt"],
                )
                if waiting:
                    asked = JudgeRequested(submission_id=row["id"], attempt=row["attempt"])
                    await desk.request_judging([(asked, row["priority"], row["correlation_id"])])
        _log.warning("published_again", submissions=len(rows))
        self.meter.count("submissions_published_again", len(rows))
        return len(rows)

    async def sweep_boards(self) -> list[str]:
        """Rebuild the boards of current contests that differed now and the last time; a change on its way makes a difference for a moment only."""
        now_ms = self.clock.now_ms()
        rows = await self.database.fetch(
            "SELECT id FROM contests WHERE starts_at_ms <= $1 AND ends_at_ms >= $2", now_ms, now_ms - KEEP_KEYS_MS
        )
        differing = {row["id"] for row in rows if await self._differs(row["id"])}
        rebuilt = sorted(differing & self._suspects)
        for contest_id in rebuilt:
            _log.error("board_differs", contest=contest_id)
            self.meter.count("boards_repaired")
            await self.rpc.call("leaderboard", BuildBoard(contest_id=contest_id, afresh=True), timeout=CORE_TIMEOUT_S)
        self._suspects = differing - set(rebuilt)
        return rebuilt

    async def _differs(self, contest_id: str) -> bool:
        contest = await self.log.contest(contest_id)
        built_for = await self.boards.contest_version(contest_id)
        if contest is None or built_for is None:
            return False  # nobody has looked at it yet
        names, entries = await self.log.names(contest_id), await self.log.entries(contest_id)
        for view in BoardView:
            if await self.boards.differences(contest, view, names, entries):
                return True
        return built_for != contest.version

    async def clean(self) -> None:
        """Delete what has served its time, a batch of each kind."""
        now_ms = self.clock.now_ms()
        for table, key, condition, before_ms in (
            ("outbox_messages", "id", "sent_at_ms < $1", now_ms - KEEP_SENT_MS),
            ("refresh_tokens", "token_hash", "expires_at_ms < $1", now_ms),
            ("idempotency_keys", "result_id", "created_at_ms < $1", now_ms - KEEP_KEYS_MS),
        ):
            await self.database.execute(
                f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {condition} LIMIT {BATCH_MOST})",  # noqa: S608 - constants
                before_ms,
            )
