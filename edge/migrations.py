"""Numbered migrations: ``NNNN_name.sql`` in the shared dialect, ``NNNN_name.sqlite.sql`` and ``NNNN_name.postgres.sql`` where the dialects part.

Rule 1: numbers run 1, 2, 3 … without a gap. One number is one change: its shared file and its dialect's file, applied in this order in one transaction together
        with its row in ``schema_migrations``.
Rule 2: what was applied never changes: its checksum is compared at each start.
Rule 3: a program older than the database refuses to touch it.
Rule 4: programs that start at once migrate one after the other, so that each sees what the others did. SQLite has one writer anyway; on PostgreSQL each change
        takes an advisory lock first (two CREATE TABLE IF NOT EXISTS at once fail there), and who does not get it comes again, LOCK_WAIT_S at most.
Rule 5: whose login may not change the schema looks whether it is as this program needs it, locks nothing, and changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

import msgspec
import trio

from contracts.errors import Unavailable
from contracts.ports import Database, Row, Statements, Transaction, WallClock
from edge.dialect import split_statements

T = TypeVar("T")
Dialect = Literal["sqlite", "postgres"]
_FILE = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)(?:\.(?P<dialect>sqlite|postgres))?\.sql\Z")
STATEMENT_S = 3600.0  # an index on a large table takes its time
LOCK_WAIT_S = 600.0  # as long as another program may migrate
LOCK_LOOK_S = 0.1
_LOCK = "SELECT pg_try_advisory_xact_lock(20261123, 1) AS is_ours"  # two numbers that only we use
_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    "version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms BIGINT NOT NULL)"
)
_APPLIED = "SELECT version, name, checksum FROM schema_migrations"
_STANDING = (  # the table of what was applied, and whether who asks may change the schema: make tables, and alter what its owner made
    "SELECT o.oid IS NOT NULL AS has_begun, has_schema_privilege('public', 'CREATE') AND coalesce(pg_has_role(relowner, 'USAGE'), true) AS may_migrate,"
    " current_user::text AS name FROM (SELECT to_regclass('public.schema_migrations') AS oid) o LEFT JOIN pg_class c ON c.oid = o.oid"
)


@runtime_checkable
class Patient(Protocol):
    """A database that bounds its statements, and can be asked for one connection with another bound."""

    def patient(self, statement_s: float) -> AbstractAsyncContextManager[Database]:
        """Return the same database, to be opened, with ``statement_s`` seconds for each statement."""
        ...


class MigrationError(Unavailable):
    """The database and the program do not fit together; the sentence says what to do. Nothing was changed."""

    code = "migration_refused"


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered change. ``checksum`` is over its text, with line ends made equal."""

    version: int
    name: str
    dialect: Dialect
    checksum: str
    statements: tuple[str, ...]


def load_migrations(folder: Path, dialect: Dialect) -> list[Migration]:
    """Read the folder's migrations for one dialect, in order; raise MigrationError on a gap, two names for a number, or a file named otherwise."""
    found: dict[int, tuple[str, dict[str, str]]] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is no migration: call it 0001_what_it_does.sql (or .sqlite.sql)")
        version, name = int(match["version"]), match["name"]
        known, texts = found.setdefault(version, (name, {}))
        if known != name:
            raise MigrationError(
                f"migration {version} has two names, {known} and {name}: give one the next free number"
            )
        texts[match["dialect"] or "shared"] = path.read_text(encoding="utf-8")  # newlines become "\n" here
    migrations = []
    for expected, (version, (name, texts)) in enumerate(sorted(found.items()), start=1):
        if version != expected:
            raise MigrationError(f"migration {expected} is missing: numbers run without a gap, and {version} is next")
        parts = [texts[kind] for kind in ("shared", dialect) if kind in texts]
        checksum = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        statements = tuple(each for part in parts for each in split_statements(part))
        migrations.append(
            Migration(version=version, name=name, dialect=dialect, checksum=checksum, statements=statements)
        )
    return migrations


async def migrate(database: Database, migrations: Sequence[Migration], clock: WallClock) -> list[Migration]:
    """Apply what is missing, in order, each in a transaction of its own; return what was applied by this call.

    Raises MigrationError when an applied migration differs from the program's or is unknown to it, or something is missing that this login may not apply; and
    Unavailable when another program migrates for longer than LOCK_WAIT_S. One that fails is undone, and its error passes through.
    """
    if not isinstance(database, Patient):
        return await _migrate(database, migrations, clock)
    async with database.patient(STATEMENT_S) as patient:
        return await _migrate(patient, migrations, clock)


async def alone(database: Database, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Do ``work`` in a transaction during which no other program migrates; Unavailable when one does so for longer than LOCK_WAIT_S. On PostgreSQL."""
    patient_until = trio.current_time() + LOCK_WAIT_S
    while True:
        async with database.transaction() as transaction:
            row = await transaction.fetch_one(_LOCK)
            if row is not None and row["is_ours"]:
                return await work(transaction)
        if trio.current_time() >= patient_until:
            raise Unavailable(
                f"another program has been migrating the database for {LOCK_WAIT_S:g} s: see what it does"
            )
        await trio.sleep(LOCK_LOOK_S)


async def _migrate(database: Database, migrations: Sequence[Migration], clock: WallClock) -> list[Migration]:
    is_postgres = any(each.dialect == "postgres" for each in migrations)
    if is_postgres and not await _may_migrate(database, migrations):
        return []
    apply_next = partial(_apply_next, migrations=migrations, clock=clock)
    applied: list[Migration] = []
    while True:
        if is_postgres:
            migration = await alone(database, apply_next)
        else:
            async with database.transaction() as transaction:
                migration = await apply_next(transaction)
        if migration is None:
            return applied
        applied.append(migration)


async def _may_migrate(database: Statements, migrations: Sequence[Migration]) -> bool:
    """Whether this login may change the schema; MigrationError when it may not and the schema is not as the program needs it."""
    standing = await database.fetch_one(_STANDING)
    assert standing is not None
    if standing["may_migrate"]:
        return True
    rows = await database.fetch(_APPLIED) if standing["has_begun"] else []
    missing = _missing(migrations, {row["version"]: row for row in rows})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise MigrationError(
            f"the schema lacks migration {missing[0].version} ({missing[0].name}){more}, and the login {standing['name']} may not change it:"
            " run `codewarz migrate` as the database's owner"
        )
    return False


async def _apply_next(transaction: Transaction, migrations: Sequence[Migration], clock: WallClock) -> Migration | None:
    """Apply the first one that is missing, if one is."""
    await transaction.execute(_TABLE)
    rows = await transaction.fetch(_APPLIED)
    missing = _missing(migrations, {row["version"]: row for row in rows})
    if not missing:
        return None
    migration = missing[0]
    for statement in migration.statements:
        await transaction.execute(statement)
    await transaction.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at_ms) VALUES ($1, $2, $3, $4)",
        migration.version,
        migration.name,
        migration.checksum,
        clock.now_ms(),
    )
    return migration


def _missing(migrations: Sequence[Migration], applied: Mapping[int, Row]) -> list[Migration]:
    """Return what was not applied yet; raise MigrationError when what was applied is not what this program knows."""
    known = {each.version: each for each in migrations}
    for version in sorted(applied):
        row, migration = applied[version], known.get(version)
        if migration is None:
            raise MigrationError(
                f"the database is at migration {max(applied)} ({applied[max(applied)]['name']}) and this program knows "
                f"{max(known, default=0)}: start the newer program, or restore the backup made before its first start"
            )
        if row["checksum"] != migration.checksum:
            raise MigrationError(
                f"migration {version} ({migration.name}) was changed after it was applied: restore its text and put the "
                "change into a new migration"
            )
    return [each for each in migrations if each.version not in applied]
