"""SQLite behind the ``Database`` port: one file, one writer, a few readers.

Rule 1: what is committed survives a power cut. WAL with ``synchronous=FULL`` syncs the log at every commit; NORMAL would lose the last commits, and an
        acknowledged submission with them. A commit took 360 µs with FULL and 66 with NORMAL (p50, ``bench/edges.py``, 2 cores, virtual disk), and one
        commit of 100 rows 510 µs: grouping pays for the sync.
Rule 2: one writer connection on one thread. Writers queue for it in order of arrival; readers see the last commit and wait for nobody.
Rule 3: a transaction in which a statement failed can only be rolled back, wholly or to a savepoint. SQLite would let it go on, PostgreSQL does not, and
        code must not depend on the difference.
Rule 4: notifications leave after the commit and never after a rollback. They reach listeners in this process: another that writes the same file wakes nobody.

``:memory:`` has one connection and no thread: everything runs in the Trio thread between checkpoints, and a reader waits for the transaction under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Literal, Self, TypeVar

import trio

from contracts import ports
from contracts.errors import EdgeLost, Invalid
from contracts.ports import Row, Sql
from edge.dialect import check_parameters, check_rows
from edge.sqlite_connection import MEMORY, Connection
from edge.worker import InlineWorker, ThreadWorker, Worker

T = TypeVar("T")
READERS = 2


@asynccontextmanager
async def open_database(url: str, *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> AsyncIterator[SqliteDatabase]:
    """Open ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite://:memory:`` for the length of the block."""
    async with SqliteDatabase(path_of(url), synchronous=synchronous) as database:
        yield database


def path_of(url: str) -> str:
    """Return the path in an ``sqlite:`` URL; raise Invalid for any other."""
    scheme, separator, rest = url.partition("://")
    path = rest.removeprefix("/")
    if scheme != "sqlite" or not separator or not path or (rest == path and path != MEMORY):
        raise Invalid(f"{url!r} names no SQLite database: write sqlite:///file.db or sqlite://:memory:")
    return path


class SqliteDatabase:
    """One database for one process. Use as ``async with SqliteDatabase(path) as database``.

    Raises Unavailable when the file cannot be opened or written, EdgeLost when it is damaged, closed or its disk fails.
    """

    def __init__(self, path: str, *, synchronous: Literal["FULL", "NORMAL"] = "FULL", readers: int = READERS) -> None:
        self.path = path
        self._synchronous = synchronous
        self._reader_count = readers
        self._writing = trio.Lock()
        self._listeners: dict[str, set[_Wakeups]] = {}
        self._writer: Worker
        self._reader: Worker

    def __repr__(self) -> str:
        return f"<SqliteDatabase {self.path} waiting={self._writing.statistics().tasks_waiting}>"

    async def __aenter__(self) -> Self:
        if self.path == MEMORY:
            self._writer = self._reader = InlineWorker(Connection(MEMORY, synchronous="OFF"))
            return self
        writer = await trio.to_thread.run_sync(lambda: Connection(self.path, synchronous=self._synchronous))
        readers = await trio.to_thread.run_sync(self._open_readers)
        self._writer = ThreadWorker("sqlite-writer", [writer])
        self._reader = ThreadWorker("sqlite-reader", readers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish the statements under way, close the file, and wake every listener with EdgeLost."""
        for listeners in self._listeners.values():
            for each in listeners:
                each.lose()
        with trio.CancelScope(shield=True):
            await self._reader.close()
            await self._writer.close()

    async def content(self) -> bytes:
        """Return the whole database, as it is committed, as the bytes of a file."""
        return await self._read(Connection.content)

    def _open_readers(self) -> list[Connection]:
        return [Connection(self.path, synchronous=self._synchronous, is_reader=True) for _ in range(self._reader_count)]

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Return all rows. A plain SELECT runs on a reader; anything else is a transaction of its own."""
        plan = check_parameters(sql, parameters)
        if plan.is_read:
            return await self._read(lambda connection: connection.fetch(plan, parameters))
        return await self._write(lambda connection: connection.fetch(plan, parameters))

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Return the first row, or None."""
        plan = check_parameters(sql, parameters)
        if plan.is_read:
            return await self._read(lambda connection: connection.fetch_one(plan, parameters))
        return await self._write(lambda connection: connection.fetch_one(plan, parameters))

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run one statement and commit it; return the number of rows it changed."""
        plan = check_parameters(sql, parameters)
        return await self._write(lambda connection: connection.execute(plan, parameters))

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, all or nothing, in one commit."""
        if not parameters:
            await trio.lowlevel.checkpoint()
            return
        plan = check_rows(sql, parameters)

        def all_of_them(connection: Connection) -> None:
            connection.begin()
            connection.execute_many(plan, parameters)

        await self._write(all_of_them)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ports.Transaction]:
        """Begin a transaction. Writers wait their turn, first come first served; the same task asking for a second one is a RuntimeError."""
        async with self._writing:
            transaction = _Transaction(self._writer)
            try:
                yield transaction
                channels = await transaction.commit()
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._roll_back()
                raise
            finally:
                transaction.end()
        self._wake(channels)

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[ports.Wakeups]:
        """Listen from here on: what was committed before is for a scan to find."""
        wakeups = _Wakeups()
        listeners = self._listeners.setdefault(channel, set())
        listeners.add(wakeups)
        try:
            yield wakeups
        finally:
            listeners.discard(wakeups)
            if not listeners:
                self._listeners.pop(channel, None)

    async def _read(self, call: Callable[[Connection], T]) -> T:
        if self._reader is not self._writer:
            return await self._reader.run(call)
        async with self._writing:  # the one connection would show what is not committed yet
            return await self._reader.run(call)

    async def _write(self, call: Callable[[Connection], T]) -> T:
        def commit_it(connection: Connection) -> tuple[T, list[str]]:
            try:
                return call(connection), connection.commit()
            except BaseException:
                connection.rollback()
                raise

        async with self._writing:
            result, channels = await self._writer.run(commit_it)
        self._wake(channels)
        return result

    async def _roll_back(self) -> None:
        try:
            await self._writer.run(Connection.rollback)
        except EdgeLost:
            return  # closed in the middle: closing undoes it as well

    def _wake(self, channels: Iterable[str]) -> None:
        for channel in channels:
            for each in self._listeners.get(channel, ()):
                each.notify()


class _Wakeups:
    """What one listener has not seen yet: one bit."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._is_lost = False

    def notify(self) -> None:
        self._event.set()

    def lose(self) -> None:
        self._is_lost = True
        self._event.set()

    async def wait(self) -> None:
        """Return when something may have changed; raises EdgeLost when the database was closed."""
        await self._event.wait()
        if self._is_lost:
            raise EdgeLost("the database was closed: listen again after opening it")
        self._event = trio.Event()


class _Transaction:
    """The statements of one block, begun with its first one (so BEGIN costs no crossing of its own)."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._has_begun = False
        self._has_failed = False
        self._is_over = False
        self._savepoints = 0
        self._later: list[Callable[[Connection], None]] = []

    def later(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, in the crossing of whatever comes next."""
        self._check()
        if parameters:
            plan = check_rows(sql, parameters)
            self._later.append(lambda connection: connection.execute_many(plan, parameters))

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Return all rows."""
        plan = check_parameters(sql, parameters)
        return await self._run(lambda connection: connection.fetch(plan, parameters))

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Return the first row, or None."""
        plan = check_parameters(sql, parameters)
        return await self._run(lambda connection: connection.fetch_one(plan, parameters))

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run one statement; return the number of rows it changed."""
        plan = check_parameters(sql, parameters)
        return await self._run(lambda connection: connection.execute(plan, parameters))

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, in one crossing."""
        if not parameters:
            await trio.lowlevel.checkpoint()
            return
        plan = check_rows(sql, parameters)
        await self._run(lambda connection: connection.execute_many(plan, parameters))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo the block's statements alone when it raises; a failed statement inside is forgiven with them."""
        self._savepoints += 1
        name = f"savepoint_{self._savepoints}"
        await self._run(lambda connection: connection.savepoint(name))
        try:
            yield
            await self._run(lambda connection: connection.release(name))
        except BaseException:
            self._later.clear()  # all of it came after the savepoint's begin, which took along what came before
            with trio.CancelScope(shield=True):
                if await self._worker.run(lambda connection: connection.rollback_to(name)):
                    self._has_failed = False
            raise

    async def commit(self) -> list[str]:
        """Commit; return the channels to wake. Cancelled before it begins, it does not happen; once begun it is waited for."""
        self._check()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._later:
            return await self._run(Connection.commit)
        return await self._worker.run(Connection.commit) if self._has_begun else []

    def end(self) -> None:
        """Refuse every further statement."""
        self._is_over = True

    def _check(self) -> None:
        if self._is_over:
            raise RuntimeError("the transaction is over: begin another one")
        if self._has_failed:
            raise RuntimeError(
                "a statement of this transaction failed: let it roll back, or put what may fail into a savepoint"
            )

    async def _run(self, call: Callable[[Connection], T]) -> T:
        self._check()
        begins, self._has_begun = not self._has_begun, True
        before, self._later = self._later, []

        def job(connection: Connection) -> T:
            if begins:
                connection.begin()
            for each in before:
                each(connection)
            return call(connection)

        try:
            return await self._worker.run(job)
        except BaseException:
            self._has_failed = True
            raise
