"""What only PostgreSQL has: connections that die, servers that come back, transactions that overlap, and an asyncio loop in between."""

from __future__ import annotations

import gc
import random
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
import trio

from actors.outbox import claim
from chaos.engines import Postgres
from contracts.errors import CodeWarzError, DeadlineExceeded, EdgeLost, Invalid, Unavailable
from contracts.ports import Database
from edge.aio import AsyncioLoop
from edge.migrations import load_migrations, migrate
from edge.postgres import Address, PostgresDatabase
from edge.postgres import connections as connections_module
from edge.postgres import database as database_module
from edge.postgres import listening as listening_module
from tests.conftest import SQL
from tests.edge.conftest import FixedWall
from tests.postgres import opened_postgres

BACK_S = 15.0  # for a server that was started again to take connections, on a busy machine


@pytest.fixture
async def database(postgres_engine: Postgres) -> AsyncIterator[PostgresDatabase]:
    async with opened_postgres(postgres_engine.url) as opened:
        await opened.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, y INTEGER NOT NULL DEFAULT 0)")
        yield opened


@pytest.fixture
def own_engine(engines_folder: Path) -> Iterator[Postgres]:
    """A server of the test's own, to be treated badly. It keeps what it has committed, so that this can be looked at afterwards."""
    engine = Postgres(Path(tempfile.mktemp(dir=engines_folder)))
    with engine:
        yield engine
    engine.erase()


async def one(database: Database, sql: str) -> object:
    row = await database.fetch_one(sql)
    assert row is not None
    return next(iter(row.values()))


async def sessions(database: Database) -> list[tuple[str, str]]:
    """Return state and statement of every connection to this database but the one that asks and listeners."""
    rows = await database.fetch(
        "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'codewarz'"
        " AND pid <> pg_backend_pid() ORDER BY state"
    )
    return [(row["state"], row["query"]) for row in rows]


async def all_are_idle(database: Database) -> bool:
    """Whether every connection comes to rest; one that was cut may take a moment to be gone."""
    with trio.move_on_after(5):
        while {state for state, _ in await sessions(database)} - {"idle"}:
            await trio.sleep(0.02)
        return True
    return False


async def until_it_answers(database: Database) -> None:
    with trio.fail_after(BACK_S):
        while True:
            with suppress(Unavailable):
                await database.fetch("SELECT 1")
                return
            await trio.sleep(0.05)


# ---- the URL ---------------------------------------------------------------------------------------------------------


def test_a_url_names_everything_and_hides_the_password() -> None:
    address = Address.parse("postgresql://ada:p%40ss%2Fword@db.example.org:6543/house")
    assert (address.host, address.port, address.user) == ("db.example.org", 6543, "ada")
    assert (address.password, address.database, address.tls) == ("p@ss/word", "house", None)
    assert "p@ss" not in repr(address) + str(address)
    assert Address.parse("postgresql://ada@[::1]/house") == Address("::1", 5432, "ada", None, "house")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://ada:secret@host/house", "has the scheme 'mysql'"),
        ("postgresql://host/house", "must name a user"),
        ("postgresql://ada:secret@host", "must name a user"),
        ("postgresql://ada:secret@host/house/more", "and no more"),
        ("postgresql://ada:secret@host:port/house", "cannot be read"),
        ("postgresql://ada:secret@host/house?sslmode=require", "verifies nobody"),
        ("postgresql://ada:secret@host/house?sslmode=verify-full&sslrootcert=/nowhere.pem", "cannot be used"),
        ("postgresql://ada:secret@host/house?sslrootcert=/ca.pem", "nothing would be verified"),
        ("postgresql://ada:secret@host/house?options=-c", "'options'"),
        ("", "has the scheme ''"),
        ("postgresql://ada:secret/more@host/house", "cannot be read"),
        ("postgresql://ada:12/secret@host/house", "cannot be read"),
        ("postgresql://ada:12?secret=x@host/house", "cannot be read"),
        ("postgresql://ada:12#secret@host/house", "cannot be read"),
        ("postgresql://ada:[secret@host/house", "cannot be read"),
        ("postgresql://ada:secret\u2100@host/house", "cannot be read"),
    ],
)
def test_a_bad_url_is_refused_in_one_line_without_the_password(url: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        Address.parse(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- connecting ------------------------------------------------------------------------------------------------------


async def test_opening_needs_no_server_and_calls_work_when_it_is_there(aio: AsyncioLoop, own_engine: Postgres) -> None:
    own_engine.end()
    async with PostgresDatabase(own_engine.url, aio) as database:
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            await database.fetch("SELECT 1")
        assert not isinstance(caught.value, EdgeLost)
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with database.listen("house"):
                pass
        await trio.to_thread.run_sync(own_engine.start)
        assert await one(database, "SELECT 1") == 1


@pytest.mark.parametrize("part", ["password", "database", "host"])
async def test_whoever_is_refused_reads_why_and_never_the_password(
    aio: AsyncioLoop, postgres_engine: Postgres, part: str
) -> None:
    url, why = {
        "password": (postgres_engine.url.replace(postgres_engine.password, "wr0ng"), "refuses the user 'codewarz'"),
        "database": (postgres_engine.url_of("nowhere"), "has no database 'nowhere'"),
        "host": (postgres_engine.url.replace("127.0.0.1", "nowhere.invalid"), "cannot be reached"),
    }[part]
    async with PostgresDatabase(url, aio) as database:
        with pytest.raises(Unavailable, match=why) as caught:
            await database.fetch("SELECT 1")
        assert caught.value.retry_after_s
        said = f"{caught.value} {caught.value.__cause__!r} {database!r} {database._connections!r}"
        assert postgres_engine.password not in said
        assert "wr0ng" not in said


async def test_tls_is_verified_and_clear_text_is_not_spoken(
    aio: AsyncioLoop, engines_folder: Path, certificates: Path, postgres_engine: Postgres
) -> None:
    with Postgres(Path(tempfile.mktemp(dir=engines_folder)), tls=certificates) as engine:
        async with PostgresDatabase(engine.url, aio) as database:
            assert await one(database, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
            await cancelled_in_the_middle(database)  # the request to stop goes through TLS as well
            assert await one(database, "SELECT 1") == 1
        system = engine.url.partition("&sslrootcert")[0]
        async with PostgresDatabase(system, aio) as database:
            with pytest.raises(Unavailable, match="certificate that is not to be trusted"):
                await database.fetch("SELECT 1")
        async with PostgresDatabase(engine.url.partition("?")[0], aio) as database:
            with pytest.raises(Unavailable, match="refuses the user"):
                await database.fetch("SELECT 1")
    options = f"?sslmode=verify-full&sslrootcert={certificates}/ca.pem"
    async with PostgresDatabase(postgres_engine.url + options, aio) as database:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await database.fetch("SELECT 1")  # a server without TLS is not spoken to


async def test_a_session_is_durable_bounded_and_without_surprises(database: PostgresDatabase) -> None:
    assert await one(database, "SHOW synchronous_commit") == "on"  # this server's own default is off
    assert await one(database, "SHOW default_transaction_isolation") == "read committed"
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert await one(database, f"SHOW {name}") != "0"


async def test_it_may_be_opened_again_after_it_was_closed(aio: AsyncioLoop, postgres_engine: Postgres) -> None:
    database = PostgresDatabase(postgres_engine.url, aio)
    with pytest.raises(EdgeLost, match="closed"):
        await database.fetch("SELECT 1")
    for _ in range(2):
        async with database:
            assert await one(database, "SELECT 1") == 1
        with pytest.raises(EdgeLost, match="closed"):
            await database.fetch("SELECT 1")


async def test_closing_ends_what_is_under_way_and_wakes_listeners(aio: AsyncioLoop, postgres_engine: Postgres) -> None:
    ended: list[str] = []
    database = PostgresDatabase(postgres_engine.url, aio)

    async def ends(name: str, call: Callable[[], object]) -> None:
        with pytest.raises(EdgeLost):
            await call()  # type: ignore[misc]
        ended.append(name)

    async def in_transaction() -> None:
        async with database.transaction() as tx:
            await tx.fetch("SELECT pg_sleep(60)")

    async with database, database.listen("house") as wakeups, trio.open_nursery() as nursery:
        nursery.start_soon(ends, "wait", wakeups.wait)
        nursery.start_soon(ends, "statement", lambda: database.fetch("SELECT pg_sleep(60)"))
        nursery.start_soon(ends, "transaction", in_transaction)
        await trio.sleep(0.2)
        await database.close()
    assert sorted(ended) == ["statement", "transaction", "wait"]


# ---- statements ------------------------------------------------------------------------------------------------------


async def test_bad_sql_is_our_bug_and_says_so(database: PostgresDatabase) -> None:
    with pytest.raises(asyncpg.UndefinedColumnError, match="nowhere"):
        await database.fetch("SELECT nowhere FROM pg_class")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await database.fetch("SELECT 1; SELECT 2")
    with pytest.raises(TypeError, match=r"\$1 is not of the type .*: expected str, got int"):
        await database.fetch("SELECT $1::text", 7)


async def test_a_schema_that_is_not_there_yet_is_waited_for(database: PostgresDatabase) -> None:
    with pytest.raises(Unavailable, match="codewarz migrate"):
        await database.fetch("SELECT * FROM users")


async def test_no_value_is_in_an_error(database: PostgresDatabase) -> None:
    await database.execute("CREATE TABLE people (email TEXT UNIQUE, age INTEGER CHECK (age > 0))")
    await database.execute("INSERT INTO people VALUES ($1, $2)", "ada@example.org", 1)
    for parameters in (("ada@example.org", 1), ("ada@example.com", -1), ("ada@example.com\0", 1), (1815, 1)):
        with pytest.raises((CodeWarzError, TypeError)) as caught:
            await database.execute("INSERT INTO people VALUES ($1, $2)", *parameters)
        assert "example" not in str(caught.value)
        assert "1815" not in str(caught.value)


async def test_an_index_on_an_expression_goes_by_its_own_name(database: PostgresDatabase) -> None:
    await database.execute("CREATE UNIQUE INDEX t_parity ON t ((x % 2))")
    await database.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(Exception, match=r"exists already \(t_parity\)"):
        await database.execute("INSERT INTO t VALUES (3)")


async def test_a_statement_that_takes_too_long_is_stopped_there_as_well(postgres_engine: Postgres) -> None:
    async with opened_postgres(postgres_engine.url, statement_s=0.3) as database:
        with pytest.raises(DeadlineExceeded):
            await database.fetch("SELECT pg_sleep(30)")
        with pytest.raises(DeadlineExceeded):
            async with database.transaction() as tx:
                await tx.fetch("SELECT pg_sleep(30)")
        assert await all_are_idle(database)


async def test_a_schema_that_changes_under_a_prepared_statement_is_a_reason_to_try_again(
    database: PostgresDatabase,
) -> None:
    async with database.transaction() as tx:
        await tx.fetch("SELECT * FROM t")
    await database.execute("ALTER TABLE t ADD COLUMN z INTEGER")
    with pytest.raises(Unavailable, match="schema has changed"):
        async with database.transaction() as tx:
            await tx.fetch("SELECT * FROM t")
    async with database.transaction() as tx:
        await tx.fetch("SELECT * FROM t")


# ---- transactions that overlap ---------------------------------------------------------------------------------------


async def test_a_deadlock_undoes_one_of_the_two_which_may_try_again(database: PostgresDatabase) -> None:
    await database.execute_many("INSERT INTO t VALUES ($1, 0)", [(1,), (2,)])
    failed: list[Unavailable] = []
    both = trio.Event()
    have_one: list[int] = []

    async def add(first: int, second: int) -> None:
        try:
            async with database.transaction() as tx:
                await tx.execute("UPDATE t SET y = y + 1 WHERE x = $1", first)
                have_one.append(first)
                if len(have_one) == 2:
                    both.set()
                await both.wait()
                await tx.execute("UPDATE t SET y = y + 1 WHERE x = $1", second)
        except Unavailable as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add, 1, 2)
        nursery.start_soon(add, 2, 1)
    (error,) = failed
    assert "try again" in error.detail
    assert error.retry_after_s
    assert not isinstance(error, EdgeLost)
    assert [row["y"] for row in await database.fetch("SELECT y FROM t ORDER BY x")] == [1, 1]


async def test_a_lock_that_is_held_too_long_is_not_waited_for(postgres_engine: Postgres) -> None:
    async with opened_postgres(postgres_engine.url, statement_s=3.0) as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        await database.execute("INSERT INTO t VALUES (1)")
        waiter: list[Unavailable] = []

        async def wait() -> None:
            with pytest.raises(Unavailable, match="for too long") as caught:
                await database.execute("UPDATE t SET x = 3")
            waiter.append(caught.value)

        async with trio.open_nursery() as nursery, database.transaction() as tx:
            await tx.execute("UPDATE t SET x = 2")
            nursery.start_soon(wait)
            with trio.fail_after(10):
                while not waiter:
                    await trio.sleep(0.1)
                    await tx.fetch("SELECT 1")


async def test_who_stands_still_in_a_transaction_loses_it(postgres_engine: Postgres) -> None:
    async with opened_postgres(postgres_engine.url, statement_s=1.0) as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        with pytest.raises(EdgeLost):
            async with database.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (1)")
                await trio.sleep(2)  # as a process that was stopped, in the eyes of the server
                await tx.execute("INSERT INTO t VALUES (2)")
        assert await database.fetch("SELECT x FROM t") == []


async def test_a_second_transaction_in_the_same_task_is_a_bug_and_not_a_deadlock(database: PostgresDatabase) -> None:
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(RuntimeError, match="in a transaction already"):
            await database.fetch("SELECT 1")
        with pytest.raises(RuntimeError, match="in a transaction already"):
            async with database.transaction():
                pass
    assert await one(database, "SELECT count(*) FROM t") == 1


async def test_two_tasks_may_share_a_transaction(database: PostgresDatabase) -> None:
    async with database.transaction() as tx, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(tx.execute, "INSERT INTO t VALUES ($1)", number)
    assert await one(database, "SELECT count(*) FROM t") == 20


async def test_two_relays_at_once_claim_each_row_once_and_wait_for_nobody(
    aio: AsyncioLoop, postgres_engine: Postgres, database: PostgresDatabase, wall: FixedWall
) -> None:
    await migrate(database, load_migrations(SQL, "postgres"), wall)
    await database.execute_many(
        "INSERT INTO outbox_messages VALUES ($1, 'submission', 0, '', '', '', 1, 1, 0, '', NULL, NULL, NULL)",
        [(f"m{number:03}",) for number in range(200)],
    )
    claimed: list[str] = []
    async with PostgresDatabase(postgres_engine.url, aio) as other:

        async def relay(mine: Database) -> None:
            while rows := await claim(mine, 5, 7):
                claimed.extend(row["id"] for row in rows)

        async with database.transaction() as tx:
            first = await claim(tx, 5, 10)  # a relay that is slow to commit
            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(relay, other)
                    nursery.start_soon(relay, other)
    claimed += [row["id"] for row in first]
    assert sorted(claimed) == [f"m{number:03}" for number in range(200)]


async def test_a_savepoint_costs_no_round_trip_of_its_own(database: PostgresDatabase) -> None:
    said: list[str] = []
    async with database.transaction() as tx:
        await tx.fetch("SELECT 1")
        (connection,) = database._connections._taken
        original = connection.execute

        async def heard(sql: str, *parameters: object) -> str:
            said.append(sql)
            return await original(sql, *parameters)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncpg.Connection, "execute", lambda self, sql, *parameters: heard(sql, *parameters))
            async with tx.savepoint():
                pass  # nothing is said of it
            for number in range(2):
                async with tx.savepoint():
                    await tx.fetch("SELECT $1::int", number)
            with suppress(KeyError):
                async with tx.savepoint():
                    await tx.fetch("SELECT 1")
                    raise KeyError
            await tx.fetch("SELECT 1")
    assert said == [
        "SAVEPOINT savepoint_2",
        "RELEASE savepoint_2; SAVEPOINT savepoint_3",
        "RELEASE savepoint_3; SAVEPOINT savepoint_4",
        "ROLLBACK TO savepoint_4; RELEASE savepoint_4",
    ]


# ---- turns -----------------------------------------------------------------------------------------------------------


async def test_a_database_with_all_connections_in_use_says_that_it_is_busy(
    postgres_engine: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "TURN_S", 0.1)
    async with opened_postgres(postgres_engine.url, size=1) as database:
        async with trio.open_nursery() as nursery, database.transaction():

            async def ask() -> None:
                with pytest.raises(Unavailable, match="busy") as caught:
                    await database.fetch("SELECT 1")
                assert caught.value.retry_after_s

            nursery.start_soon(ask)
            await trio.sleep(0.2)
        assert await one(database, "SELECT 1") == 1


async def test_there_are_never_more_connections_than_turns(postgres_engine: Postgres) -> None:
    async with opened_postgres(postgres_engine.url, size=3) as database, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(database.fetch, "SELECT pg_sleep(0.01)")
        await trio.sleep(0.1)
        assert len(database._connections._taken) + len(database._connections._idle) <= 3


# ---- cancellation ----------------------------------------------------------------------------------------------------


async def cancelled_in_the_middle(database: Database) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.fetch, "SELECT pg_sleep(60)")
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_statement_is_stopped_on_the_server_and_its_connection_goes_on(
    database: PostgresDatabase,
) -> None:
    pid = await one(database, "SELECT pg_backend_pid()")
    began = trio.current_time()
    await cancelled_in_the_middle(database)
    assert trio.current_time() - began < 20
    assert await one(database, "SELECT pg_backend_pid()") == pid
    assert await all_are_idle(database)


@pytest.mark.parametrize("seed", range(3))
async def test_cancelled_at_any_moment_nothing_is_left_behind_and_nothing_half_done(
    database: PostgresDatabase, seed: int
) -> None:
    rng = random.Random(seed)
    known: set[int] = set()
    unknown: set[int] = set()

    async def write(number: int) -> None:
        with trio.move_on_after(rng.random() * 0.006) as scope:
            if number % 3 == 0:
                await database.execute("INSERT INTO t VALUES ($1)", number)
            else:
                async with database.transaction() as tx:
                    for part in (number, -number):
                        async with tx.savepoint():
                            await tx.execute("INSERT INTO t VALUES ($1)", part)
        (unknown if scope.cancelled_caught else known).add(number)

    for start in range(1, 300, 15):
        async with trio.open_nursery() as nursery:
            for number in range(start, start + 15):
                nursery.start_soon(write, number)
    assert unknown
    rows = {row["x"] for row in await database.fetch("SELECT x FROM t")}
    assert known <= {abs(row) for row in rows}
    assert {-row for row in rows if row < 0} == {row for row in rows if row > 0 and row % 3}  # both or neither
    assert await all_are_idle(database)
    assert len(await sessions(database)) <= 10
    statistics = database._turns.statistics()
    assert (statistics.borrowed_tokens, statistics.tasks_waiting) == (0, 0)
    assert repr(database._aio) == "<AsyncioLoop open calls=0>"
    gc.collect()  # a connection that was lost without being closed would warn here


async def test_a_commit_that_was_begun_is_waited_for(database: PostgresDatabase) -> None:
    """A deferred constraint makes the commit itself slow: cancelled in the middle, it is heard to its end, and what it did counts."""
    await database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$"
    )
    await database.execute(
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    with trio.move_on_after(0.8):  # the insert has been by then, and the commit has not
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
    assert await one(database, "SELECT count(*) FROM t") == 1
    assert await all_are_idle(database)


# ---- servers that end, stand still, and come back --------------------------------------------------------------------


async def test_a_killed_server_is_lost_and_found_again(own_engine: Postgres, aio: AsyncioLoop) -> None:
    async with PostgresDatabase(own_engine.url, aio) as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        async with trio.open_nursery() as nursery:  # several connections, so that there are several dead ones

            async def sleep() -> None:
                with pytest.raises(EdgeLost):
                    await database.fetch("SELECT pg_sleep(60)")

            for _ in range(5):
                nursery.start_soon(sleep)
            await trio.sleep(0.3)
            with pytest.raises((EdgeLost, Unavailable)):
                async with database.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
                    await trio.to_thread.run_sync(own_engine.kill)
                    await tx.execute("INSERT INTO t VALUES (2)")
        with pytest.raises(Unavailable):
            await database.fetch("SELECT 1")
        await trio.to_thread.run_sync(own_engine.start)
        await until_it_answers(database)
        assert await one(database, "SELECT count(*) FROM t") == 0
        for _ in range(12):
            await database.execute("INSERT INTO t VALUES (3)")  # no dead connection is handed out


async def test_connections_that_died_while_idle_are_never_handed_out(
    postgres_engine: Postgres, database: PostgresDatabase, aio: AsyncioLoop
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(database.fetch, "SELECT pg_sleep(0.1)")
    async with PostgresDatabase(postgres_engine.url, aio) as other:
        await other.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'codewarz' AND pid <> pg_backend_pid()"
        )
    await trio.sleep(0.1)  # the news of it is on its way
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(database.execute, "INSERT INTO t VALUES ($1)", number)
    assert await one(database, "SELECT count(*) FROM t") == 20


async def test_a_frozen_server_is_noticed_in_time_and_served_again_when_it_thaws(
    own_engine: Postgres, aio: AsyncioLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "CONNECT_S", 0.5)
    async with PostgresDatabase(own_engine.url, aio, statement_s=1.0) as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(database.fetch, "SELECT pg_sleep(0.1)")
        own_engine.freeze()
        try:
            with trio.fail_after(8), pytest.raises(DeadlineExceeded):  # its second, one for the proof, a busy machine's
                await database.fetch("SELECT 1")
            # The other idle connections are not trusted: nothing is sent, so the outcome is known.
            with trio.fail_after(8), pytest.raises(Unavailable, match="did not answer in time") as caught:
                async with database.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
            assert not isinstance(caught.value, DeadlineExceeded)
            began = trio.current_time()
            with trio.move_on_after(0.2):
                await database.fetch("SELECT 1")
            assert trio.current_time() - began < 8
        finally:
            own_engine.thaw()
        await until_it_answers(database)
        assert await one(database, "SELECT count(*) FROM t") == 0
        assert await all_are_idle(database)


async def test_a_commit_into_a_frozen_server_has_an_unknown_outcome(own_engine: Postgres, aio: AsyncioLoop) -> None:
    async with PostgresDatabase(own_engine.url, aio, statement_s=1.0) as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        try:
            with trio.fail_after(5), pytest.raises(DeadlineExceeded):
                async with database.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
                    own_engine.freeze()
        finally:
            own_engine.thaw()
        await until_it_answers(database)


async def test_a_peer_that_vanished_is_noticed_by_the_kernel(database: PostgresDatabase) -> None:
    await database.fetch("SELECT 1")
    (connection,) = database._connections._idle
    plug = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
    assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
    assert await one(database, "SHOW tcp_keepalives_idle") == "15"


# ---- listening -------------------------------------------------------------------------------------------------------


async def test_a_listener_whose_server_ends_hears_of_it_at_once_and_listens_again(
    own_engine: Postgres, aio: AsyncioLoop
) -> None:
    async with PostgresDatabase(own_engine.url, aio) as database:
        async with database.listen("house") as wakeups:
            own_engine.kill()
            with trio.fail_after(5), pytest.raises(EdgeLost):
                await wakeups.wait()
        await trio.to_thread.run_sync(own_engine.start)
        await until_it_answers(database)
        async with database.listen("house") as wakeups:
            await database.fetch("SELECT pg_notify('house', '')")
            with trio.fail_after(5):
                await wakeups.wait()


async def test_a_listener_notices_a_server_that_says_nothing_any_more(
    own_engine: Postgres, aio: AsyncioLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_module, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(listening_module, "ANSWER_S", 2.0)
    async with PostgresDatabase(own_engine.url, aio) as database, database.listen("house") as wakeups:
        with trio.move_on_after(0.7):
            await wakeups.wait()  # some heartbeats
        own_engine.freeze()
        try:
            with trio.fail_after(10), pytest.raises(EdgeLost, match="says nothing"):
                await wakeups.wait()
            with trio.fail_after(5), pytest.raises(EdgeLost):
                await wakeups.wait()  # it stays lost
        finally:
            own_engine.thaw()


async def test_an_idle_listener_asks_once_per_heartbeat_and_not_at_all_while_nobody_waits(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_module, "HEARTBEAT_S", 0.2)
    asked = 0
    original = listening_module.PostgresWakeups._ask

    async def counted(self: listening_module.PostgresWakeups) -> None:
        nonlocal asked
        asked += 1
        await original(self)

    monkeypatch.setattr(listening_module.PostgresWakeups, "_ask", counted)
    async with database.listen("house") as wakeups:
        await trio.sleep(0.7)
        assert asked == 0
        with trio.move_on_after(0.9):
            await wakeups.wait()
        assert 1 <= asked <= 5


async def test_a_listener_that_is_cut_in_the_middle_of_a_burst_misses_nothing_it_could_know(
    database: PostgresDatabase,
) -> None:
    rng = random.Random(3)
    async with database.listen("house") as wakeups:
        for _ in range(60):
            await database.fetch("SELECT pg_notify('house', '')")
            with trio.move_on_after(rng.random() * 0.002) as scope:
                await wakeups.wait()
            if scope.cancelled_caught:
                with trio.fail_after(5):
                    await wakeups.wait()


async def test_listeners_leave_no_connection_behind(database: PostgresDatabase) -> None:
    for _ in range(5):
        with trio.move_on_after(0.005):
            async with database.listen("house") as wakeups:
                await wakeups.wait()
        async with database.listen("house"):
            pass
    with trio.fail_after(5):
        while [query for _, query in await sessions(database) if "LISTEN" in query]:
            await trio.sleep(0.02)


# ---- migrations ------------------------------------------------------------------------------------------------------


async def test_four_programs_that_start_at_once_migrate_once(postgres_engine: Postgres, wall: FixedWall) -> None:
    migrations = load_migrations(SQL, "postgres")
    applied: list[int] = []
    async with opened_postgres(postgres_engine.url) as database:

        async def start(aio: AsyncioLoop) -> None:
            async with PostgresDatabase(postgres_engine.url, aio, size=1) as mine:
                applied.extend(each.version for each in await migrate(mine, migrations, wall))

        async with AsyncioLoop() as aio, trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(start, aio)
        assert sorted(applied) == [each.version for each in migrations]
        assert len(await database.fetch("SELECT version FROM schema_migrations")) == len(migrations)


async def test_a_statement_of_a_migration_may_take_longer_than_others(
    postgres_engine: Postgres, wall: FixedWall, tmp_path: Path
) -> None:
    (tmp_path / "0001_slow.sql").write_text("CREATE TABLE slow (x INTEGER); SELECT pg_sleep(0.6);")
    async with opened_postgres(postgres_engine.url, statement_s=0.3) as database:
        assert len(await migrate(database, load_migrations(tmp_path, "postgres"), wall)) == 1


async def test_one_notification_for_a_statement_whatever_it_inserts(
    database: PostgresDatabase, wall: FixedWall
) -> None:
    await migrate(database, load_migrations(SQL, "postgres"), wall)
    row = await database.fetch_one(
        "SELECT count(*) AS many FROM pg_trigger WHERE tgname = 'outbox_wakeup' AND NOT tgisinternal AND tgtype & 1 = 0"
    )
    assert row == {"many": 1}  # per statement, not per row
    async with database.listen("outbox") as wakeups:
        await database.execute_many(
            "INSERT INTO outbox_messages VALUES ($1, 'submission', 0, '', '', '', 1, 1, 0, '', NULL, NULL, NULL)",
            [(f"m{number}",) for number in range(50)],
        )
        with trio.fail_after(5):
            await wakeups.wait()
