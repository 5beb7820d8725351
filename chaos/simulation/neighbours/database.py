"""PostgreSQL as processes see it: one SQLite in memory, whose every commit is looked at.

What is not like PostgreSQL: transactions come one after the other, so that readers wait for writers, and two of them never overlap.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Self

import trio

from chaos.simulation.faults import Fault
from chaos.simulation.world import Link, World
from contracts import ports
from contracts.errors import EdgeLost
from contracts.ports import Row, Sql
from edge.dialect import check_parameters
from edge.sqlite import SqliteDatabase
from edge.sqlite_connection import MEMORY, Connection
from edge.worker import InlineWorker

NAME = "database"
KEEPALIVE_S = (
    1.0,
    8.0,
)  # until a listening connection that died in silence is found out: the edge asks every 5 s and waits for 3

# Every commit tells here what the checkers want to know: triggers run inside the transaction, so what is undone leaves no trace.
HISTORY = (
    """CREATE TABLE simulated_history (seq INTEGER PRIMARY KEY, what TEXT, id TEXT, attempt INTEGER, verdict TEXT, fencing INTEGER, newest INTEGER,
        priority INTEGER)""",
    """CREATE TRIGGER simulated_outbox AFTER INSERT ON outbox_messages BEGIN
        INSERT INTO simulated_history (what, id, priority) VALUES ('outbox', NEW.id, NEW.priority); END""",
    """CREATE TRIGGER simulated_verdict AFTER INSERT ON verdicts BEGIN
        INSERT INTO simulated_history (what, id, attempt, verdict, fencing, newest) SELECT 'verdict', NEW.submission_id, NEW.attempt, NEW.verdict,
            NEW.fencing, s.fencing FROM submissions s WHERE s.id = NEW.submission_id; END""",
    """CREATE TRIGGER simulated_verdict_changed AFTER UPDATE ON verdicts BEGIN
        INSERT INTO simulated_history (what, id, attempt, verdict) VALUES ('verdict_changed', NEW.submission_id, NEW.attempt, NEW.verdict); END""",
    """CREATE TRIGGER simulated_verdict_gone AFTER DELETE ON verdicts BEGIN
        INSERT INTO simulated_history (what, id, attempt, verdict) VALUES ('verdict_gone', OLD.submission_id, OLD.attempt, OLD.verdict); END""",
    """CREATE TRIGGER simulated_overruled AFTER UPDATE OF verdict ON submissions WHEN OLD.verdict IS NOT NULL AND OLD.attempt = NEW.attempt
        BEGIN INSERT INTO simulated_history (what, id, attempt, verdict) VALUES ('overruled', NEW.id, NEW.attempt, NEW.verdict); END""",
    """CREATE TRIGGER simulated_attempt AFTER UPDATE OF attempt ON submissions
        BEGIN INSERT INTO simulated_history (what, id, attempt, priority) VALUES ('attempt', NEW.id, NEW.attempt, NEW.priority); END""",
    """CREATE TRIGGER simulated_submission AFTER INSERT ON submissions BEGIN
        INSERT INTO simulated_history (what, id, attempt, priority) VALUES ('submission', NEW.id, NEW.attempt, NEW.priority); END""",
    """CREATE TRIGGER simulated_submission_gone AFTER DELETE ON submissions BEGIN
        INSERT INTO simulated_history (what, id, attempt) VALUES ('submission_gone', OLD.id, OLD.attempt); END""",
)


class Engine(SqliteDatabase):
    """The one database. ``on_commit`` gets the lines of history that a commit added, before anything else can happen."""

    def __init__(self, on_commit: Callable[[list[Row]], None]) -> None:
        super().__init__(MEMORY)
        self._on_commit = on_commit
        self._seen = -1  # below 0: no history yet
        self.restarts = 0  # each breaks every connection and undoes what was under way
        self.connection: Connection

    async def __aenter__(self) -> Self:
        self.connection = Connection(MEMORY, synchronous="OFF")
        self._writer = self._reader = InlineWorker(self.connection)
        return self

    def fill(self, template: bytes) -> None:
        """Begin with the content of another database that keeps history, and have every commit from now on tell what it did."""
        self.connection.restore(template)
        self._seen = 0

    def read(self, sql: str, *parameters: Sql) -> list[Row]:
        """Read what is committed, at no cost in time. Only while no transaction is open."""
        return self.connection.fetch(check_parameters(sql, parameters), parameters)

    @property
    def is_busy(self) -> bool:
        """Whether a transaction is open."""
        return self.connection.in_transaction

    def _wake(self, channels: Iterable[str]) -> None:
        if self._seen < 0:
            return
        rows = self.read("SELECT * FROM simulated_history WHERE seq > $1 ORDER BY seq", self._seen)
        if rows:
            self._seen = rows[-1]["seq"]
            self._on_commit(rows)
        super()._wake(channels)


class SimulatedDatabase:
    """The ``Database`` port of one process."""

    def __init__(self, world: World, link: Link, engine: Engine) -> None:
        self._world = world
        self._link = link
        self._engine = engine
        self.busy = 0  # statements and transactions under way at the server

    @contextmanager
    def _working(self) -> Iterator[None]:
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Run a query on its own."""
        what = _words(sql)
        await self._link.there(what)
        with self._working():
            rows = await self._engine.fetch(sql, *parameters)
        await self._link.back(what)
        return rows

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Run a query on its own."""
        what = _words(sql)
        await self._link.there(what)
        with self._working():
            row = await self._engine.fetch_one(sql, *parameters)
        await self._link.back(what)
        return row

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run a statement on its own."""
        what = _words(sql)
        await self._link.there(what)
        with self._working():
            changed = await self._engine.execute(sql, *parameters)
        await self._link.back(what)
        return changed

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run a statement for each row, in one transaction."""
        what = _words(sql)
        await self._link.there(what)
        with self._working():
            await self._engine.execute_many(sql, parameters)
        await self._link.back(what)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ports.Transaction]:
        """Begin a transaction. It breaks when the database restarts, and is undone then."""
        await self._link.there("BEGIN")
        with self._working():
            async with self._engine.transaction() as tx:
                transaction = _Transaction(self._link, self._engine, tx)
                yield transaction
                await transaction.there("COMMIT")
        await self._link.back("COMMIT", ambiguous=0.03)

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[ports.Wakeups]:
        """Listen; the connection may die in silence, which its keep-alive finds out after a while."""
        await self._link.there(f"LISTEN {channel}")
        async with self._engine.listen(channel) as wakeups:
            yield _Wakeups(self._world, self._link, self._engine, wakeups)


class _Transaction:
    """Statements of one transaction, each with its way there and back."""

    def __init__(self, link: Link, engine: Engine, tx: ports.Transaction) -> None:
        self._link = link
        self._engine = engine
        self._tx = tx
        self._restarts = engine.restarts

    async def there(self, what: str) -> None:
        """Bring a statement there; raises EdgeLost when the database was restarted since the transaction began."""
        await self._link.there(what, error=0.004)
        if self._engine.restarts != self._restarts:
            raise EdgeLost("the database was restarted in the middle of the transaction")

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Return all rows."""
        await self.there(_words(sql))
        return await self._tx.fetch(sql, *parameters)

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Return the first row."""
        await self.there(_words(sql))
        return await self._tx.fetch_one(sql, *parameters)

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run a statement."""
        await self.there(_words(sql))
        return await self._tx.execute(sql, *parameters)

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run a statement for each row."""
        await self.there(_words(sql))
        await self._tx.execute_many(sql, parameters)

    def later(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run a statement for each row, with whatever comes next."""
        self._tx.later(sql, parameters)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo the block alone when it raises."""
        async with self._tx.savepoint():
            yield


class _Wakeups:
    def __init__(self, world: World, link: Link, engine: Engine, wakeups: ports.Wakeups) -> None:
        self._world = world
        self._link = link
        self._engine = engine
        self._wakeups = wakeups
        self._restarts = engine.restarts

    async def wait(self) -> None:
        """Return when there was a notification."""
        while True:
            if self._world.strikes(Fault.LISTEN_LOST, 0.1):
                self._world.trace(self._link.machine.name, "LISTEN is dead, and nobody knows")
                await self._world.clock.sleep(self._world.chance.uniform(*KEEPALIVE_S))
                raise EdgeLost("the listening connection did not answer its keep-alive")
            with trio.move_on_after(1.0):
                await self._wakeups.wait()
                await self._check()
                return
            await self._check()

    async def _check(self) -> None:
        if self._engine.restarts != self._restarts:
            raise EdgeLost("the listening connection broke: the database was restarted")
        if self._world.is_cut(self._link.machine.name, NAME):
            await self._world.clock.sleep(self._world.chance.uniform(*KEEPALIVE_S))
            raise EdgeLost("the listening connection did not answer its keep-alive")


def _words(sql: str) -> str:
    """Return a statement's beginning, for the trace."""
    return sql[:48]
