"""Every SQL text of the actors is one that PostgreSQL can plan, so that what only SQLite understands fails here and not in a cluster; and may be run by the
login of each role that says it, so that a grant that is missing fails here as well.

Texts that stand in the code are found by reading it, and explained: for that the server looks at privileges, too. Those that are put together at run time are
run, in every way that they are put together; a call of which neither is true fails the test.
"""

from __future__ import annotations

import ast
import importlib
import random
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import asyncpg
import pytest

import actors
from actors.boards import Boards
from actors.core import accepting
from actors.core.desk import Desk
from actors.gateway import problem_queries, queries, submission_queries
from actors.gateway.cursors import PageQuery, encode_cursor
from actors.gateway.identity import Caller
from actors.gateway.submission_queries import SubmissionsQuery
from actors.projector import Log
from actors.queue_operations import QueueOperations
from actors.sweeper import PRIORITIES, Sweeper
from actors.system import Neighbours
from chaos.engines import Postgres
from contracts.errors import NotFound
from contracts.logins import TABLES, Kind
from contracts.messages import Role
from contracts.ports import Database, Row, Rpc, Sql, Transaction
from edge.aio import AsyncioLoop
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.postgres import PostgresDatabase
from edge.rpc import LocalRpc
from tests.actors import scenes
from tests.actors.scenes import HOUR_MS, submission
from tests.conftest import Clock, NoMeter
from tests.postgres import enforced, opened_as_each, url_of

METHODS = {"fetch", "fetch_one", "execute", "execute_many", "later"}
HOUSE = Path(actors.__file__).parent
pytestmark = pytest.mark.parametrize("database", ["postgres"], indirect=True)


class Site(NamedTuple):
    """One call that takes SQL."""

    file: str
    first: int
    last: int
    sql: str | None  # None where it is put together at run time

    def __str__(self) -> str:
        return f"{self.file}:{self.first}"


def sites() -> Iterator[Site]:
    for path in sorted(HOUSE.rglob("*.py")):
        if "problems" in path.relative_to(HOUSE).parts[1:-1]:
            continue  # packages of the demo contest
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                yield Site(str(path), node.lineno, node.end_lineno or node.lineno, text_of(node.args[0], path))


def text_of(expression: ast.expr, path: Path) -> str | None:
    """Return what an argument is, when the names in it are the module's."""
    module = importlib.import_module(".".join(("actors", *path.relative_to(HOUSE).with_suffix("").parts)))
    code = compile(ast.Expression(expression), str(path), "eval")
    if not set(code.co_names) <= set(vars(module)):
        return None
    text = eval(code, vars(module))
    assert isinstance(text, str)
    return text


STATIC = [site for site in sites() if site.sql is not None]
DYNAMIC = [site for site in sites() if site.sql is None]


def says(kind: Kind, site: Site) -> bool:
    """Whether a process with this login runs what stands there. Core's is also that of the whole house in one process."""
    place = Path(site.file).relative_to(HOUSE)
    if kind is Kind.LEADERBOARD:
        return place in (Path("projector.py"), Path("gateway/health.py"))
    return kind is Kind.CORE or place.parts[0] == "gateway" or place == Path("projector.py")  # codewarz board verify


@pytest.fixture
async def each(database: Database, postgres_engine: Postgres) -> AsyncIterator[dict[Kind, PostgresDatabase]]:
    """The database for each login."""
    await enforced(database)
    async with opened_as_each(postgres_engine.url) as opened:
        yield opened


@pytest.mark.parametrize(("kind", "least"), [(Kind.CORE, 80), (Kind.GATEWAY, 12), (Kind.LEADERBOARD, 5)])
async def test_what_stands_in_the_code_can_be_planned_and_may_be_run_by_whoever_says_it(
    each: dict[Kind, PostgresDatabase], postgres_engine: Postgres, kind: Kind, least: int
) -> None:
    said = [site for site in STATIC if says(kind, site)]
    assert len(said) >= least
    async with AsyncioLoop() as asyncio_loop:
        assert await asyncio_loop.call(explained, url_of(postgres_engine.url, kind), said) == {}


async def explained(url: str, texts: Sequence[Site]) -> dict[str, str]:
    connection = await asyncpg.connect(url, timeout=10)
    wrong = {str(site): f"{why}: {site.sql}" for site in texts if (why := await explain(connection, str(site.sql)))}
    await connection.close(timeout=10)
    return wrong


async def explain(connection: Any, sql: str) -> str:
    """Have the server plan a statement, and look whether it may be run; return why not."""
    try:
        parameters = (await connection.prepare(sql, timeout=10)).get_parameters()
        await connection.execute(f"PREPARE said AS {sql}", timeout=10)
        nothing = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
        await connection.execute(f"EXPLAIN EXECUTE said{nothing}", timeout=10)
    except asyncpg.PostgresError as error:
        return str(error)
    finally:
        await connection.execute("DEALLOCATE ALL", timeout=10)
    return ""


class Recorder:
    """A database that remembers from which calls it was asked, and what."""

    def __init__(self, database: Any, seen: dict[str, tuple[str, int]] | None = None) -> None:
        self._database = database
        self.seen = {} if seen is None else seen

    def _note(self, sql: str) -> None:
        frame = sys._getframe(2)
        self.seen[sql] = (frame.f_code.co_filename, frame.f_lineno)

    def has_seen(self, site: Site) -> bool:
        return any(file == site.file and site.first <= line <= site.last for file, line in self.seen.values())

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        self._note(sql)
        rows: list[Row] = await self._database.fetch(sql, *parameters)
        return rows

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        self._note(sql)
        row: Row | None = await self._database.fetch_one(sql, *parameters)
        return row

    async def execute(self, sql: str, *parameters: Sql) -> int:
        self._note(sql)
        changed: int = await self._database.execute(sql, *parameters)
        return changed

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        self._note(sql)
        await self._database.execute_many(sql, parameters)

    def later(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        self._note(sql)
        self._database.later(sql, parameters)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._database.transaction() as tx:
            yield Recorder(tx, self.seen)

    def savepoint(self) -> Any:
        return self._database.savepoint()

    def listen(self, channel: str) -> Any:
        return self._database.listen(channel)


@pytest.fixture
async def put_together(each: dict[Kind, PostgresDatabase], clock: Clock, rng: random.Random) -> dict[Kind, Recorder]:
    """Run what is put together in every way, as whoever says it."""
    recorder, core = Recorder(each[Kind.GATEWAY]), Recorder(each[Kind.CORE])
    redis, rpc = MemoryRedis(clock), LocalRpc()
    for viewer in (None, Caller("ada", "ada", Role.CONTESTANT), Caller("root", "root", Role.ADMIN)):
        for page in (PageQuery(), PageQuery(cursor=encode_cursor("p"))):
            await problem_queries.problems(recorder, clock, page, viewer)
        for page in (PageQuery(), PageQuery(cursor=encode_cursor(5, "c"))):
            await queries.contests(recorder, clock, page, viewer)
        with suppress(NotFound):
            await problem_queries.terms(recorder, redis, "p", viewer, 5)
        with suppress(NotFound):
            await problem_queries.problem(recorder, redis, clock, "p", viewer)
        await problem_queries._contests_of(recorder, "p", viewer, 5)
        with suppress(NotFound):
            await queries.contest_row(recorder, "c", viewer)
        with suppress(NotFound):
            await queries.contest(recorder, clock, "c", viewer)
        for contest_id in (None, "c"):
            await problem_queries.own_states(recorder, viewer, ["p", "q"], contest_id)
            await problem_queries.solved_by(recorder, ["p", "q"], contest_id)
        if viewer is not None:
            for wanted in (
                SubmissionsQuery(),
                SubmissionsQuery(cursor=encode_cursor("s"), contest_id="c", problem_id="p", user_id="u"),
            ):
                await submission_queries.submissions(recorder, redis, wanted, viewer)
    for login in ("ada", "ada@example.org"):
        await queries.user_by_login(recorder, login)
    boards = Boards(redis, clock)
    sweeper = Sweeper(core, MemoryBroker(), redis, rpc, boards, Log(core), clock, rng, NoMeter())
    await sweeper.clean()
    await sweeper.sweep_everything()
    await sweeper._sent([{"id": "s"}])
    await sweeper._untold(set())
    nobody: Any = None
    neighbours = Neighbours(core, nobody, MemoryBroker(), nobody, nobody, nobody, nobody, clock, rng)
    operations = QueueOperations(neighbours)
    for parked in (False, True):
        await operations.outbox_list({"parked": parked})
    await operations.outbox_retry({"all": True, "operator": "root"})
    for verb in (operations.outbox_retry, operations.outbox_park):
        with suppress(NotFound):
            await verb({"message_id": "m", "operator": "root"})
    desk = Desk(cast("Transaction", core), 5, rng)
    await accepting._enter(desk, [submission(1), submission(2)])
    return {Kind.GATEWAY: recorder, Kind.CORE: core}


async def test_what_is_put_together_can_be_run_in_every_way(put_together: dict[Kind, Recorder]) -> None:
    unseen = [site for site in DYNAMIC if not any(each.has_seen(site) for each in put_together.values())]
    assert list(map(str, unseen)) == []


@pytest.mark.parametrize("kind", Kind)
async def test_no_login_may_do_what_no_statement_needs(
    database: Database, put_together: dict[Kind, Recorder], postgres_engine: Postgres, kind: Kind
) -> None:
    """Each grant is taken away for a moment, and somebody misses it."""
    texts = {site.sql for site in STATIC if site.sql and says(kind, site)}
    texts |= set(put_together[kind].seen) if kind in put_together else set()
    unmissed = []
    async with AsyncioLoop() as aio:
        connection = await aio.call(partial(asyncpg.connect, url_of(postgres_engine.url, kind), timeout=10))
        for table, decided in TABLES.items():
            for privilege, columns in decided.get(kind, {}).items():
                for column in columns or ("",):
                    what = f"{privilege} {column and f'({column})'} ON {table}"
                    await database.execute(f"REVOKE {what} FROM codewarz_{kind}")
                    if not await aio.call(is_missed, connection, [text for text in texts if table in text]):
                        unmissed.append(what)
                    await database.execute(f"GRANT {what} TO codewarz_{kind}")
        await aio.call(connection.close)
    # Migrations are looked at before there are statements (edge/migrations.py).
    assert [what for what in unmissed if not what.endswith(" schema_migrations")] == []


async def is_missed(connection: Any, texts: Sequence[str]) -> bool:
    return any([await explain(connection, text) for text in texts])


@pytest.mark.parametrize("waiting_now", [0, 300, 20_000])
async def test_a_look_reads_what_waits_and_not_the_history(
    core: Rpc, database: Database, clock: Clock, rng: random.Random, waiting_now: int
) -> None:
    """By the plan, on a table whose statistics know how much has its verdict: the newest rows are those that wait."""
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    await database.execute(
        "INSERT INTO submissions (id, kind, user_id, contest_id, problem_id, problem_version, language, source, priority, attempt, verdict, score, fencing,"
        " submitted_at_ms, queued_at_ms, correlation_id) SELECT to_char(n, '000000'), kind, user_id, contest_id, problem_id, problem_version, language, source,"
        " priority, attempt, CASE WHEN n <= 60000 THEN 'AC' END, 0, 0, submitted_at_ms, queued_at_ms + n, 'c' FROM submissions, generate_series(1, $1::int) n",
        60_000 + waiting_now,
    )
    await database.execute("DELETE FROM submissions WHERE id = 's1'")
    await database.fetch("ANALYZE submissions")
    plans: list[str] = []

    class Explaining:
        async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
            plans.extend(row["QUERY PLAN"] for row in await database.fetch(f"EXPLAIN ANALYZE {sql}", *parameters))
            return []

    explaining = cast("Database", Explaining())
    redis, broker = MemoryRedis(clock), MemoryBroker()
    sweeper = Sweeper(explaining, broker, redis, core, Boards(redis, clock), Log(database), clock, rng, NoMeter())
    await sweeper._page(dict.fromkeys(PRIORITIES, clock.now_ms() + HOUR_MS), (clock.now_ms(), ""))
    plan = "\n".join(plans)
    assert "Index Scan using submissions_waiting" in plan
    assert "Rows Removed by Filter" not in plan
