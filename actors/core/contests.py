"""Contests, their problems and their participants."""

from __future__ import annotations

from actors.core.desk import Desk
from actors.core.people import require_staff
from contracts.errors import Conflict, Duplicate, Invalid, NotFound
from contracts.messages import (
    AttachProblem,
    BoardInvalidated,
    ChangeContest,
    ContestSettings,
    CreateContest,
    DetachProblem,
    ParticipantsChanged,
    Register,
    Withdraw,
)
from contracts.ports import Row, Sql


async def create_contest(desk: Desk, request: CreateContest) -> None:
    """Make a contest; the same request again changes nothing."""
    await require_staff(desk, request.created_by)
    settings = _checked(request.settings)
    made = await desk.tx.execute(
        "INSERT INTO contests (id, title, description, rules, starts_at_ms, ends_at_ms, freezes_at_ms, is_public, created_by, created_at_ms,"
        " version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1) ON CONFLICT DO NOTHING",
        request.contest_id,
        *_values(settings),
        request.created_by,
        desk.now_ms,
    )
    if made:
        await desk.audit(request.created_by, "contest.create", request.contest_id, settings.title)


async def change_contest(desk: Desk, request: ChangeContest) -> None:
    """Replace a contest's settings; whatever was folded from the old ones is folded anew."""
    settings = _checked(request.settings)
    changed = await desk.tx.execute(
        "UPDATE contests SET title = $1, description = $2, rules = $3, starts_at_ms = $4, ends_at_ms = $5, freezes_at_ms = $6, is_public = $7,"
        " version = version + 1 WHERE id = $8 AND (version = $9 OR $9 IS NULL)",
        *_values(settings),
        request.contest_id,
        request.version,
    )
    if not changed:
        await contest(desk, request.contest_id)
        raise Conflict("somebody else has changed this contest just now: look at it again")
    await desk.post_event(BoardInvalidated(contest_id=request.contest_id))


async def attach_problem(desk: Desk, request: AttachProblem) -> None:
    """Put a problem into a contest, or change how it stands there."""
    await contest(desk, request.contest_id)
    if await desk.tx.fetch_one("SELECT 1 AS one FROM problems WHERE id = $1", request.problem_id) is None:
        raise NotFound("no such problem")
    try:
        await desk.tx.execute(
            "INSERT INTO contest_problems (contest_id, problem_id, label, colour, points) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (contest_id, problem_id) DO UPDATE SET label = excluded.label, colour = excluded.colour, points = excluded.points",
            request.contest_id,
            request.problem_id,
            request.label,
            request.colour,
            request.points,
        )
    except Duplicate as taken:
        raise Conflict(f"the contest has a problem {request.label} already: choose another label") from taken


async def detach_problem(desk: Desk, request: DetachProblem) -> None:
    """Take a problem out of a contest unless somebody has submitted to it there."""
    await desk.tx.fetch("SELECT id FROM problems WHERE id = $1 FOR UPDATE", request.problem_id)  # waits for who submits
    used = await desk.tx.fetch_one(
        "SELECT 1 AS one FROM submissions WHERE contest_id = $1 AND problem_id = $2 AND kind = 'submission' LIMIT 1",
        request.contest_id,
        request.problem_id,
    )
    if used is not None:
        raise Conflict("the problem has submissions in this contest: it has to stay")
    removed = await desk.tx.execute(
        "DELETE FROM contest_problems WHERE contest_id = $1 AND problem_id = $2",
        request.contest_id,
        request.problem_id,
    )
    if not removed:
        raise NotFound("the contest has no such problem")


async def register(desk: Desk, request: Register) -> None:
    """Enter somebody for a contest that is not over."""
    row = await contest_for(desk, request.contest_id, request.user_id)
    if row["ends_at_ms"] <= desk.now_ms:
        raise Conflict("the contest is over")
    await enter(desk, request.contest_id, request.user_id)


async def enter(desk: Desk, contest_id: str, user_id: str) -> None:
    """Make somebody a participant unless they are one already."""
    entered = await desk.tx.execute(
        "INSERT INTO registrations (contest_id, user_id, created_at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        contest_id,
        user_id,
        desk.now_ms,
    )
    if entered:
        await desk.post_event(ParticipantsChanged(contest_id=contest_id, user_id=user_id))


async def withdraw(desk: Desk, request: Withdraw) -> None:
    """Take somebody out of a contest in which they have not submitted."""
    await desk.tx.fetch("SELECT id FROM users WHERE id = $1 FOR UPDATE", request.user_id)  # waits for what they submit
    used = await desk.tx.fetch_one(
        "SELECT 1 AS one FROM submissions WHERE contest_id = $1 AND user_id = $2 AND kind = 'submission' LIMIT 1",
        request.contest_id,
        request.user_id,
    )
    if used is not None:
        raise Conflict("you have submitted in this contest: your row has to stay")
    left = await desk.tx.execute(
        "DELETE FROM registrations WHERE contest_id = $1 AND user_id = $2", request.contest_id, request.user_id
    )
    if left:
        await desk.post_event(ParticipantsChanged(contest_id=request.contest_id, user_id=request.user_id))


async def contest(desk: Desk, contest_id: str) -> Row:
    """Return the row of a contest; NotFound without one."""
    row = await desk.tx.fetch_one("SELECT * FROM contests WHERE id = $1", contest_id)
    if row is None:
        raise NotFound("no such contest")
    return row


async def contest_for(desk: Desk, contest_id: str, user_id: str) -> Row:
    """Return the row of a contest that the user may know of: a private one is a secret to all but staff and those who are in it."""
    row = await contest(desk, contest_id)
    if not row["is_public"]:
        known = await desk.tx.fetch_one(
            "SELECT 1 AS one FROM users WHERE id = $1 AND (role <> 'contestant' OR EXISTS"
            " (SELECT 1 FROM registrations r WHERE r.contest_id = $2 AND r.user_id = users.id))",
            user_id,
            contest_id,
        )
        if known is None:
            raise NotFound("no such contest")
    return row


def _values(settings: ContestSettings) -> tuple[Sql, ...]:
    """Return the settings in the order of the columns above."""
    return (
        settings.title,
        settings.description,
        settings.rules,
        settings.starts_at_ms,
        settings.ends_at_ms,
        settings.freezes_at_ms,
        settings.is_public,
    )


def _checked(settings: ContestSettings) -> ContestSettings:
    if settings.ends_at_ms <= settings.starts_at_ms:
        raise Invalid("a contest must end after it starts")
    freeze = settings.freezes_at_ms
    if freeze is not None and not settings.starts_at_ms <= freeze <= settings.ends_at_ms:
        raise Invalid("the freeze must lie between the contest's start and its end")
    return settings
