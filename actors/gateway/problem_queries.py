"""Reads of problems: what a problem shows, and to whom.

A problem is visible to staff; to everybody who may see a contest that has started with it; and, when it is public, to everybody as long as no contest that
is still to start has it, and none that runs and is a secret to them. Hidden tests are in the package, which nothing here reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.gateway.cursors import PageQuery, decode_cursor, encode_cursor
from actors.gateway.identity import Caller
from actors.gateway.queries import Parameters, contest_row, contest_visible
from actors.gateway.views import (
    ContestProblemList,
    ContestProblemView,
    LanguageView,
    ProblemItem,
    ProblemList,
    ProblemView,
    SampleView,
    points,
)
from actors.languages import offered
from actors.problems import decode_summary
from contracts.errors import NotFound
from contracts.ports import Database, Redis, WallClock

NO_PROBLEM = "There is no such problem."
KNOWN_LANGUAGES = (
    LanguageView("c", "C", ""),
    LanguageView("cpp", "C++", ""),
    LanguageView("go", "Go", ""),
    LanguageView("java", "Java", ""),
    LanguageView("javascript", "JavaScript", ""),
    LanguageView("python", "Python", ""),
    LanguageView("rust", "Rust", ""),
)
SOURCE_LIMIT_KB = 64


class _Brief(msgspec.Struct, frozen=True):
    """What a list needs of a summary."""

    time_limit_ms: int
    memory_limit_kb: int


class _Terms(msgspec.Struct, frozen=True):
    """What a submission needs of a summary."""

    source_limit_kb: int = SOURCE_LIMIT_KB
    languages: tuple[str, ...] = ()


_decode_terms = msgspec.json.Decoder(_Terms).decode
_decode_brief = msgspec.json.Decoder(_Brief).decode


def problem_visible(viewer: Caller | None, parameters: Parameters, now_ms: int) -> str:
    """Return the SQL condition under which ``viewer`` may see problem ``p``."""
    if viewer is not None and viewer.is_staff:
        return "1 = 1"
    now = parameters.add(now_ms)
    placed = (
        "SELECT 1 FROM contest_problems cp JOIN contests c ON c.id = cp.contest_id WHERE cp.problem_id = p.id AND c."
    )
    is_known = contest_visible(viewer, parameters)
    return (
        f"(EXISTS ({placed}starts_at_ms <= {now} AND {is_known})"
        f" OR (p.is_public AND NOT EXISTS ({placed}ends_at_ms > {now} AND (c.starts_at_ms > {now} OR NOT {is_known}))))"
    )


async def languages(redis: Redis) -> list[LanguageView]:
    """Return what judges offer now; while none is up, what submissions are accepted for."""
    offers = await offered(redis)
    return [LanguageView(offer.id, offer.name, offer.version) for offer in offers] or list(KNOWN_LANGUAGES)


def allowed(offers: list[LanguageView], names: Sequence[str]) -> list[LanguageView]:
    """Return those of the languages on offer that a problem allows (``names`` empty: all)."""
    return [offer for offer in offers if not names or offer.id in names]


async def terms(
    database: Database, redis: Redis, problem_id: str, viewer: Caller | None, now_ms: int
) -> tuple[list[LanguageView], int]:
    """Return in which languages and up to how many bytes a problem may be answered; NotFound unless ``viewer`` may see it."""
    parameters = Parameters()
    row = await database.fetch_one(
        "SELECT v.summary FROM problems p JOIN problem_versions v ON v.problem_id = p.id AND v.version = p.version"  # noqa: S608
        f" WHERE p.id = {parameters.add(problem_id)} AND {problem_visible(viewer, parameters, now_ms)}",
        *parameters.values,
    )
    if row is None:
        raise NotFound(NO_PROBLEM)
    summary = _decode_terms(row["summary"])
    return allowed(await languages(redis), summary.languages), 1024 * min(SOURCE_LIMIT_KB, summary.source_limit_kb)


async def problem(
    database: Database, redis: Redis, clock: WallClock, problem_id: str, viewer: Caller | None
) -> ProblemView:
    """Return a problem in full; NotFound when there is none that ``viewer`` may see."""
    parameters = Parameters()
    now_ms = clock.now_ms()
    row = await database.fetch_one(
        "SELECT p.id, p.slug, p.version, v.summary, v.is_flagged FROM problems p"  # noqa: S608 - conditions of our own
        " JOIN problem_versions v ON v.problem_id = p.id AND v.version = p.version"
        f" WHERE p.id = {parameters.add(problem_id)} AND {problem_visible(viewer, parameters, now_ms)}",
        *parameters.values,
    )
    if row is None:
        raise NotFound(NO_PROBLEM)
    summary = decode_summary(row["summary"])
    is_staff = viewer is not None and viewer.is_staff
    own = await own_states(database, viewer, [problem_id])
    return ProblemView(
        id=row["id"],
        slug=row["slug"],
        title=summary.title,
        version=row["version"],
        statement_html=summary.statement_html,
        statement_source=summary.statement_source,
        samples=[SampleView(sample.name, sample.input, sample.answer) for sample in summary.samples],
        time_limit_ms=summary.time_limit_ms,
        memory_limit_kb=summary.memory_limit_kb,
        output_limit_kb=summary.output_limit_kb,
        source_limit_kb=min(SOURCE_LIMIT_KB, summary.source_limit_kb),
        tests_total=summary.tests_total,
        author=summary.author,
        license=summary.license,
        languages=allowed(await languages(redis), summary.languages),
        contests=await _contests_of(database, problem_id, viewer, now_ms),
        own=own.get(problem_id, "untouched"),
        is_flagged=bool(row["is_flagged"]) if is_staff else None,
    )


async def _contests_of(database: Database, problem_id: str, viewer: Caller | None, now_ms: int) -> list[str]:
    """Return the running contests with this problem: there, not in practice, is where it is submitted now."""
    parameters = Parameters()
    now = parameters.add(now_ms)
    rows = await database.fetch(
        "SELECT c.id FROM contest_problems cp JOIN contests c ON c.id = cp.contest_id"  # noqa: S608 - conditions of our own
        f" WHERE cp.problem_id = {parameters.add(problem_id)} AND c.starts_at_ms <= {now} AND c.ends_at_ms > {now}"
        f" AND {contest_visible(viewer, parameters)} ORDER BY c.id LIMIT 20",
        *parameters.values,
    )
    return [row["id"] for row in rows]


async def problems(database: Database, clock: WallClock, page: PageQuery, viewer: Caller | None) -> ProblemList:
    """Return one page of the problems that ``viewer`` may see, newest first."""
    parameters = Parameters()
    text = (
        "SELECT p.id, p.slug, p.title, v.summary FROM problems p"  # noqa: S608 - conditions of our own
        " JOIN problem_versions v ON v.problem_id = p.id AND v.version = p.version"
        f" WHERE {problem_visible(viewer, parameters, clock.now_ms())}"
    )
    if page.cursor is not None:
        (last,) = decode_cursor(page.cursor, tuple[str])
        text += f" AND p.id < {parameters.add(last)}"
    rows = await database.fetch(f"{text} ORDER BY p.id DESC LIMIT {page.limit + 1}", *parameters.values)
    next_cursor = None
    if len(rows) > page.limit:
        rows = rows[: page.limit]
        next_cursor = encode_cursor(rows[-1]["id"])
    ids = [row["id"] for row in rows]
    own, solved = await own_states(database, viewer, ids), await solved_by(database, ids)
    items = []
    for row in rows:
        brief = _decode_brief(row["summary"])
        items.append(
            ProblemItem(
                row["id"],
                row["slug"],
                row["title"],
                brief.time_limit_ms,
                brief.memory_limit_kb,
                solved.get(row["id"], 0),
                own.get(row["id"], "untouched"),
            )
        )
    return ProblemList(items, next_cursor)


async def contest_problems(
    database: Database, clock: WallClock, contest_id: str, viewer: Caller | None
) -> ContestProblemList:
    """Return a contest's problems by label; NotFound before its start, as if there were no contest with problems."""
    contest = await contest_row(database, contest_id, viewer)
    is_staff = viewer is not None and viewer.is_staff
    if clock.now_ms() < contest["starts_at_ms"] and not is_staff:
        raise NotFound("The problems are shown when the contest starts.")
    rows = await database.fetch(
        "SELECT cp.*, p.slug, p.title, v.summary FROM contest_problems cp JOIN problems p ON p.id = cp.problem_id"
        " JOIN problem_versions v ON v.problem_id = p.id AND v.version = p.version WHERE cp.contest_id = $1 ORDER BY cp.label",
        contest_id,
    )
    ids = [row["problem_id"] for row in rows]
    own = await own_states(database, viewer, ids, contest_id)
    solved = await solved_by(database, ids, contest_id)
    items = []
    for row in rows:
        brief = _decode_brief(row["summary"])
        items.append(
            ContestProblemView(
                problem_id=row["problem_id"],
                label=row["label"],
                colour=row["colour"],
                points=points(row["points"]),
                title=row["title"],
                slug=row["slug"],
                time_limit_ms=brief.time_limit_ms,
                memory_limit_kb=brief.memory_limit_kb,
                solved_by=solved.get(row["problem_id"], 0),
                own=own.get(row["problem_id"], "untouched"),
            )
        )
    return ContestProblemList(items)


async def own_states(
    database: Database, viewer: Caller | None, problem_ids: Sequence[str], contest_id: str | None = None
) -> dict[str, str]:
    """Return what ``viewer`` made of these problems (in one contest): solved, pending or attempted; untouched ones are left out."""
    if viewer is None or not problem_ids:
        return {}
    parameters = Parameters()
    text = (
        "SELECT problem_id, MAX(CASE WHEN verdict = 'AC' THEN 1 ELSE 0 END) AS solved,"  # noqa: S608 - placeholders only
        " MAX(CASE WHEN verdict IS NULL THEN 1 ELSE 0 END) AS pending FROM submissions"
        f" WHERE user_id = {parameters.add(viewer.user_id)} AND kind = 'submission'"
        f" AND problem_id IN ({', '.join(map(parameters.add, problem_ids))})"
    )
    if contest_id is not None:
        text += f" AND contest_id = {parameters.add(contest_id)}"
    rows = await database.fetch(f"{text} GROUP BY problem_id", *parameters.values)
    return {
        row["problem_id"]: "solved" if row["solved"] else "pending" if row["pending"] else "attempted" for row in rows
    }


async def solved_by(database: Database, problem_ids: Sequence[str], contest_id: str | None = None) -> dict[str, int]:
    """Return by how many people each problem was solved. What a frozen board hides is not counted here either."""
    if not problem_ids:
        return {}
    parameters = Parameters()
    text = (
        "SELECT s.problem_id, COUNT(DISTINCT s.user_id) AS people FROM submissions s LEFT JOIN contests c ON c.id = s.contest_id"  # noqa: S608
        " WHERE s.kind = 'submission' AND s.verdict = 'AC' AND (c.freezes_at_ms IS NULL OR s.submitted_at_ms < c.freezes_at_ms)"
        f" AND s.problem_id IN ({', '.join(map(parameters.add, problem_ids))})"
    )
    if contest_id is not None:
        text += f" AND s.contest_id = {parameters.add(contest_id)}"
    rows = await database.fetch(f"{text} GROUP BY s.problem_id", *parameters.values)
    return {row["problem_id"]: int(row["people"]) for row in rows}


async def problem_by_label(database: Database, contest_id: str, label: str) -> str:
    """Return the identifier of a contest's problem; NotFound without one. Says nothing of who may see it."""
    row = await database.fetch_one(
        "SELECT problem_id FROM contest_problems WHERE contest_id = $1 AND label = $2", contest_id, label
    )
    if row is None:
        raise NotFound(NO_PROBLEM)
    return str(row["problem_id"])


async def problem_by_slug(database: Database, slug: str) -> str | None:
    """Return the identifier of the problem with this slug."""
    row = await database.fetch_one("SELECT id FROM problems WHERE slug = $1", slug)
    return None if row is None else str(row["id"])
