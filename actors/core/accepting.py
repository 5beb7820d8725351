"""Accepting submissions, as many as wait together: what must be known of each is read in one statement, decided by plain code, and written for all at once.

A submission that had a transaction's crossings to itself would cost a dozen of them; like this it is one, and a share of five. Errors are found before
anything is written, so those who are refused cost the others nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.core.contests import enter
from actors.core.desk import Desk
from contracts.errors import CodeWarzError, Conflict, Duplicate, Forbidden, Invalid, NotFound
from contracts.messages import Accepted, JudgeRequested, Kind, Priority, Role, Submit
from contracts.ports import Row

_FACTS = (
    "SELECT k.body_hash, k.result_id, s.id AS known, u.role, p.version, p.is_public AS problem_is_public, c.id AS contest, c.starts_at_ms, c.ends_at_ms,"
    " c.is_public AS contest_is_public, a.problem_id AS attached, r.user_id AS registered"
    " FROM (SELECT 1 AS one) AS x LEFT JOIN idempotency_keys k ON k.user_id = $1 AND k.route = $2 AND k.key = $3"
    " LEFT JOIN submissions s ON s.id = $4 LEFT JOIN users u ON u.id = $1 LEFT JOIN problems p ON p.id = $5 LEFT JOIN contests c ON c.id = $6"
    " LEFT JOIN contest_problems a ON a.contest_id = $6 AND a.problem_id = $5 LEFT JOIN registrations r ON r.contest_id = $6 AND r.user_id = $1"
)

Answer = Accepted | CodeWarzError


class Overtaken(Exception):
    """Another core has committed one of these submissions, or what stands against it, since it was looked for. A second look sees it."""


async def accept(desk: Desk, requests: Sequence[Submit]) -> list[Answer]:
    """Make submissions durable together with the messages that ask for their judging; answer each in its place. Raises Overtaken."""
    answers: list[Answer] = []
    new: list[tuple[Submit, int]] = []
    for request in requests:
        facts = await desk.tx.fetch_one(
            _FACTS,
            request.user_id,
            request.kind,
            request.idempotency_key,
            request.submission_id,
            request.problem_id,
            request.contest_id,
        )
        assert facts is not None
        try:
            answer = _earlier(request, facts) or _among(request, new)
            if answer is None:
                version = await _admitted(desk, request, facts)
                new.append((request, version))
                answer = Accepted(submission_id=request.submission_id)
        except CodeWarzError as error:
            answers.append(error)
        else:
            answers.append(answer)
    if new:
        await _write(desk, new)
        await _enter(desk, [request for request, _ in new])
    return answers


async def _enter(desk: Desk, new: Sequence[Submit]) -> None:
    """Make those who submitted to a contest its participants. Raises Overtaken when one of the submissions, or its key, is there already (the first statement
    after the writes hears of it), or a problem has been taken out of its contest since it was looked for.

    Only now is this certain: what a submission refers to is locked from its insertion on, and whoever withdraws somebody or detaches a problem locks the same.
    """
    places = ", ".join(f"${number}" for number in range(1, len(new) + 1))
    try:
        rows = await desk.tx.fetch(
            "SELECT DISTINCT s.contest_id, s.user_id, s.kind, a.problem_id AS attached, r.user_id AS registered FROM submissions s"  # noqa: S608 - placeholders
            " LEFT JOIN contest_problems a ON a.contest_id = s.contest_id AND a.problem_id = s.problem_id"
            f" LEFT JOIN registrations r ON r.contest_id = s.contest_id AND r.user_id = s.user_id WHERE s.id IN ({places})"
            " AND s.contest_id IS NOT NULL ORDER BY s.contest_id, s.user_id",
            *(request.submission_id for request in new),
        )
    except Duplicate as taken:
        raise Overtaken from taken
    for row in rows:
        if row["attached"] is None:
            raise Overtaken
        if row["registered"] is None and row["kind"] == Kind.SUBMISSION:
            await enter(desk, row["contest_id"], row["user_id"])


def _earlier(request: Submit, facts: Row) -> Accepted | None:
    """Return the answer that this request was given before, if it was."""
    if facts["result_id"] is not None:
        return _replayed(request, facts["body_hash"], facts["result_id"])
    return None if facts["known"] is None else Accepted(submission_id=request.submission_id, replayed=True)


def _among(request: Submit, new: Sequence[tuple[Submit, int]]) -> Accepted | None:
    """Return the answer of the same request among those that are accepted together with it."""
    for other, _ in new:
        if request.idempotency_key is not None and _key(other) == _key(request):
            return _replayed(request, other.body_hash, other.submission_id)
        if other.submission_id == request.submission_id:
            return Accepted(submission_id=request.submission_id, replayed=True)
    return None


def _replayed(request: Submit, body_hash: str, submission_id: str) -> Accepted:
    if body_hash != request.body_hash:
        raise Invalid("this Idempotency-Key was used with another body: use a new key for a new submission")
    return Accepted(submission_id=submission_id, replayed=True)


def _key(request: Submit) -> tuple[str, str, str | None]:
    return request.user_id, request.kind, request.idempotency_key


async def _admitted(desk: Desk, request: Submit, facts: Row) -> int:
    """Return the problem's newest version when the user may submit it here and now; raise what stands against it otherwise."""
    if facts["role"] is None:
        raise NotFound("no such user")
    if facts["version"] is None:
        raise NotFound("no such problem")
    is_staff = Role(facts["role"]).is_staff
    if request.contest_id is not None:
        _admit_to_contest(facts, desk.now_ms, is_staff=is_staff)
    elif not is_staff:
        await _admit_to_practice(desk, request, is_public=bool(facts["problem_is_public"]))
    return int(facts["version"])


def _admit_to_contest(facts: Row, now_ms: int, *, is_staff: bool) -> None:
    if facts["contest"] is None or not (facts["contest_is_public"] or is_staff or facts["registered"] is not None):
        raise NotFound("no such contest")  # a private one is a secret to all but staff and those who are in it
    started = facts["starts_at_ms"] <= now_ms
    if facts["attached"] is None or not (started or is_staff):
        raise NotFound("the contest has no such problem")  # before the start even its existence is a secret
    if not started:
        raise Conflict("the contest has not started: submit without contest_id to try the problem")
    if facts["ends_at_ms"] <= now_ms:
        raise Conflict("the contest is over: submit without contest_id to practise")


async def _admit_to_practice(desk: Desk, request: Submit, *, is_public: bool) -> None:
    rows = await desk.tx.fetch(
        "SELECT c.starts_at_ms, c.ends_at_ms, (c.is_public OR EXISTS (SELECT 1 FROM registrations r WHERE r.contest_id = c.id AND r.user_id = $2))"
        " AS is_known FROM contest_problems p JOIN contests c ON c.id = p.contest_id WHERE p.problem_id = $1",
        request.problem_id,
        request.user_id,
    )
    if any(row["starts_at_ms"] > desk.now_ms for row in rows) or not (
        is_public or any(row["is_known"] for row in rows)
    ):
        raise NotFound("no such problem")
    running = [row for row in rows if row["ends_at_ms"] > desk.now_ms]
    if running and not any(row["is_known"] for row in running):
        raise NotFound("no such problem")  # it runs in secret
    if running:
        raise Forbidden("the problem is part of a running contest: submit it there, with its contest_id")


async def _write(desk: Desk, new: Sequence[tuple[Submit, int]]) -> None:
    """Write all of it in one crossing, which is the next statement's."""
    # Keys in one order for everybody: two cores that wait for each other's keys would both be undone.
    keyed = sorted(
        (request for request, _ in new if request.idempotency_key is not None), key=lambda each: str(_key(each))
    )
    desk.tx.later(
        "INSERT INTO idempotency_keys (user_id, route, key, body_hash, result_id, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6)",
        [(*_key(each), each.body_hash, each.submission_id, desk.now_ms) for each in keyed],
    )
    desk.tx.later(
        "INSERT INTO submissions (id, kind, user_id, contest_id, problem_id, problem_version, language, source, stdin, priority, attempt, score,"
        " fencing, submitted_at_ms, queued_at_ms, correlation_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, 0, 0, $11, $11, $12)",
        [
            (
                request.submission_id,
                request.kind,
                request.user_id,
                request.contest_id,
                request.problem_id,
                version,
                request.language,
                request.source,
                request.stdin,
                _priority(request),
                desk.now_ms,
                request.correlation_id,
            )
            for request, version in sorted(new, key=lambda each: each[0].submission_id)
        ],
    )
    await desk.request_judging(
        [
            (JudgeRequested(submission_id=request.submission_id, attempt=1), _priority(request), request.correlation_id)
            for request, _ in new
        ]
    )


def _priority(request: Submit) -> int:
    return Priority.PRACTICE if request.contest_id is None else Priority.CONTEST
