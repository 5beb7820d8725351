"""Reads of submissions, runs and boards. Somebody else's submission does not exist, unless staff asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated

import msgspec
import structlog

from actors.boards import BoardPage, Boards, BoardView, UnreadableBoard
from actors.gateway.cursors import decode_cursor, encode_cursor
from actors.gateway.frames import Steps
from actors.gateway.identity import Caller
from actors.gateway.progress_events import encode_judged, encode_steps
from actors.gateway.queries import Parameters
from actors.gateway.views import (
    RunView,
    SubmissionItem,
    SubmissionList,
    SubmissionView,
    TestView,
    iso,
    iso_or_none,
    points,
)
from actors.progress import so_far
from contracts.errors import Busy, NotFound
from contracts.life import State
from contracts.messages import BuildBoard, Kind, Progress
from contracts.ports import Database, Redis, Row, Rpc
from contracts.verdicts import TestResult, Verdict

NO_SUBMISSION = "There is no such submission."
BUILD_TIMEOUT_S = 10.0

_log = structlog.get_logger("gateway")
_decode_tests = msgspec.json.Decoder(list[TestResult]).decode


class SubmissionsQuery(msgspec.Struct, frozen=True):
    """Which submissions; ``user_id`` is for staff, everybody else only ever sees their own."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    contest_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    problem_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    user_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None


_SELECT = (
    "SELECT s.id, s.kind, s.user_id, s.contest_id, s.problem_id, s.language, s.source, s.attempt, s.verdict, s.score, s.submitted_at_ms,"
    " s.judged_at_ms, u.username, p.title AS problem_title FROM submissions s"
    " JOIN users u ON u.id = s.user_id JOIN problems p ON p.id = s.problem_id"
)


async def submissions(database: Database, redis: Redis, query: SubmissionsQuery, viewer: Caller) -> SubmissionList:
    """Return one page of submissions, newest first: the viewer's own, for staff everybody's."""
    parameters = Parameters()
    text = f"{_SELECT} WHERE s.kind = 'submission'"
    owner = query.user_id if viewer.is_staff else viewer.user_id
    wanted = {"user_id": owner, "contest_id": query.contest_id, "problem_id": query.problem_id}
    for column, value in wanted.items():
        if value is not None:
            text += f" AND s.{column} = {parameters.add(value)}"
    if query.cursor is not None:
        (last,) = decode_cursor(query.cursor, tuple[str])
        text += f" AND s.id < {parameters.add(last)}"
    rows = await database.fetch(f"{text} ORDER BY s.id DESC LIMIT {query.limit + 1}", *parameters.values)
    next_cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        next_cursor = encode_cursor(rows[-1]["id"])
    return SubmissionList([await _item(redis, row) for row in rows], next_cursor)


async def _item(redis: Redis, row: Row) -> SubmissionItem:
    state = State.JUDGED if row["verdict"] is not None else _state_of(await _steps(redis, row))
    return SubmissionItem(
        id=row["id"],
        user_id=row["user_id"],
        username=row["username"],
        problem_id=row["problem_id"],
        problem_title=row["problem_title"],
        contest_id=row["contest_id"],
        language=row["language"],
        state=state,
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        score=points(row["score"]),
        submitted_at=iso(row["submitted_at_ms"]),
        judged_at=iso_or_none(row["judged_at_ms"]),
    )


async def submission_row(database: Database, submission_id: str, viewer: Caller, kind: Kind | None = None) -> Row:
    """Return a submission's row (of any kind without one); NotFound when it is not the viewer's and the viewer is not staff."""
    row = await database.fetch_one(f"{_SELECT} WHERE s.id = $1", submission_id)
    is_theirs = row is not None and (row["user_id"] == viewer.user_id or viewer.is_staff)
    if row is None or not is_theirs or (kind is not None and row["kind"] != kind):
        raise NotFound(NO_SUBMISSION)
    return row


async def submission(database: Database, redis: Redis, submission_id: str, viewer: Caller) -> SubmissionView:
    """Return a submission in full, while it is judged with what is known so far."""
    row = await submission_row(database, submission_id, viewer, Kind.SUBMISSION)
    judging = await _judging(database, redis, row)
    return SubmissionView(
        id=row["id"],
        user_id=row["user_id"],
        username=row["username"],
        problem_id=row["problem_id"],
        problem_title=row["problem_title"],
        contest_id=row["contest_id"],
        language=row["language"],
        source=row["source"],
        state=judging.state,
        attempt=row["attempt"],
        verdict=judging.verdict,
        score=points(row["score"]),
        tests=judging.tests,
        tests_total=judging.tests_total,
        compile_output=judging.compile_output,
        submitted_at=iso(row["submitted_at_ms"]),
        judged_at=iso_or_none(row["judged_at_ms"]),
        judge_error=judging.judge_error if viewer.is_staff else None,
    )


async def run(database: Database, redis: Redis, run_id: str, viewer: Caller) -> RunView:
    """Return a run in full, with its own output."""
    row = await submission_row(database, run_id, viewer, Kind.RUN)
    judging = await _judging(database, redis, row)
    return RunView(
        id=row["id"],
        problem_id=row["problem_id"],
        language=row["language"],
        state=judging.state,
        attempt=row["attempt"],
        verdict=judging.verdict,
        tests=judging.tests,
        compile_output=judging.compile_output,
        output=judging.output,
        submitted_at=iso(row["submitted_at_ms"]),
        judged_at=iso_or_none(row["judged_at_ms"]),
    )


class _Judging(msgspec.Struct, frozen=True):
    """How far a judging came."""

    state: State
    verdict: Verdict | None
    tests: list[TestView]
    tests_total: int
    compile_output: str = ""
    output: str = ""
    judge_error: str = ""


async def _judging(database: Database, redis: Redis, row: Row) -> _Judging:
    if row["verdict"] is None:
        steps = await _steps(redis, row)
        tests = [_test_view(step.test) for step in steps if step.test is not None]
        return _Judging(_state_of(steps), None, tests, steps[-1].tests_total if steps else 0)
    log = await _log_line(database, row)
    tests = [_test_view(test) for test in _decode_tests(log["tests"])]
    return _Judging(
        State.JUDGED,
        Verdict(row["verdict"]),
        tests,
        len(tests),
        log["compile_output"],
        log["output"],
        log["judge_error"],
    )


async def _log_line(database: Database, row: Row) -> Row:
    log = await database.fetch_one(
        "SELECT tests, compile_output, output, judge_error FROM verdicts WHERE submission_id = $1 AND attempt = $2",
        row["id"],
        row["attempt"],
    )
    if log is None:  # read between two commits of a rejudging
        raise Busy("This submission is changing; ask again.", retry_after_s=1)
    return log


async def _steps(redis: Redis, row: Row) -> list[Progress]:
    return [step for step in await so_far(redis, row["id"]) if step.attempt == row["attempt"]]


def _state_of(steps: list[Progress]) -> State:
    return State(steps[-1].state) if steps else State.QUEUED


def _test_view(test: TestResult) -> TestView:
    return TestView(test.number, test.verdict, test.cpu_ms, test.wall_ms, test.memory_kb)


async def judging_steps(database: Database, redis: Redis, submission_id: str) -> Steps:
    """Return a judging so far as events, for a stream whose watcher was let in already."""
    # Progress first: when it is gone because the verdict is there, the database, read later, has the verdict.
    steps = await so_far(redis, submission_id)
    row = await database.fetch_one("SELECT id, attempt, verdict, score FROM submissions WHERE id = $1", submission_id)
    if row is None:
        raise NotFound(NO_SUBMISSION)
    if row["verdict"] is None:
        return encode_steps(submission_id, row["attempt"], steps)
    tests = _decode_tests((await _log_line(database, row))["tests"])
    return encode_judged(submission_id, row["attempt"], tests, Verdict(row["verdict"]), row["score"])


async def board_page(
    rpc: Rpc, boards: Boards, contest_id: str, view: BoardView, *, offset: int, limit: int
) -> BoardPage:
    """Return rows of a board, which is built first where it is missing."""
    return await _built(rpc, contest_id, lambda: boards.page(contest_id, view, offset=offset, limit=limit))


async def board_neighbours(
    rpc: Rpc, boards: Boards, contest_id: str, view: BoardView, user_id: str, *, around: int
) -> BoardPage:
    """Return a contestant's row among its neighbours; NotFound when they do not take part."""
    page = await _built(rpc, contest_id, lambda: boards.neighbours(contest_id, view, user_id, around=around))
    if not page.rows:
        raise NotFound("They do not take part in this contest.")
    return page


async def _built(rpc: Rpc, contest_id: str, read: Callable[[], Awaitable[BoardPage | None]]) -> BoardPage:
    """Read a board; when it is not there, or somebody has spoiled it, have it built and read it again."""
    epoch = ""
    try:
        page = await read()
    except UnreadableBoard as error:
        _log.error("board_unreadable", contest=contest_id, error=error.detail)
        page, epoch = None, error.epoch
    if page is not None:
        return page
    await rpc.call("leaderboard", BuildBoard(contest_id=contest_id, unreadable_epoch=epoch), timeout=BUILD_TIMEOUT_S)
    with suppress(UnreadableBoard):  # spoiled once more
        page = await read()
    if page is None:
        raise Busy("The board is being built; come again in a moment.", retry_after_s=1)
    return page
