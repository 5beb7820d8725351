"""The projector: the only writer of boards, and their rebuilder.

Changes come twice: over the fast path (UpdateLeaderboard) and, a little later, as the outbox's event of the same verdict through the broker; applying one again
changes nothing.
A board that is not in Redis is folded from the verdict log, whoever asks for it first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
import trio

from actors import progress
from actors.boards import Boards, BoardView, Contest, UnknownParticipantError, UnreadableBoard
from actors.outbox import QUEUES, VERDICT_QUEUE
from actors.patience import again_and_again
from actors.service import MailboxService
from contracts.errors import CodeWarzError, NotFound, SetAside, Unavailable
from contracts.ids import make_id
from contracts.life import State
from contracts.messages import (
    BoardEvent,
    BoardInvalidated,
    BuildBoard,
    Judged,
    ParticipantsChanged,
    Progress,
    Request,
    ScoreChanged,
    UpdateLeaderboard,
)
from contracts.ports import Broker, BrokerDelivery, Database, Meter, Redis, Row, WallClock
from contracts.reading import Unreadable, reader
from contracts.scoring import BoardRules, Entry, Rules
from contracts.verdicts import Verdict
from supervisor.context import Context
from supervisor.delivery import Delivery

LOAD_TRIES = 10
APPLY_TIMEOUT_S = 30.0
PREFETCH = 64
BATCH_MOST = 64  # what one crash gives back
PAUSE_FIRST_S = 0.1  # before an event that could not be applied goes back to the queue
PAUSE_CAP_S = 5.0

_log = structlog.get_logger("projector")
read_event: Callable[[bytes], BoardEvent] = reader(msgspec.json.Decoder(BoardEvent))


@dataclass(frozen=True)
class Log:
    """What boards are folded from, as the database has it."""

    database: Database

    async def contest(self, contest_id: str) -> Contest | None:
        """Return what a board needs to know of its contest."""
        row = await self.database.fetch_one(
            "SELECT rules, starts_at_ms, ends_at_ms, freezes_at_ms, version FROM contests WHERE id = $1", contest_id
        )
        if row is None:
            return None
        rules = BoardRules(Rules(row["rules"]), row["starts_at_ms"], row["ends_at_ms"], row["freezes_at_ms"])
        return Contest(contest_id, rules, row["version"])

    async def names(self, contest_id: str, user_id: str | None = None) -> dict[str, str]:
        """Return the participants' usernames by identifier (of one user: empty when they are none)."""
        rows = await self.database.fetch(
            "SELECT u.id, u.username FROM registrations r JOIN users u ON u.id = r.user_id"
            " WHERE r.contest_id = $1 AND ($2 = '' OR r.user_id = $2)",
            contest_id,
            user_id or "",
        )
        return {row["id"]: row["username"] for row in rows}

    async def entries(self, contest_id: str, user_id: str | None = None) -> list[Entry]:
        """Return the contest's verdict log (of one user): for each submission its newest attempt that has a verdict."""
        rows = await self.database.fetch(
            "SELECT s.id, s.user_id, s.problem_id, s.submitted_at_ms, v.attempt, v.verdict, v.score FROM submissions s"
            " JOIN verdicts v ON v.submission_id = s.id WHERE s.contest_id = $1 AND s.kind = 'submission' AND ($2 = '' OR s.user_id = $2)"
            " AND v.attempt = (SELECT max(w.attempt) FROM verdicts w WHERE w.submission_id = s.id)",
            contest_id,
            user_id or "",
        )
        return [_entry(row) for row in rows]

    async def problems(self, contest_id: str) -> list[str]:
        """Return the contest's problems."""
        rows = await self.database.fetch("SELECT problem_id FROM contest_problems WHERE contest_id = $1", contest_id)
        return [row["problem_id"] for row in rows]


@dataclass(frozen=True)
class Projector:
    """Answers UpdateLeaderboard and BuildBoard, and takes the outbox's events from its intake.

    Verdicts that wait together are applied together: in any order they make the same board, and Redis then runs their scripts one right after the other
    instead of waiting for a trip between two.
    """

    boards: Boards
    log: Log
    redis: Redis
    clock: WallClock
    rng: random.Random
    meter: Meter

    async def run(self, ctx: Context[Request[Any] | BoardEvent]) -> None:
        """Apply what waits; the reply comes after the effect."""
        ctx.ready()
        while True:
            batch = await ctx.inbox.receive_batch(BATCH_MOST)
            # Under overload nothing is done for somebody who has left: the outbox's event comes again.
            batch = [delivery for delivery in batch if not delivery.expired]
            for delivery in await self._apply_together(batch):
                await self._answer(delivery)
            ctx.inbox.done()

    async def _apply_together(self, batch: list[Delivery[Any]]) -> list[Delivery[Any]]:
        """Apply the verdicts of a batch at once, and return the rest in its order: other messages, and what needs a board or a row that is not there.

        Those are repaired one after the other, or each of the batch would build the same board. So is one that somebody has spoiled.
        """
        left = dict(enumerate(batch))
        verdicts = {
            number: each for number, delivery in left.items() if (each := _judged(delivery.message)) is not None
        }
        outcomes = await self._apply_and_tell(list(verdicts.values())) if verdicts else []
        for number, outcome in zip(verdicts, outcomes, strict=True):
            if isinstance(outcome, CodeWarzError):
                left.pop(number).fail(outcome)
            elif outcome:
                left.pop(number).reply(None)
        return list(left.values())

    async def _apply_and_tell(self, verdicts: Sequence[Judged]) -> list[bool | CodeWarzError]:
        """Change the boards, and tell whoever watches the submissions, in one crossing: a verdict is durable and may be told whatever becomes of its board.

        For each: whether its board has it (else ``_change`` repairs what stands in the way; told it is), or what failed.
        """
        changing = [number for number, judged in enumerate(verdicts) if judged.change is not None]
        lines = [(change.contest_id, _line(change)) for judged in verdicts if (change := judged.change) is not None]
        outcomes: list[bool | CodeWarzError] = [True] * len(verdicts)
        untold: CodeWarzError | None = None
        started = trio.current_time()

        async def tell() -> None:
            nonlocal untold
            try:
                await progress.announce(self.redis, *map(_step, verdicts))
            except CodeWarzError as error:
                untold = error

        applied: Sequence[bool | CodeWarzError]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, name="tell")
            try:
                applied = await self.boards.apply_each(lines)
            except CodeWarzError as error:
                applied = [error] * len(lines)
        for number, outcome in zip(changing, applied, strict=True):
            outcomes[number] = outcome
            if outcome is True:
                self.meter.observe("projection_seconds", trio.current_time() - started)
        # buggify at projector.applied
        if untold is not None:
            return [outcome if isinstance(outcome, CodeWarzError) else untold for outcome in outcomes]
        return outcomes

    async def _answer(self, delivery: Delivery[Any]) -> None:
        try:
            await self._handle(delivery.message)
        except CodeWarzError as error:
            delivery.fail(error)
        else:
            delivery.reply(None)

    async def _handle(self, message: Request[Any] | BoardEvent) -> None:
        match message:
            case (
                UpdateLeaderboard(event=Judged(change=ScoreChanged() as change))
                | Judged(change=ScoreChanged() as change)
            ):
                await self._change(change)
            case ParticipantsChanged():
                await self._participant(message.contest_id, message.user_id)
            case BoardInvalidated():
                if not await self._is_of_now(message.contest_id):
                    await self._build(message.contest_id)
            case BuildBoard():
                if message.afresh or not await self._has_board(message.contest_id, message.unreadable_epoch):
                    await self._build(message.contest_id)
            case _:
                raise NotFound(f"the leaderboard has no answer to {type(message).__name__}")

    async def _has_board(self, contest_id: str, unreadable_epoch: str) -> bool:
        """Return whether both views are there and not of the epoch that somebody could not read. Only their tops are looked at: many may ask at once."""
        try:
            if await self.boards.contest_version(contest_id) is None:
                return False
            pages = [await self.boards.page(contest_id, view, limit=1) for view in BoardView]
        except UnreadableBoard as error:
            _log.error("board_unreadable", contest=contest_id, error=error.detail)
            return False
        return all(page is not None and page.epoch != unreadable_epoch for page in pages)

    async def _is_of_now(self, contest_id: str) -> bool:
        """Return whether the board was built for the contest as it is: built again for whoever says so, as often as they like, it would be the same."""
        contest = await self.log.contest(contest_id)
        if contest is None:
            raise NotFound("no such contest")
        with suppress(UnreadableBoard):
            return await self.boards.contest_version(contest_id) == contest.version
        return False

    async def _change(self, change: ScoreChanged) -> None:
        """Apply one line of the log, and repair what stands in its way: a board that is not there, a contestant who is not on it."""
        started = trio.current_time()
        try:
            if not await self.boards.apply(change.contest_id, change.user_id, [_line(change)]):
                await self._build(change.contest_id)
        except UnknownParticipantError:
            await self._participant(change.contest_id, change.user_id)
        except UnreadableBoard as error:
            await self._build_anew(change.contest_id, error)
        self.meter.observe("projection_seconds", trio.current_time() - started)

    async def _participant(self, contest_id: str, user_id: str) -> None:
        """Make the board agree with the database about one contestant: on it with all they did, or not on it."""
        names = await self.log.names(contest_id, user_id)
        try:
            if user_id not in names:
                await self.boards.remove(contest_id, user_id, await self.log.problems(contest_id))
                return
            entries = await self.log.entries(contest_id, user_id)
            if not await self.boards.apply(contest_id, user_id, entries, username=names[user_id]):
                await self._build(contest_id)
        except UnreadableBoard as error:
            await self._build_anew(contest_id, error)

    async def _build_anew(self, contest_id: str, error: UnreadableBoard) -> None:
        _log.error("board_unreadable", contest=contest_id, error=error.detail)
        await self._build(contest_id)

    async def _build(self, contest_id: str) -> None:
        """Fold both views from the log; again when somebody wrote to one meanwhile."""
        for view in BoardView:
            for _ in range(LOAD_TRIES):
                try:
                    if await self._fold(contest_id, view):
                        break
                except UnreadableBoard as error:
                    _log.error("board_dropped", contest=contest_id, view=view, error=error.detail)
                    await self.boards.drop(contest_id, view)
            else:
                raise Unavailable("the board changes faster than it can be rebuilt: try again", retry_after_s=1)
        _log.info("board_built", contest=contest_id)
        self.meter.count("boards_built")

    async def _fold(self, contest_id: str, view: BoardView) -> bool:
        """Put the fold of the log in a view's place; False when somebody wrote to it meanwhile."""
        epoch = make_id(self.clock.now_ms(), self.rng)
        state = await self.boards.state(contest_id, view, epoch)
        contest = await self.log.contest(contest_id)
        if contest is None:
            raise NotFound("no such contest")
        names, entries = await self.log.names(contest_id), await self.log.entries(contest_id)
        # buggify at projector.folded
        return await self.boards.load(contest, view, names, entries, state=state, epoch=epoch)


@dataclass(frozen=True)
class VerdictIntake:
    """Takes the outbox's events off the queue and has the projector apply them; acknowledged after the effect."""

    broker: Broker
    project: MailboxService

    async def run(self, ctx: Context[None]) -> None:
        """Consume until cancelled; what is not acknowledged comes again, which does no harm."""
        await again_and_again(ctx, lambda: self._consume(ctx), "verdict_intake")

    async def _consume(self, ctx: Context[None]) -> None:
        await self.broker.declare(QUEUES)
        async with (
            self.broker.consume(VERDICT_QUEUE.name, prefetch=PREFETCH) as deliveries,
            trio.open_nursery() as nursery,
        ):
            ctx.ready()
            async for delivery in deliveries:
                nursery.start_soon(self._settle, delivery, name=f"settle {delivery.message.message_id}")

    async def _settle(self, delivery: BrokerDelivery) -> None:
        try:
            event = read_event(delivery.message.body)
        except Unreadable as error:
            _log.error("unreadable_message", message=delivery.message.message_id, error=error.detail)
            await delivery.reject()
            return
        try:
            await self._apply(event)
        except SetAside as error:
            _log.error("event_set_aside", message=delivery.message.message_id, error=error.detail)
            await delivery.reject()  # again it would crash the projector again; the sweeper repairs the board
        except CodeWarzError as error:
            _log.warning("projection_failed", message=delivery.message.message_id, error=error.detail)
            await trio.sleep(min(PAUSE_FIRST_S * 2 ** min(delivery.delivery_count, 16), PAUSE_CAP_S))
            await delivery.nack()
        else:
            # buggify at verdicts.applied
            await delivery.ack()

    async def _apply(self, event: BoardEvent) -> None:
        """Have it applied, however long the projector or Redis are away: sent round and round it would end with the dead letters."""
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                await self.project(event, timeout=APPLY_TIMEOUT_S)
            except Unavailable as error:
                _log.warning("projection_waits", error=error.detail)
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_CAP_S)
            else:
                return


def _judged(message: Request[Any] | BoardEvent) -> Judged | None:
    """Return the verdict that a message brings, whichever way it came."""
    judged = message.event if isinstance(message, UpdateLeaderboard) else message
    return judged if isinstance(judged, Judged) else None


def _step(judged: Judged) -> Progress:
    """Return the last step of a judging."""
    return Progress(
        submission_id=judged.submission_id,
        attempt=judged.attempt,
        seq=1 << 30,
        state=State.JUDGED,
        verdict=judged.verdict,
        score=judged.score,
    )


def _line(change: ScoreChanged) -> Entry:
    """Return the line of the verdict log that an event brings."""
    return Entry(
        change.submission_id,
        change.attempt,
        change.user_id,
        change.problem_id,
        change.submitted_at_ms,
        change.verdict,
        change.score,
    )


def _entry(row: Row) -> Entry:
    return Entry(
        row["id"],
        row["attempt"],
        row["user_id"],
        row["problem_id"],
        row["submitted_at_ms"],
        Verdict(row["verdict"]),
        row["score"],
    )
