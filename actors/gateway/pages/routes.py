"""The page routes: first paint from the same reads as the API, then the page's scripts take over.

A page whose reader's session has run out sends them through ``/refresh``, which exchanges the refresh cookie and comes back.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from quart import Blueprint, Response, redirect, request

from actors.boards import BoardView
from actors.gateway import problem_queries, queries, submission_queries
from actors.gateway.bodies import decode_query
from actors.gateway.cursors import PageQuery
from actors.gateway.identity import Caller
from actors.gateway.pages import palette, present
from actors.gateway.pages.assets import Assets
from actors.gateway.pages.files import add_files
from actors.gateway.pages.render import HERE, error_of, identity, page, prepare
from actors.gateway.services import Services
from actors.gateway.views import ContestProblemView, ContestView, LeaderboardView, SubmissionItem, leaderboard_view
from contracts.errors import CodeWarzError, NotFound, Unauthenticated, Unavailable
from contracts.scoring import Rules
from contracts.verdicts import Verdict

BOARD_ROWS = 100
LANDING_ROWS = 5
LISTED = 50
# Filtering by verdict happens while reading, so one page looks at no more than this many submissions of one user.
SCANNED_MOST = 500
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
_LANDING_COLOURS = ("e5484d", "3e63dd", "f5d90a")
_WITHOUT_SESSION = {"pages.refresh", "pages.signin", "pages.signup", "pages.static_file", "pages.palette_file"}


class BoardQuery(msgspec.Struct, frozen=True):
    """Which part of the standings."""

    page: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1


class MineQuery(msgspec.Struct, frozen=True):
    """Which of one's submissions; empty filters are none."""

    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    contest_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    problem_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    verdict: Annotated[str, msgspec.Meta(max_length=3)] = ""


def make_pages(services: Services) -> Blueprint:
    """Return the blueprint of every page, of the static files and of the balloons' colours."""
    pages = Blueprint("pages", __name__, template_folder=str(HERE / "templates"))
    assets = Assets(HERE / "static")
    prepare(pages, assets, services)
    pages.register_error_handler(CodeWarzError, _failed)
    pages.before_request(_renew)
    add_files(pages, assets)
    reader = _Reader(services)
    for rule, view in (
        ("/", reader.landing),
        ("/contests", reader.contests),
        ("/contests/<contest_id>", reader.contest),
        ("/contests/<contest_id>/problems/<label>", reader.contest_problem),
        ("/contests/<contest_id>/leaderboard", reader.leaderboard),
        ("/problems", reader.problems),
        ("/problems/<problem_id>", reader.problem),
        ("/submissions", reader.submissions),
        ("/submissions/<submission_id>", reader.submission),
        ("/signin", _signin),
        ("/signup", _signup),
        ("/refresh", _refresh),
    ):
        pages.add_url_rule(rule, endpoint=view.__name__.strip("_"), view_func=view, methods=["GET"])
    return pages


# ---- who comes in ----------------------------------------------------------------------------------------------------


def own_path(wanted: str) -> str:
    """Return ``wanted`` when it is a path of this site, else "": a link must not send anybody elsewhere after signing in."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_ours and len(wanted) <= 512 else ""


def _here() -> str:
    """Return where the reader wanted to go, as far as it is worth coming back to: an address of any length would become a header three times as long."""
    query = request.query_string.decode("latin-1")
    return own_path(f"{request.path}?{query}" if query else request.path) or own_path(request.path)


async def _renew() -> Any:
    if identity().expired is not None and request.endpoint not in _WITHOUT_SESSION:
        return redirect(f"/refresh?next={quote(_here(), safe='/')}", code=303)
    return None


async def _failed(error: CodeWarzError) -> Any:
    if isinstance(error, Unauthenticated):
        return redirect(f"/signin?next={quote(_here(), safe='/')}", code=303)
    return await error_of(error)


async def _form(template: str) -> Any:
    wanted = own_path(request.args.get("next", ""))
    if identity().caller is not None:
        return redirect(wanted or "/contests", code=303)
    return await page(template, next=wanted)


async def _signin() -> Any:
    return await _form("signin.html")


async def _signup() -> Any:
    return await _form("signup.html")


async def _refresh() -> Any:
    wanted = own_path(request.args.get("next", "")) or "/"
    if identity().expired is None:
        return redirect(wanted, code=303)
    return await page("refresh.html", next=wanted)


def _require_id(*ids: str) -> None:
    for each in ids:
        if _ID.match(each) is None:
            raise NotFound("There is no such thing here.")


def _palette(problems: list[ContestProblemView] | None) -> str | None:
    return palette.palette_url(palette.colour_code(each.colour, each.label) for each in problems or ())


# ---- pages -----------------------------------------------------------------------------------------------------------


class _Reader:
    """The pages that show something of the house."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def landing(self) -> Response:
        viewer = identity().caller
        listed = (await queries.contests(self._database, self._services.clock, PageQuery(limit=LISTED), viewer)).items
        # Latest start first: of the running ones the newest, of the coming ones the next.
        running = next((each for each in listed if each.state in ("running", "frozen")), None)
        upcoming = next((each for each in reversed(listed) if each.state == "upcoming"), None)
        problems: list[ContestProblemView] = []
        rows = []
        if running is not None:
            problems = await self._problems(running, viewer) or []
            board = await self._board(running, offset=0, limit=LANDING_ROWS)
            rows = board.rows if board is not None else []
        codes = [palette.colour_code(each.colour, each.label) for each in problems]
        offers = await problem_queries.languages(self._services.redis)
        return await page(
            "landing.html",
            running=running,
            upcoming=upcoming,
            problems=problems,
            rows=rows,
            languages_fact=[f"{len(offers)} languages" if len(offers) > 1 else offers[0].name] if offers else [],
            palette=palette.palette_url([*codes, *_LANDING_COLOURS]),
        )

    async def contests(self) -> Response:
        query = decode_query(request.args, PageQuery)
        listed = await queries.contests(self._database, self._services.clock, query, identity().caller)
        return await page("contests.html", contests=listed.items, next_cursor=listed.next_cursor)

    async def contest(self, contest_id: str) -> Response:
        contest = await self._contest(contest_id)
        problems = await self._problems(contest, identity().caller)
        return await page("contest.html", contest=contest, problems=problems, palette=_palette(problems))

    async def contest_problem(self, contest_id: str, label: str) -> Response:
        _require_id(label)
        contest = await self._contest(contest_id)
        problems = await self._problems(contest, identity().caller)
        place = next((each for each in problems or () if each.label == label), None)
        if place is None:
            raise NotFound(problem_queries.NO_PROBLEM)
        return await self._problem_page(place.problem_id, contest=contest, place=place)

    async def problem(self, problem_id: str) -> Response:
        _require_id(problem_id)
        return await self._problem_page(problem_id, contest=None, place=None)

    async def _problem_page(
        self, problem_id: str, *, contest: ContestView | None, place: ContestProblemView | None
    ) -> Response:
        problem = await problem_queries.problem(
            self._database, self._services.redis, self._services.clock, problem_id, identity().caller
        )
        return await page(
            "problem.html",
            problem=problem,
            contest=contest,
            place=place,
            own=problem.own if place is None else place.own,
            palette=_palette([place] if place is not None else None),
        )

    async def problems(self) -> Response:
        query = decode_query(request.args, PageQuery)
        listed = await problem_queries.problems(self._database, self._services.clock, query, identity().caller)
        return await page("problems.html", problems=listed.items, next_cursor=listed.next_cursor)

    async def leaderboard(self, contest_id: str) -> Response:
        viewer = identity().caller
        contest = await self._contest(contest_id)
        query = decode_query(request.args, BoardQuery)
        offset = (query.page - 1) * BOARD_ROWS
        board = await self._board(contest, offset=offset, limit=BOARD_ROWS)
        problems = await self._problems(contest, viewer) or []
        is_whole = board is not None and len(board.rows) == board.total and contest.rules is Rules.ICPC
        mine_here = (
            board is not None and viewer is not None and any(row.user_id == viewer.user_id for row in board.rows)
        )
        mine, mine_page = None, 1
        if board is not None and viewer is not None and contest.is_registered and not mine_here:
            mine, mine_page = await self._mine(contest, viewer)
        return await page(
            "leaderboard.html",
            contest=contest,
            problems=problems,
            board=board,
            firsts=present.first_solvers(board.rows) if board is not None and is_whole else {},
            limit=BOARD_ROWS,
            page=query.page,
            pages=-(-board.total // BOARD_ROWS) if board is not None else 1,
            mine=mine,
            mine_page=mine_page,
            mine_is_here=mine_here,
            palette=_palette(problems),
        )

    async def submissions(self) -> Response:
        viewer = self._user()
        query = decode_query(request.args, MineQuery)
        verdict = Verdict(query.verdict) if query.verdict in set(Verdict) else None
        items, cursor = await self._own_submissions(query, verdict, viewer)
        contest = await self._contest(query.contest_id) if query.contest_id else None
        kept = {"contest_id": query.contest_id, "problem_id": query.problem_id, "verdict": verdict or ""}
        kept = {name: value for name, value in kept.items() if value}
        return await page(
            "submissions.html",
            submissions=items,
            languages=await self._languages(),
            contest=contest,
            problem_id=query.problem_id,
            problem_choices=await self._choices(viewer, query.contest_id),
            verdict=verdict,
            verdicts=list(Verdict),
            next_url=f"/submissions?{urlencode({**kept, 'cursor': cursor})}" if cursor else None,
        )

    async def submission(self, submission_id: str) -> Response:
        viewer = self._user()
        _require_id(submission_id)
        found = await submission_queries.submission(self._database, self._services.redis, submission_id, viewer)
        problem_url, rules = f"/problems/{found.problem_id}", Rules.ICPC
        if found.contest_id is not None:
            problem_url, rules = await self._place(found.contest_id, found.problem_id, viewer)
        return await page(
            "submission.html",
            submission=found,
            language=(await self._languages()).get(found.language, found.language),
            lines=found.source.removesuffix("\n").count("\n") + 1,
            problem_url=problem_url,
            rules=rules,
            model_json=msgspec.json.encode(
                {"state": found.state, "tests": found.tests, "tests_total": found.tests_total}
            ).decode(),
        )

    # ---- reads -----------------------------------------------------------------------------------------------------

    def _user(self) -> Caller:
        caller = identity().caller
        if caller is None:
            raise Unauthenticated("Sign in first.")
        return caller

    async def _contest(self, contest_id: str) -> ContestView:
        _require_id(contest_id)
        return await queries.contest(self._database, self._services.clock, contest_id, identity().caller)

    async def _problems(self, contest: ContestView, viewer: Caller | None) -> list[ContestProblemView] | None:
        """Return a contest's problems, None while they are sealed."""
        try:
            listed = await problem_queries.contest_problems(self._database, self._services.clock, contest.id, viewer)
        except NotFound:
            return None
        return listed.items

    async def _board(self, contest: ContestView, *, offset: int, limit: int) -> LeaderboardView | None:
        """Return rows of the public standings; None while they cannot be had: the page is still worth showing."""
        try:
            found = await submission_queries.board_page(
                self._services.rpc, self._services.boards, contest.id, BoardView.PUBLIC, offset=offset, limit=limit
            )
        except Unavailable:
            return None
        return leaderboard_view(found, contest.rules)

    async def _mine(self, contest: ContestView, viewer: Caller) -> tuple[Any, int]:
        """Return the viewer's own row and the page of the board that it is on."""
        try:
            found = await submission_queries.board_neighbours(
                self._services.rpc, self._services.boards, contest.id, BoardView.PUBLIC, viewer.user_id, around=1
            )
        except (NotFound, Unavailable):
            return None, 1
        for place, row in enumerate(found.rows):
            if row.user_id == viewer.user_id:
                return row, (found.offset + place) // BOARD_ROWS + 1
        return None, 1

    async def _own_submissions(
        self, query: MineQuery, verdict: Verdict | None, viewer: Caller
    ) -> tuple[list[SubmissionItem], str | None]:
        items: list[SubmissionItem] = []
        cursor, scanned = query.cursor, 0
        while True:
            listed = await submission_queries.submissions(
                self._database,
                self._services.redis,
                submission_queries.SubmissionsQuery(
                    limit=LISTED,
                    cursor=cursor,
                    contest_id=query.contest_id or None,
                    problem_id=query.problem_id or None,
                    user_id=viewer.user_id,
                ),
                viewer,
            )
            items += [each for each in listed.items if verdict is None or each.verdict is verdict]
            cursor, scanned = listed.next_cursor, scanned + LISTED
            if cursor is None or len(items) >= LISTED or scanned >= SCANNED_MOST:
                return items, cursor

    async def _languages(self) -> dict[str, str]:
        return {each.id: each.name for each in await problem_queries.languages(self._services.redis)}

    async def _choices(self, viewer: Caller, contest_id: str) -> list[tuple[str, str]]:
        """Return the problems that the viewer submitted to lately, by title, for the filter."""
        recent, _ = await self._own_submissions(MineQuery(contest_id=contest_id), None, viewer)
        found = {each.problem_id: each.problem_title for each in recent}
        return sorted(found.items(), key=lambda choice: choice[1].casefold())

    async def _place(self, contest_id: str, problem_id: str, viewer: Caller) -> tuple[str, Rules]:
        """Return where a contest's problem is shown, and how the contest is scored."""
        contest = await queries.contest(self._database, self._services.clock, contest_id, viewer)
        for each in await self._problems(contest, viewer) or ():
            if each.problem_id == problem_id:
                return f"/contests/{contest_id}/problems/{quote(each.label)}", contest.rules
        return f"/problems/{problem_id}", contest.rules
