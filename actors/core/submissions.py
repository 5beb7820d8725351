"""Submissions: accepting them, handing them to judges, making verdicts durable, judging again."""

from __future__ import annotations

import msgspec

from actors.core.accepting import accept
from actors.core.desk import Desk
from actors.core.people import require_staff
from contracts.errors import CodeWarzError, Invalid, NotFound
from contracts.messages import (
    Accepted,
    GetWork,
    Judged,
    JudgeRequested,
    Kind,
    PersistVerdict,
    Priority,
    Rejudge,
    Rejudged,
    ScoreChanged,
    Submit,
    Work,
)
from contracts.ports import Row
from contracts.verdicts import Verdict

REJUDGE_MOST = 20_000  # in one transaction, in which nobody else commits: 0.5 s with SQLite (100 000 took 5.7), 2 cores
NOT_NOW = "no such submission, or it is still being judged"
# PostgreSQL gives a parameter the type of its first use, and IS NULL has none: the comparison stands first.
_SELECTED = "kind = 'submission' AND (id = $1 OR $1 IS NULL) AND (problem_id = $2 OR $2 IS NULL) AND (contest_id = $3 OR $3 IS NULL)"
_NEWEST = "(SELECT version FROM problems WHERE problems.id = submissions.problem_id)"


async def submit(desk: Desk, request: Submit) -> Accepted:
    """Make a submission durable together with the message that asks for its judging."""
    (answer,) = await accept(desk, [request])
    if isinstance(answer, CodeWarzError):
        raise answer
    return answer


async def get_work(desk: Desk, request: GetWork) -> Work | None:
    """Hand an attempt to a judge with a fencing number above all earlier ones; None when there is nothing left to judge."""
    row = await desk.tx.fetch_one(
        "UPDATE submissions SET fencing = fencing + 1 WHERE id = $1 AND attempt = $2 AND verdict IS NULL RETURNING *",
        request.submission_id,
        request.attempt,
    )
    if row is None:
        return None
    return Work(
        submission_id=row["id"],
        attempt=row["attempt"],
        fencing=row["fencing"],
        kind=Kind(row["kind"]),
        problem_id=row["problem_id"],
        problem_version=row["problem_version"],
        language=row["language"],
        source=row["source"],
        stdin=row["stdin"],
        correlation_id=row["correlation_id"],
    )


async def persist_verdict(desk: Desk, request: PersistVerdict) -> Judged | None:
    """Compare and set, and put the event into the outbox in the same transaction."""
    row = await desk.tx.fetch_one(
        "UPDATE submissions SET verdict = $1, score = $2, judged_at_ms = $3 WHERE id = $4 AND attempt = $5 AND verdict IS NULL"
        " AND fencing = $6 RETURNING *",
        request.verdict,
        request.score,
        desk.now_ms,
        request.submission_id,
        request.attempt,
        request.fencing,
    )
    if row is None:
        return await _said_before(desk, request)
    desk.tx.later(
        "INSERT INTO verdicts (submission_id, attempt, verdict, score, fencing, judge, judged_at_ms, tests, compile_output, output, judge_error)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        [
            (
                request.submission_id,
                request.attempt,
                request.verdict,
                request.score,
                request.fencing,
                request.judge,
                desk.now_ms,
                msgspec.json.encode(request.tests),
                *(_storable(text) for text in (request.compile_output, request.output, request.judge_error)),
            )
        ],
    )
    judged = _judged(row)
    await desk.post_event(judged, correlation_id=row["correlation_id"])
    return judged


def _storable(text: str) -> str:
    """Return what programs, compilers and validators said without the one character that no database keeps: a verdict is never refused for it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


async def _said_before(desk: Desk, request: PersistVerdict) -> Judged | None:
    """Return the event again when the verdict that is there came from this very request, whose answer was lost."""
    row = await desk.tx.fetch_one(
        "SELECT s.* FROM submissions s JOIN verdicts v ON v.submission_id = s.id AND v.attempt = s.attempt"
        " WHERE s.id = $1 AND s.attempt = $2 AND v.verdict = $3 AND v.fencing = $4 AND v.judge = $5",
        request.submission_id,
        request.attempt,
        request.verdict,
        request.fencing,
        request.judge,
    )
    return None if row is None else _judged(row)


def _judged(row: Row) -> Judged:
    """Return the event of a judged submission's row; its change is None where no board counts it."""
    change = None
    if row["contest_id"] is not None and row["kind"] == Kind.SUBMISSION:
        change = ScoreChanged(
            contest_id=row["contest_id"],
            submission_id=row["id"],
            attempt=row["attempt"],
            user_id=row["user_id"],
            problem_id=row["problem_id"],
            submitted_at_ms=row["submitted_at_ms"],
            verdict=Verdict(row["verdict"]),
            score=row["score"],
        )
    return Judged(
        submission_id=row["id"],
        attempt=row["attempt"],
        verdict=Verdict(row["verdict"]),
        score=row["score"],
        change=change,
    )


async def rejudge(desk: Desk, request: Rejudge) -> Rejudged:
    """Begin a new attempt for each judged submission that the request selects, and begin again those in the hands of a judge with an older problem.

    The old verdict counts until the new one is there: the board keeps the highest attempt that has one.
    """
    await require_staff(desk, request.requested_by)
    selector = (request.submission_id, request.problem_id, request.contest_id)
    if not any(selector):
        raise Invalid("say what to judge again: submission_id, problem_id or contest_id")
    done = await desk.tx.fetch_one("SELECT submissions FROM rejudgings WHERE id = $1", request.rejudging_id)
    if done is not None:
        return Rejudged(rejudging_id=request.rejudging_id, submissions=done["submissions"])
    row = await desk.tx.fetch_one(
        f"SELECT count(*) AS many FROM submissions WHERE {_SELECTED} AND (verdict IS NOT NULL OR problem_version < {_NEWEST})",  # noqa: S608 - constants
        *selector,
    )
    many = 0 if row is None else int(row["many"])
    if request.submission_id is not None and many == 0:
        raise NotFound(NOT_NOW)
    if many > REJUDGE_MOST:
        raise Invalid(f"{many} submissions at once are too many (at most {REJUDGE_MOST}): judge again by problem")
    if request.dry_run:
        return Rejudged(rejudging_id=None, submissions=many)
    begun_again = await _begin_again(desk, selector)
    rows = await desk.tx.fetch(
        "UPDATE submissions SET attempt = attempt + 1, verdict = NULL, fencing = 0, judged_at_ms = NULL, priority = $4, queued_at_ms = $5,"  # noqa: S608 - constants
        f" problem_version = {_NEWEST} WHERE {_SELECTED} AND verdict IS NOT NULL RETURNING id, attempt, priority",
        *selector,
        Priority.REJUDGE,
        desk.now_ms,
    )
    many = len(begun_again) + len(
        rows
    )  # another core may have judged some, or had them judged again, since they were counted
    if request.submission_id is not None and many == 0:
        raise NotFound(NOT_NOW)
    await desk.request_judging(
        [
            (
                JudgeRequested(submission_id=each["id"], attempt=each["attempt"]),
                each["priority"],
                request.correlation_id,
            )
            for each in [*(row for row in begun_again if row["fencing"] > 0), *rows]
        ]
    )
    await desk.tx.execute(
        "INSERT INTO rejudgings (id, requested_by, selector, submissions, created_at_ms) VALUES ($1, $2, $3, $4, $5)",
        request.rejudging_id,
        request.requested_by,
        msgspec.json.encode(selector),
        many,
        desk.now_ms,
    )
    await desk.audit(request.requested_by, "rejudge", request.rejudging_id, str(selector))
    return Rejudged(rejudging_id=request.rejudging_id, submissions=many)


async def _begin_again(desk: Desk, selector: tuple[str | None, str | None, str | None]) -> list[Row]:
    """Give those without a verdict the newest problem, and return them. Those with a ``fencing`` above 0 a judge has already: too late, they need another."""
    return await desk.tx.fetch(
        "UPDATE submissions SET fencing = CASE WHEN fencing > 0 THEN fencing + 1 ELSE 0 END,"  # noqa: S608 - constants
        f" problem_version = {_NEWEST} WHERE {_SELECTED} AND verdict IS NULL AND problem_version < {_NEWEST}"
        " RETURNING id, attempt, priority, fencing",
        *selector,
    )
