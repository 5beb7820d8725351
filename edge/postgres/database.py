"""PostgreSQL on Trio's side: whose turn it is, statements, transactions, and listening.

Rule 1: opening needs no server. Each call connects when it must, and raises Unavailable while it cannot; nothing has to be restarted afterwards.
Rule 2: at most ``size`` connections for statements. Who finds them all in use waits for a turn, first come first served, TURN_S at most: then *the database is
        busy*. A task that has a transaction may not ask for a second turn: with all turns taken by such tasks, nobody would ever get one.
Rule 3: a transaction in which a statement failed can only be rolled back, wholly or to a savepoint.
Rule 4: crossings are counted. A statement by itself is one, with taking and giving back its connection. A transaction of n statements is n + 1: BEGIN goes
        with the first one, savepoints with the next one, the connection's return with COMMIT. ``execute_many`` is one.
Rule 5: a server that stands still or vanished is noticed by the next call: DeadlineExceeded after ``statement_s`` seconds (a commit has one more), or EdgeLost
        before. A cancelled caller waits one second at most.

Connect directly to the server (or through a pooler's session mode): what a session holds here, prepared statements, settings and LISTEN, a pooler in
transaction mode such as PgBouncer's takes away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import trio

from contracts import ports
from contracts.errors import Unavailable
from contracts.ports import Row, Sql
from edge.aio import AsyncioLoop
from edge.dialect import check_parameters, check_rows
from edge.postgres import statements
from edge.postgres.address import Address
from edge.postgres.connections import Connections, Session, Work
from edge.postgres.errors import AGAIN_S
from edge.postgres.listening import PostgresWakeups

T = TypeVar("T")
SIZE = 10
TURN_S = 2.0
STATEMENT_S = 10.0  # judging 20,000 submissions again is the longest statement of the house


class PostgresDatabase:
    """One database for one process. Use as ``async with PostgresDatabase(url, aio) as database``; it may be opened again after it was closed.

    ``size`` bounds the connections (each listener has one more), ``statement_s`` each statement. Raises Invalid for a bad URL. Calls raise Unavailable when
    nothing happened, DeadlineExceeded and EdgeLost when the outcome is unknown.
    """

    def __init__(
        self, url: str | Address, aio: AsyncioLoop, *, size: int = SIZE, statement_s: float = STATEMENT_S
    ) -> None:
        self.address = Address.parse(url) if isinstance(url, str) else url
        self._aio = aio
        self._connections = Connections(self.address, statement_s)
        self._turns = trio.CapacityLimiter(size)
        self._listeners: set[PostgresWakeups] = set()

    def __repr__(self) -> str:
        turns = self._turns.statistics()
        return f"<PostgresDatabase {self.address} in_use={turns.borrowed_tokens} waiting={turns.tasks_waiting}>"

    async def __aenter__(self) -> Self:
        self._aio.post(self._connections.open)
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cut every connection: statements under way and listeners hear EdgeLost."""
        for each in tuple(self._listeners):
            each.close()
        self._aio.post(self._connections.close)
        await trio.lowlevel.checkpoint()

    def patient(self, statement_s: float) -> PostgresDatabase:
        """Return the same database, to be opened, with one connection and ``statement_s`` seconds for each statement: for migrations."""
        return PostgresDatabase(self.address, self._aio, size=1, statement_s=statement_s)

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Return all rows, after the commit."""
        check_parameters(sql, parameters)
        return await self._once(partial(statements.fetch, sql, parameters))

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Return the first row, or None."""
        check_parameters(sql, parameters)
        return await self._once(partial(statements.fetch_one, sql, parameters))

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run one statement and commit it; return the number of rows it changed."""
        check_parameters(sql, parameters)
        return await self._once(partial(statements.execute, sql, parameters))

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, all or nothing, in one commit and one crossing."""
        if not parameters:
            await trio.lowlevel.checkpoint()
            return
        check_rows(sql, parameters)
        await self._once(partial(statements.execute_many, sql, parameters))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ports.Transaction]:
        """Begin a transaction (READ COMMITTED), with its first statement. The same task asking for a second one is a RuntimeError."""
        async with self._turn():
            session = Session(self._connections)
            transaction = _Transaction(self._aio, session)
            try:
                yield transaction
                await transaction.commit()
            finally:
                transaction.end()
                if session.has_begun:
                    with trio.CancelScope(shield=True):  # PROOF_S at most
                        await self._aio.call(session.abandon)

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[ports.Wakeups]:
        """Listen on a connection of its own from here on: what was committed before is for a scan to find."""
        wakeups = PostgresWakeups(self._aio, self._connections, channel)
        self._listeners.add(wakeups)
        try:
            await wakeups.begin()
            yield wakeups
        finally:
            self._listeners.discard(wakeups)
            with trio.CancelScope(shield=True):
                await wakeups.end()

    async def _once(self, work: Work[T]) -> T:
        async with self._turn():
            return await self._aio.call(self._connections.once, work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            self._turns.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(TURN_S) as patience:
                await self._turns.acquire()
            if patience.cancelled_caught:
                raise Unavailable(
                    f"the database is busy: all {self._turns.total_tokens:g} connections were in use for {TURN_S:g} s",
                    retry_after_s=AGAIN_S,
                ) from None
        except RuntimeError as exc:
            raise RuntimeError(
                "this task is in a transaction already: use that one, or end it before asking the database for more"
            ) from exc
        try:
            yield
        finally:
            self._turns.release()


class _Transaction:
    """The statements of one block, one after the other."""

    def __init__(self, aio: AsyncioLoop, session: Session) -> None:
        self._aio = aio
        self._session = session
        self._speaking = trio.Lock()
        self._has_failed = False
        self._is_over = False
        self._savepoints = 0

    def later(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, in the crossing of whatever comes next."""
        self._check()
        if parameters:
            check_rows(sql, parameters)
            self._session.put_off(partial(statements.execute_many, sql, parameters))

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Return all rows."""
        check_parameters(sql, parameters)
        return await self._run(partial(statements.fetch, sql, parameters))

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Return the first row, or None."""
        check_parameters(sql, parameters)
        return await self._run(partial(statements.fetch_one, sql, parameters))

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run one statement; return the number of rows it changed."""
        check_parameters(sql, parameters)
        return await self._run(partial(statements.execute, sql, parameters))

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, in one crossing."""
        if not parameters:
            await trio.lowlevel.checkpoint()
            return
        check_rows(sql, parameters)
        await self._run(partial(statements.execute_many, sql, parameters))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo the block's statements alone when it raises; a failed statement inside is forgiven with them.

        Costs no crossing of its own; but what was put off before its begin, or before its end, is run then and there, so that its errors stay on their side.
        """
        await self._catch_up()
        self._savepoints += 1
        name = f"savepoint_{self._savepoints}"
        self._session.mark(name)
        try:
            yield
            await self._catch_up()
            self._session.release(name)
        except BaseException:
            if not self._session.is_lost:
                self._session.undo_to(name)
                self._has_failed = False
            raise

    async def commit(self) -> None:
        """Commit. Cancelled before it begins, it does not happen; once begun its answer is waited for, a second at most after a cancellation."""
        await self._catch_up()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._session.has_begun:
            await self._aio.call(self._session.commit)

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

    async def _catch_up(self) -> None:
        self._check()
        if self._session.has_put_off:
            await self._run(statements.nothing)
        else:
            await trio.lowlevel.checkpoint()

    async def _run(self, work: Work[T]) -> T:
        self._check()
        try:
            self._speaking.acquire_nowait()
        except trio.WouldBlock:
            await self._speaking.acquire()  # two tasks share the transaction
        try:
            self._check()
            return await self._aio.call(self._session.run, work)
        except BaseException:
            self._has_failed = True
            raise
        finally:
            self._speaking.release()
