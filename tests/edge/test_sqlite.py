"""What is SQLite's own: durability, fairness, threads, its errors."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from contracts.errors import EdgeLost, Invalid, Unavailable
from contracts.ports import Database
from edge.sqlite import SqliteDatabase, open_database, path_of

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def one(database: Database, sql: str) -> object:
    row = await database.fetch_one(sql)
    assert row is not None
    return next(iter(row.values()))


async def test_a_commit_is_synced_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "house.db"
    async with open_database(f"sqlite:///{path}") as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        assert await one(database, "PRAGMA journal_mode") == "wal"
        assert await one(database, "PRAGMA synchronous") == 2  # FULL
        assert await one(database, "PRAGMA foreign_keys") == 1
        assert modes(tmp_path) == {"house.db": 0o600, "house.db-shm": 0o600, "house.db-wal": 0o600}
    async with SqliteDatabase(str(path)) as database:
        assert await database.fetch("SELECT x FROM t") == []


@pytest.mark.parametrize("database", ["sqlite-memory", "sqlite-file"], indirect=True)
async def test_writers_take_turns_in_order_of_arrival(database: Database) -> None:
    await database.execute("CREATE TABLE t (x INTEGER)")

    async def write(number: int) -> None:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES ($1)", number)

    async with trio.open_nursery() as nursery, database.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES ($1)", 0)
        for number in range(1, 6):
            nursery.start_soon(write, number)
            await wait_all_tasks_blocked()
    assert [row["x"] for row in await database.fetch("SELECT x FROM t ORDER BY rowid")] == [0, 1, 2, 3, 4, 5]


async def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path}/t.db") as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            assert await database.fetch("SELECT x FROM t") == []


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_a_statement_that_never_ends_is_interrupted(tmp_path: Path, in_transaction: bool) -> None:
    async with open_database(f"sqlite:///{tmp_path}/t.db") as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        async with trio.open_nursery() as nursery:
            if in_transaction:

                async def run() -> None:
                    async with database.transaction() as tx:
                        await tx.execute("INSERT INTO t VALUES (1)")
                        await tx.fetch(FOREVER)

                nursery.start_soon(run)
            else:
                for _ in range(5):  # more than there are readers: some wait, some run
                    nursery.start_soon(database.fetch, FOREVER)
            await wait_all_tasks_blocked(0.02)
            nursery.cancel_scope.cancel()
        assert await database.fetch("SELECT x FROM t") == []
        await database.execute("INSERT INTO t VALUES (2)")
        assert await one(database, "SELECT x FROM t") == 2


async def test_an_interrupted_write_spoils_its_transaction_and_nothing_else(tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path}/t.db") as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        with pytest.raises(RuntimeError, match="failed"):
            async with database.transaction() as tx:
                with trio.move_on_after(0.02):
                    async with tx.savepoint():
                        await tx.execute(f"INSERT INTO t {FOREVER}")
                await tx.execute("INSERT INTO t VALUES (1)")
        await database.execute("INSERT INTO t VALUES (2)")
        assert await one(database, "SELECT x FROM t") == 2


@pytest.mark.parametrize("database", ["sqlite-memory", "sqlite-file"], indirect=True)
async def test_bad_sql_is_our_bug_and_says_so(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.fetch("SELECT * FROM nowhere")


async def test_closing_wakes_listeners_and_refuses_calls(tmp_path: Path) -> None:
    database = SqliteDatabase(f"{tmp_path}/t.db")
    async with database, database.listen("house") as wakeups, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(EdgeLost):
                await wakeups.wait()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await database.close()
    with pytest.raises(EdgeLost):
        await database.fetch("SELECT 1")


async def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ada, " * 200)
    with pytest.raises(EdgeLost, match="not an SQLite database"):
        async with open_database(f"sqlite:///{path}"):
            pass


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        async with open_database(f"sqlite:///{tmp_path}/nowhere/t.db"):
            pass


async def test_a_full_disk_is_unavailable_and_undone(tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path}/t.db") as database:
        await database.execute("CREATE TABLE t (x BLOB)")
        pages = await one(database, "PRAGMA page_count")
        await database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Unavailable, match="full") as caught:
            await database.execute("INSERT INTO t VALUES ($1)", bytes(100_000))
        assert not isinstance(caught.value, EdgeLost)
        await database.execute("PRAGMA max_page_count = 1000000")
        await database.execute("INSERT INTO t VALUES ($1)", b"x")
        assert len(await database.fetch("SELECT x FROM t")) == 1


async def test_a_lock_of_another_process_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sqlite_connection.BUSY_TIMEOUT_MS", 1)
    async with open_database(f"sqlite:///{tmp_path}/t.db") as database:
        await database.execute("CREATE TABLE t (x INTEGER)")
        other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await database.execute("INSERT INTO t VALUES (1)")
        other.close()
        await database.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///house.db", "house.db"),
        ("sqlite:////var/house.db", "/var/house.db"),
        ("sqlite://:memory:", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_urls_name_paths(url: str, path: str) -> None:
    assert path_of(url) == path


@pytest.mark.parametrize("url", ["sqlite://house.db", "sqlite:///", "postgresql://x/y", "house.db", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Invalid, match=r"sqlite:///file\.db"):
        path_of(url)
