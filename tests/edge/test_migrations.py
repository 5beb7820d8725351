"""Migrations: applied once, in order, unchanged, all or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import contracts
from contracts.errors import CodeWarzError
from contracts.ports import Database
from edge.migrations import Dialect, MigrationError, load_migrations, migrate
from edge.sqlite import SqliteDatabase
from tests.edge.conftest import WALL_MS, FixedWall

TRIGGERS = {
    "0002_b__sqlite": "CREATE TRIGGER b AFTER INSERT ON a BEGIN UPDATE a SET x = x + 1; UPDATE a SET x = x * 2; END;",
    "0002_b__postgres": "CREATE FUNCTION b() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE a SET x = x + 1; UPDATE a SET x = x * 2; RETURN NULL; END $$;"
    "-- a semicolon; in a comment\nCREATE TRIGGER b AFTER INSERT ON a FOR EACH STATEMENT EXECUTE FUNCTION b();",
}


def dialect_of(database: Database) -> Dialect:
    return "sqlite" if isinstance(database, SqliteDatabase) else "postgres"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.replace('__', '.')}.sql").write_text(text)
    return folder


async def test_they_are_applied_once_and_in_order(database: Database, wall: FixedWall, tmp_path: Path) -> None:
    folder = write(tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER);"}, **TRIGGERS)
    migrations = load_migrations(folder, dialect_of(database))
    assert [each.version for each in await migrate(database, migrations, wall)] == [1, 2]
    assert await migrate(database, migrations, wall) == []
    await database.execute("INSERT INTO a VALUES (1)")
    assert [row["x"] for row in await database.fetch("SELECT x FROM a")] == [4]
    rows = await database.fetch("SELECT version, name, applied_at_ms FROM schema_migrations ORDER BY version")
    assert [tuple(row.values()) for row in rows] == [(1, "a", WALL_MS), (2, "b", WALL_MS)]


async def test_a_failing_one_is_undone_and_can_be_repaired(database: Database, wall: FixedWall, tmp_path: Path) -> None:
    write(
        tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1); INSERT INTO nowhere VALUES (1);"}
    )
    with pytest.raises(Exception, match="nowhere"):
        await migrate(database, load_migrations(tmp_path, dialect_of(database)), wall)
    write(tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER);"})
    await migrate(database, load_migrations(tmp_path, dialect_of(database)), wall)
    assert await database.fetch("SELECT x FROM a") == []


async def test_a_cancelled_one_is_undone(database: Database, wall: FixedWall, tmp_path: Path) -> None:
    write(tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER);"})
    migrations = load_migrations(tmp_path, dialect_of(database))
    with trio.CancelScope() as scope:
        scope.cancel()
        await migrate(database, migrations, wall)
    assert [each.name for each in await migrate(database, migrations, wall)] == ["a"]


async def test_two_that_start_together_apply_each_once(database: Database, wall: FixedWall, tmp_path: Path) -> None:
    write(tmp_path, **{f"000{n}_t{n}": f"CREATE TABLE t{n} (x INTEGER);" for n in range(1, 6)})
    migrations = load_migrations(tmp_path, dialect_of(database))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(migrate, database, migrations, wall)
        nursery.start_soon(migrate, database, migrations, wall)
    assert len(await database.fetch("SELECT version FROM schema_migrations")) == 5


async def test_a_changed_one_is_refused(database: Database, wall: FixedWall, tmp_path: Path) -> None:
    write(tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER);"})
    await migrate(database, load_migrations(tmp_path, dialect_of(database)), wall)
    write(tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER); CREATE TABLE b (x INTEGER);"})
    with pytest.raises(MigrationError, match="put the change into a new migration"):
        await migrate(database, load_migrations(tmp_path, dialect_of(database)), wall)


async def test_a_newer_database_is_refused(database: Database, wall: FixedWall, tmp_path: Path) -> None:
    write(tmp_path, **{"0001_a": "CREATE TABLE a (x INTEGER);", "0002_b": "CREATE TABLE b (x INTEGER);"})
    migrations = load_migrations(tmp_path, dialect_of(database))
    await migrate(database, migrations, wall)
    with pytest.raises(MigrationError, match="start the newer program"):
        await migrate(database, migrations[:1], wall)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"0001_a": "", "0003_c": ""}, "migration 2 is missing"),
        ({"0001_a": "", "0001_b": ""}, "two names"),
        ({"first": ""}, "is no migration"),
        ({"0001_a__oracle": ""}, "is no migration"),
    ],
)
def test_a_disordered_folder_is_refused(tmp_path: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(MigrationError, match=why):
        load_migrations(write(tmp_path, **files), "sqlite")


async def test_the_house_itself_can_be_built(database: Database, wall: FixedWall) -> None:
    folder = Path(contracts.__file__).parent / "sql"
    applied = await migrate(database, load_migrations(folder, dialect_of(database)), wall)
    assert [each.version for each in applied] == list(range(1, len(applied) + 1))
    assert len(load_migrations(folder, "postgres")) == len(load_migrations(folder, "sqlite")) == len(applied)
    async with database.listen("outbox") as wakeups:
        await database.execute(
            "INSERT INTO outbox_messages VALUES ('a', 'verdict', 0, $1, '', '', 1, 1, 0, '', NULL, NULL, NULL)", b"{}"
        )
        with trio.fail_after(10):
            await wakeups.wait()
    assert issubclass(MigrationError, CodeWarzError)
