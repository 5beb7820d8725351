"""What the API answers with, as Structs: the same for JSON, for OpenAPI and for the first paint of pages.

Times are ISO 8601 UTC with milliseconds, durations ``_ms``, memory ``_kb``, identifiers opaque strings, scores points with up to two decimals.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from actors.boards import BoardPage, BoardRow
from contracts.life import State
from contracts.messages import Role
from contracts.scoring import Cell, Rules
from contracts.verdicts import Verdict

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"}, examples=["2026-01-31T12:00:00.000Z"])]
Points = int | float


def iso(at_ms: int) -> str:
    """Return Unix milliseconds as ISO 8601 UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at_ms: int | None) -> str | None:
    """Return the time, or None without one."""
    return None if at_ms is None else iso(at_ms)


def points(hundredths: int) -> Points:
    """Return hundredths as points, whole ones without a decimal."""
    return hundredths // 100 if hundredths % 100 == 0 else hundredths / 100


class UserView(msgspec.Struct, frozen=True):
    """Somebody, as they see themselves."""

    id: str
    username: str
    email: str
    role: Role
    created_at: Time


class SessionView(msgspec.Struct, frozen=True):
    """Who is signed in, and the token that every unsafe request of this session carries (empty with an API token, which needs none)."""

    user: UserView
    csrf_token: str


class ApiTokenView(msgspec.Struct, frozen=True):
    """A personal API token without its secret."""

    id: str
    name: str
    created_at: Time
    expires_at: Time | None


class ApiTokenList(msgspec.Struct, frozen=True):
    """Live API tokens, newest first."""

    items: list[ApiTokenView]
    next_cursor: str | None = None


class NewApiToken(msgspec.Struct, frozen=True):
    """A personal API token; ``token`` is shown this once."""

    id: str
    name: str
    token: str
    expires_at: Time | None


class ContestView(msgspec.Struct, frozen=True):
    """A contest; ``state`` follows from the time, ``is_registered`` concerns the caller."""

    id: str
    title: str
    description: str
    rules: Rules
    state: str
    start: Time
    end: Time
    freeze: Time | None
    visibility: str
    participants: int
    is_registered: bool


class ContestList(msgspec.Struct, frozen=True):
    """One page of contests, the latest start first."""

    items: list[ContestView]
    next_cursor: str | None


class RegistrationView(msgspec.Struct, frozen=True):
    """Somebody takes part."""

    contest_id: str
    user_id: str


class ContestProblemView(msgspec.Struct, frozen=True):
    """A problem's place in a contest; ``own`` is what the caller made of it there: solved, attempted, pending or untouched."""

    problem_id: str
    label: str
    colour: str
    points: Points
    title: str
    slug: str
    time_limit_ms: int
    memory_limit_kb: int
    solved_by: int
    own: str


class ContestProblemList(msgspec.Struct, frozen=True):
    """All problems of a contest, by label."""

    items: list[ContestProblemView]
    next_cursor: str | None = None


class AttachedProblem(msgspec.Struct, frozen=True):
    """A problem as it was put into a contest."""

    contest_id: str
    problem_id: str
    label: str
    colour: str
    points: Points


class ProblemItem(msgspec.Struct, frozen=True):
    """A problem in a list."""

    id: str
    slug: str
    title: str
    time_limit_ms: int
    memory_limit_kb: int
    solved_by: int
    own: str


class ProblemList(msgspec.Struct, frozen=True):
    """One page of the problems that the caller may see."""

    items: list[ProblemItem]
    next_cursor: str | None


class SampleView(msgspec.Struct, frozen=True):
    """One published example."""

    name: str
    input: str
    answer: str


class LanguageView(msgspec.Struct, frozen=True):
    """A language that a judge offers now."""

    id: str
    name: str
    version: str


class ProblemView(msgspec.Struct, frozen=True):
    """A problem in full: never its hidden tests. ``is_flagged`` is for staff: the package differs from its own annotations."""

    id: str
    slug: str
    title: str
    version: int
    statement_html: str
    statement_source: str
    samples: list[SampleView]
    time_limit_ms: int
    memory_limit_kb: int
    output_limit_kb: int
    source_limit_kb: int
    tests_total: int
    author: str
    license: str
    languages: list[LanguageView]
    contests: list[str]
    own: str
    is_flagged: bool | None = None


class FindingView(msgspec.Struct, frozen=True):
    """One line of a package's verification; ``level`` is ok, warning or error, ``subject`` the file that it is about."""

    level: str
    subject: str
    detail: str


class ImportReport(msgspec.Struct, frozen=True):
    """How a package's own submissions were judged. Not clean: one came out differently than the package says."""

    is_clean: bool
    findings: list[FindingView]


class ImportedProblem(msgspec.Struct, frozen=True):
    """A package is kept as this version of the problem."""

    problem_id: str
    title: str
    version: int
    report: ImportReport


class TestView(msgspec.Struct, frozen=True):
    """One test's result; nothing of its data."""

    __test__ = False  # not a pytest class

    number: int
    verdict: Verdict
    cpu_ms: int
    wall_ms: int
    memory_kb: int


class SubmissionItem(msgspec.Struct, frozen=True):
    """A submission in a list."""

    id: str
    user_id: str
    username: str
    problem_id: str
    problem_title: str
    contest_id: str | None
    language: str
    state: State
    verdict: Verdict | None
    score: Points
    submitted_at: Time
    judged_at: Time | None


class SubmissionList(msgspec.Struct, frozen=True):
    """One page of submissions, newest first."""

    items: list[SubmissionItem]
    next_cursor: str | None


class SubmissionView(msgspec.Struct, frozen=True, kw_only=True):
    """A submission in full. While it is judged, ``tests`` holds what is known so far. ``judge_error`` is for staff."""

    id: str
    user_id: str
    username: str
    problem_id: str
    problem_title: str
    contest_id: str | None
    language: str
    source: str
    state: State
    attempt: int
    verdict: Verdict | None
    score: Points
    tests: list[TestView]
    tests_total: int
    compile_output: str
    submitted_at: Time
    judged_at: Time | None
    judge_error: str | None = None


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run on own input or the samples: counts for nothing."""

    id: str
    problem_id: str
    language: str
    state: State
    attempt: int
    verdict: Verdict | None
    tests: list[TestView]
    compile_output: str
    output: str
    submitted_at: Time
    judged_at: Time | None


class AcceptedSubmission(msgspec.Struct, frozen=True):
    """The submission is durable and will be judged."""

    submission_id: str


class AcceptedRun(msgspec.Struct, frozen=True):
    """The run is accepted."""

    run_id: str


class RejudgingView(msgspec.Struct, frozen=True):
    """How many submissions are judged again; ``rejudging_id`` is null for a dry run."""

    rejudging_id: str | None
    submissions: int


class CellView(msgspec.Struct, frozen=True):
    """One contestant on one problem; ``time_ms`` from the contest's start, -1 without a success."""

    solved: bool
    attempts: int
    pending: int
    time_ms: int
    score: Points


class RowView(msgspec.Struct, frozen=True):
    """One contestant. ``score``: problems solved (ICPC) or points (IOI); ``penalty`` in minutes; cells by problem, untouched ones left out.

    Order: score down, penalty up, last_ms up (in whole seconds); equal ones share a rank.
    """

    rank: int
    user_id: str
    username: str
    score: Points
    penalty: int
    last_ms: int
    cells: dict[str, CellView]


class LeaderboardView(msgspec.Struct, frozen=True):
    """Rows from place ``offset`` on, all of one version; versions only rise."""

    contest_id: str
    epoch: str
    version: int
    frozen: bool
    total: int
    offset: int
    rows: list[RowView]


class LeaderboardUpdate(msgspec.Struct, frozen=True):
    """One row changed (event ``update``): put it in its place; the ranks of those it passed follow from the order."""

    contest_id: str
    version: int
    total: int
    row: RowView


class StateEvent(msgspec.Struct, frozen=True):
    """The judging entered a state (event ``state``)."""

    submission_id: str
    attempt: int
    state: str
    tests_total: int


class TestEvent(msgspec.Struct, frozen=True):
    """One test was judged (event ``test``)."""

    __test__ = False  # not a pytest class

    submission_id: str
    attempt: int
    tests_total: int
    number: int
    verdict: Verdict
    cpu_ms: int
    wall_ms: int
    memory_kb: int


class VerdictEvent(msgspec.Struct, frozen=True):
    """The verdict (event ``verdict``), the last event of the stream."""

    submission_id: str
    attempt: int
    verdict: Verdict
    score: Points


class ResetEvent(msgspec.Struct, frozen=True):
    """Forget what this stream said before (event ``reset``): events were missed, and a fresh picture follows."""

    reason: str


def cell_view(cell: Cell) -> CellView:
    """Return a cell in the API's shape."""
    return CellView(cell.solved, cell.attempts, cell.pending, cell.time_ms, points(cell.score))


def row_view(row: BoardRow, rules: Rules) -> RowView:
    """Return a board's row in the API's shape."""
    score = points(row.score) if rules is Rules.IOI else row.score
    cells = {problem: cell_view(cell) for problem, cell in row.cells.items()}
    return RowView(row.rank, row.user_id, row.username, score, row.penalty, row.last_ms, cells)


def leaderboard_view(page: BoardPage, rules: Rules) -> LeaderboardView:
    """Return a page of a board in the API's shape."""
    rows = [row_view(row, rules) for row in page.rows]
    return LeaderboardView(page.contest_id, page.epoch, page.version, page.frozen, page.total, page.offset, rows)
