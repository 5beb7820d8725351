"""One connection to SQLite and everything that is synchronous about it: opening, statements, notifications, and the one mapping of its errors.

A connection is used by one thread at a time. It never decides when a transaction begins or ends: ``edge.sqlite`` does.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from contracts.errors import Conflict, Duplicate, EdgeLost, Invalid, TooLarge, Unavailable
from contracts.ports import Row, Sql
from edge.dialect import Plan

MEMORY = ":memory:"
BUSY_TIMEOUT_MS = 5_000  # how long another *process* may hold the file; our own writers queue before they get here
JOURNAL_LIMIT_BYTES = 64 << 20
_NAMES = tuple(str(number) for number in range(1, 1000))  # "$7" is bound by the name "7"


class Interrupted(Exception):
    """The statement was stopped because its caller was cancelled. Never leaves the edge."""


def mapped(exc: Exception, path: str) -> Exception:
    """Return what a driver's error means to a caller; a bug of ours (bad SQL) is returned as it is."""
    if isinstance(exc, OverflowError):
        return Invalid("a number is beyond 64 bits")
    if isinstance(exc, UnicodeEncodeError):
        return Invalid("a text holds half a surrogate pair, which is not a character")
    if not isinstance(exc, sqlite3.Error):
        return exc
    name = getattr(exc, "sqlite_errorname", "") or ""
    text = str(exc)
    if name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"):
        return _duplicate(text)
    for prefix, make in _BY_NAME.items():
        if name.startswith(prefix):
            return make(text, path)
    return exc


def _duplicate(text: str) -> Duplicate:
    """Name the constraint: ``users.email_key``, ``votes.user_id,poll_id`` for several columns, or an expression index's own name."""
    _, _, columns = text.partition(": ")
    first, *others = columns.split(", ")
    constraint = ",".join([first, *(other.rpartition(".")[2] for other in others)])
    constraint = constraint.removeprefix("index ").strip("'")
    return Duplicate(f"this exists already ({constraint})", constraint)


_BY_NAME: dict[str, Callable[[str, str], Exception]] = {
    "SQLITE_INTERRUPT": lambda _text, _path: Interrupted(),
    "SQLITE_CONSTRAINT_FOREIGNKEY": lambda _text, _path: Conflict(
        "this refers to something that does not exist, or something else still refers to it"
    ),
    "SQLITE_CONSTRAINT": lambda text, _path: Invalid(f"the database does not allow this value: {text}"),
    "SQLITE_TOOBIG": lambda _text, _path: TooLarge("a value is too large for the database"),
    "SQLITE_FULL": lambda _text, path: Unavailable(
        f"the disk that holds {path} is full: free some space on it", retry_after_s=10.0
    ),
    "SQLITE_BUSY": lambda _text, path: Unavailable(
        f"another process holds {path} locked: end it, or try again", retry_after_s=1.0
    ),
    "SQLITE_LOCKED": lambda _text, path: Unavailable(f"{path} is locked: try again", retry_after_s=1.0),
    "SQLITE_READONLY": lambda _text, path: Unavailable(
        f"{path} cannot be written: check the rights of the file and its folder"
    ),
    "SQLITE_PERM": lambda _text, path: Unavailable(f"{path} cannot be used: check its rights"),
    "SQLITE_CANTOPEN": lambda _text, path: Unavailable(
        f"{path} cannot be opened: check that its folder exists and may be written"
    ),
    "SQLITE_NOMEM": lambda _text, _path: Unavailable("the database is out of memory", retry_after_s=1.0),
    "SQLITE_CORRUPT": lambda text, path: EdgeLost(f"{path} is damaged ({text}): restore it from a backup"),
    "SQLITE_NOTADB": lambda _text, path: EdgeLost(f"{path} is not an SQLite database: name another file"),
    "SQLITE_IOERR": lambda text, path: EdgeLost(f"reading or writing {path} failed ({text}): check the disk"),
}


class Connection:
    """One connection; ``notified`` collects the channels of pg_notify() since the last commit, each once."""

    def __init__(self, path: str, *, synchronous: str, is_reader: bool = False) -> None:
        self._path = path
        self._marks: dict[str, int] = {}
        self.notified: list[str] = []
        try:
            if path != MEMORY and not is_reader:
                _make_private(path)
            self._raw = sqlite3.connect(
                path,
                timeout=BUSY_TIMEOUT_MS / 1000,
                isolation_level=None,  # we say BEGIN ourselves
                check_same_thread=False,  # one thread at a time, and interrupt() from the caller's
                cached_statements=512,
            )
            try:
                self._configure(synchronous, is_reader=is_reader)
            except BaseException:
                self._raw.close()
                raise
        except OSError as exc:
            raise Unavailable(f"{path} cannot be opened ({exc.strerror}): check its folder and rights") from exc
        except sqlite3.Error as exc:
            raise mapped(exc, path) from exc

    def _configure(self, synchronous: str, *, is_reader: bool) -> None:
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            f"journal_size_limit={JOURNAL_LIMIT_BYTES}",
            "temp_store=MEMORY",
            f"query_only={'ON' if is_reader else 'OFF'}",
        ):
            self._raw.execute(f"PRAGMA {pragma}").fetchall()
        self._raw.create_function("pg_notify", 2, self._notify)

    def _notify(self, channel: str, _payload: str) -> None:
        if channel not in self.notified:
            self.notified.append(channel)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; SQLite ends one by itself after some errors."""
        return self._raw.in_transaction

    def fetch(self, plan: Plan, parameters: Sequence[Sql]) -> list[Row]:
        """Run a statement to its end; return its rows."""
        return self._run(plan, parameters)[1]

    def fetch_one(self, plan: Plan, parameters: Sequence[Sql]) -> Row | None:
        """Run a statement; return its first row. A statement that changes something still runs to its end."""
        if not plan.is_read:
            return next(iter(self._run(plan, parameters)[1]), None)
        try:
            cursor = self._raw.execute(plan.sql, dict(zip(_NAMES, parameters, strict=False)))
            row = cursor.fetchone()
            names = [column[0] for column in cursor.description]
            cursor.close()
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as exc:
            raise mapped(exc, self._path) from exc
        return None if row is None else dict(zip(names, row, strict=True))

    def execute(self, plan: Plan, parameters: Sequence[Sql]) -> int:
        """Run a statement to its end; return the number of rows it changed."""
        return self._run(plan, parameters)[0]

    def execute_many(self, plan: Plan, rows: Sequence[Sequence[Sql]]) -> None:
        """Run a statement for each row of parameters. All or nothing only inside a transaction."""
        try:
            self._raw.executemany(plan.sql, (dict(zip(_NAMES, row, strict=False)) for row in rows))
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as exc:
            raise mapped(exc, self._path) from exc

    def _run(self, plan: Plan, parameters: Sequence[Sql]) -> tuple[int, list[Row]]:
        try:
            cursor = self._raw.execute(plan.sql, dict(zip(_NAMES, parameters, strict=False)))
            rows = cursor.fetchall()
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as exc:
            raise mapped(exc, self._path) from exc
        changed = max(cursor.rowcount, 0)
        if not rows:
            return changed, []
        names = [column[0] for column in cursor.description]
        return changed, [dict(zip(names, row, strict=True)) for row in rows]

    def begin(self) -> None:
        """Begin a transaction that may write: it waits here, and not at its first write, for another process."""
        self._command("BEGIN IMMEDIATE")

    def commit(self) -> list[str]:
        """Commit what is open; return the channels to wake."""
        if self._raw.in_transaction:
            self._command("COMMIT")
        return self.take_notified()

    def rollback(self) -> None:
        """Undo what is open. Never fails for want of a transaction: SQLite may have ended it by itself."""
        self.notified.clear()
        self._marks.clear()
        if self._raw.in_transaction:
            self._command("ROLLBACK")

    def savepoint(self, name: str) -> None:
        """Mark a point to return to."""
        self._command(f"SAVEPOINT {name}")
        self._marks[name] = len(self.notified)

    def release(self, name: str) -> None:
        """Forget the mark and keep what came after it."""
        self._command(f"RELEASE {name}")
        del self._marks[name]

    def rollback_to(self, name: str) -> bool:
        """Undo what came after the mark; False when the whole transaction is gone already."""
        mark = self._marks.pop(name, None)
        if mark is None or not self._raw.in_transaction:
            return False
        del self.notified[mark:]
        self._command(f"ROLLBACK TO {name}")
        self._command(f"RELEASE {name}")
        return True

    def take_notified(self) -> list[str]:
        """Return the channels notified since the last time."""
        taken, self.notified = self.notified, []
        self._marks.clear()
        return taken

    def content(self) -> bytes:
        """Return the whole database as the bytes of its file."""
        return self._raw.serialize()

    def restore(self, content: bytes) -> None:
        """Become a copy of what ``content`` returned; only for ``:memory:``."""
        self._raw.deserialize(content)

    def interrupt(self) -> None:
        """Stop the running statement, from any thread."""
        self._raw.interrupt()

    def close(self) -> None:
        """Close; what is open is undone."""
        self._raw.close()

    def _command(self, sql: str) -> None:
        try:
            self._raw.execute(sql)
        except sqlite3.Error as exc:
            raise mapped(exc, self._path) from exc


def _make_private(path: str) -> None:
    """Create the file readable by its owner alone: it holds password hashes. The WAL beside it inherits its rights."""
    os.close(os.open(Path(path), os.O_CREAT | os.O_RDWR, 0o600))
