"""The asyncio side: connections, who has them, and when they may be used again. Everything here runs on the asyncio loop.

How many there are is decided on Trio's side: a caller comes here when it has its turn, and there are no more connections than turns.

Rule 1: a connection goes back to the others only when it is known to be idle. After a cancellation or a deadline it has to prove that it is (PROOF_S for the
        server's answer); otherwise it is cut. asyncpg asks the server to stop a cancelled statement, so the proof usually takes a millisecond.
Rule 2: where one connection was lost, the others are not trusted either: idle ones are cut, and those in use when they come back. A new connection is the
        only sure sign of a living server, and until there is one callers hear *Unavailable*, not *outcome unknown*.
Rule 3: what is committed survives a power cut: ``synchronous_commit`` is on, whatever the server's default says.
Rule 4: nothing waits for ever. A statement has ``statement_s``; the server stops it itself a little later, should we be gone. A peer that vanished is noticed
        by keepalives (KEEPALIVE), or USER_TIMEOUT_S after something was sent. A lock is waited for half as long as a statement, LOCK_S_MOST at most. A
        transaction in which nobody says anything for ``statement_s`` (SILENCE_S_MOST at most) is undone by the server, so that a process that stands still
        does not keep the others from their rows; the statement of one that died, and its locks, end after CLIENT_CHECK_MS.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

import asyncpg
import outcome

from contracts.errors import EdgeLost, Unavailable
from edge.deadline import timeout
from edge.postgres.address import Address
from edge.postgres.errors import AGAIN_S, is_lost, mapping, unreachable

T = TypeVar("T")
Connection = asyncpg.Connection  # of Record
Work = Callable[[Connection], Awaitable[T]]

CONNECT_S = 3.0
PROOF_S = 1.0
SERVER_EXTRA_S = 1.0  # by which the server's own limit is above ours: ours says more
KEEPALIVE = (15, 5, 2)  # idle seconds, seconds between probes, probes: a vanished peer is noticed after 25 s
USER_TIMEOUT_S = 15.0
LOCK_S_MOST = 5.0
SILENCE_S_MOST = 10.0
CLIENT_CHECK_MS = 1000
STATEMENTS_KEPT = 512  # prepared, per connection: more than there are in the whole house, so none is prepared twice


class Connections:
    """The connections of one process to one database, idle or handed out, and what to do with each."""

    def __init__(self, address: Address, statement_s: float) -> None:
        self.address = address
        self.statement_s = statement_s
        self._idle: list[Connection] = []  # the last one used is used next: its caches are warm, in both processes
        self._taken: dict[Connection, int] = {}  # each with the generation that it is of
        self._generation = 0
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Connections {self.address} idle={len(self._idle)} taken={len(self._taken)}>"

    def open(self) -> None:
        """Take calls. Nothing is connected before it is needed."""
        self._is_open = True

    def close(self) -> None:
        """Cut everything; who is in the middle of something hears EdgeLost."""
        self._is_open = False
        self.distrust()
        for each in tuple(self._taken):
            each.terminate()

    def distrust(self) -> None:
        """Cut the idle ones, and let those in use not come back."""
        self._generation += 1
        while self._idle:
            self._idle.pop().terminate()

    async def once(self, work: Work[T]) -> T:
        """Run one statement on a connection of its own."""
        connection = await self.take()
        is_idle = False
        try:
            with mapping(self.address):
                try:
                    async with timeout(self.statement_s):
                        result = await work(connection)
                except asyncpg.PostgresError as exc:
                    is_idle = not is_lost(exc)  # the server has said no, and waits for the next statement
                    raise
            is_idle = True
        finally:
            if is_idle:
                self.take_back(connection, is_idle=True)
            else:
                await self.prove(connection, "SELECT 1")
        return result

    async def take(self) -> Connection:
        """Hand out an idle connection, or a new one. Raises Unavailable when none can be made."""
        self._refuse_when_closed()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                self._taken[connection] = self._generation
                return connection
        generation = self._generation
        connection = await self.connect()
        self._taken[connection] = generation
        return connection

    async def prove(self, connection: Connection, sql: str) -> None:
        """Take back a connection of which nobody knows what it does: keep it when it answers to ``sql``, cut it otherwise."""
        if not connection.is_closed():
            try:
                async with timeout(PROOF_S):
                    await connection.execute(sql)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                connection.terminate()
            except BaseException:
                self.take_back(connection, is_idle=False)
                raise
        self.take_back(connection, is_idle=not connection.is_closed())

    def take_back(self, connection: Connection, *, is_idle: bool) -> None:
        """Take back a connection: one that is not known to be idle is cut, and the others with it."""
        generation = self._taken.pop(connection, None)
        if not is_idle or connection.is_closed():
            self.distrust()
            connection.terminate()
        elif generation == self._generation and self._is_open:
            self._idle.append(connection)
        else:
            connection.terminate()

    async def connect(self) -> Connection:
        """Make a connection, for this class's callers or for a listener. Raises Unavailable, and EdgeLost when the database is closed."""
        self._refuse_when_closed()
        lock_s, silence_s = min(self.statement_s / 2, LOCK_S_MOST), min(self.statement_s, SILENCE_S_MOST)
        idle, interval, probes = KEEPALIVE
        with mapping(self.address, unreachable):
            async with timeout(CONNECT_S):
                connection = await asyncpg.connect(
                    host=self.address.host,
                    port=self.address.port,
                    user=self.address.user,
                    password=self.address.password,
                    database=self.address.database,
                    ssl=self.address.tls or False,
                    timeout=2 * CONNECT_S,
                    command_timeout=self.statement_s,
                    statement_cache_size=STATEMENTS_KEPT,
                    max_cached_statement_lifetime=0,
                    server_settings={
                        "application_name": "codewarz",
                        "default_transaction_isolation": "read committed",
                        "statement_timeout": _milliseconds(self.statement_s + SERVER_EXTRA_S),
                        "lock_timeout": _milliseconds(lock_s),
                        "idle_in_transaction_session_timeout": _milliseconds(silence_s),
                        "tcp_keepalives_idle": str(idle),
                        "tcp_keepalives_interval": str(interval),
                        "tcp_keepalives_count": str(probes),
                        "jit": "off",  # compiling takes longer than any statement here
                    },
                )
                try:
                    await self._prepare(connection)
                    self._refuse_when_closed()
                except BaseException:
                    connection.terminate()
                    raise
        return connection

    def _refuse_when_closed(self) -> None:
        if not self._is_open:
            raise EdgeLost("the database is closed")

    async def _prepare(self, connection: Connection) -> None:
        plug: socket.socket = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001 - it shows its socket to nobody
        idle, interval, probes = KEEPALIVE
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * USER_TIMEOUT_S))
        await connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        if connection.get_server_version() >= (14,):  # a statement whose process died ends, and lets go of its locks
            await connection.execute(f"SET client_connection_check_interval = {CLIENT_CHECK_MS}")
        # Sums of BIGINT are NUMERIC here and integers in SQLite: one type for whoever reads them.
        await connection.set_type_codec("numeric", schema="pg_catalog", format="text", encoder=str, decoder=_number)


class Session:
    """One transaction. Trio's side says what comes next while nothing runs here, so neither side touches it while the other does.

    BEGIN, SAVEPOINT, RELEASE and ROLLBACK TO wait in ``_pending`` and travel in front of the next statement, all of them in one message: a transaction of n
    statements in n savepoints takes 2n + 1 round trips, not 4n + 2. None of them can fail unless the connection does.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: Connection | None = None
        self._pending = ["BEGIN"]
        # To be run after ``_pending``; no savepoint begins or ends while there are any.
        self._put_off: list[Work[None]] = []
        self.is_lost = False  # beyond what a savepoint could mend

    @property
    def has_begun(self) -> bool:
        """Whether the server may know of this transaction."""
        return self._connection is not None

    @property
    def has_put_off(self) -> bool:
        """Whether statements wait for the next one."""
        return bool(self._put_off)

    # ---- between statements, from Trio's side ----------------------------------------------------------------------

    def put_off(self, work: Work[None]) -> None:
        """Have a statement run before the next one, in its crossing."""
        self._put_off.append(work)

    def mark(self, name: str) -> None:
        """Begin a savepoint."""
        self._pending.append(f"SAVEPOINT {name}")

    def release(self, name: str) -> None:
        """Keep what came after the savepoint."""
        if self._pending and self._pending[-1] == f"SAVEPOINT {name}":
            self._pending.pop()  # nothing did
        else:
            self._pending.append(f"RELEASE {name}")

    def undo_to(self, name: str) -> None:
        """Undo what came after the savepoint."""
        self._put_off.clear()
        mark = f"SAVEPOINT {name}"
        if mark in self._pending:
            del self._pending[self._pending.index(mark) :]
        else:
            self._pending += [f"ROLLBACK TO {name}", f"RELEASE {name}"]

    # ---- on the loop -----------------------------------------------------------------------------------------------

    async def run(self, work: Work[T]) -> T:
        """Run one statement, after what waits to be said before it."""
        try:
            with mapping(self._connections.address):
                if self._connection is None:
                    self._connection = await self._connections.take()
                async with timeout(self._connections.statement_s) as limit:
                    await self._say_pending(self._connection)
                    while self._put_off:
                        await self._put_off.pop(0)(self._connection)
                        limit.reschedule(asyncio.get_running_loop().time() + self._connections.statement_s)
                    return await work(self._connection)
        finally:
            self.is_lost = self.is_lost or (self._connection is not None and self._connection.is_closed())

    async def commit(self) -> None:
        """Commit, and give the connection back. Cancelled while the server does it, it waits PROOF_S more for the answer, which then counts."""
        connection, self._connection = self._connection, None
        assert connection is not None
        self._pending.append("COMMIT")
        is_idle = False
        try:
            with mapping(self._connections.address):
                try:
                    async with timeout(self._connections.statement_s):
                        status = await _to_its_end(connection, "; ".join(self._pending))
                except asyncpg.PostgresError as exc:
                    is_idle = not is_lost(exc)
                    raise
            is_idle = True
        finally:
            self._connections.take_back(connection, is_idle=is_idle and not connection.is_in_transaction())
        if status != "COMMIT":
            raise Unavailable("the server undid the transaction in place of committing it", retry_after_s=AGAIN_S)

    async def abandon(self) -> None:
        """Undo everything and give the connection back."""
        connection, self._connection = self._connection, None
        assert connection is not None
        await self._connections.prove(connection, "ROLLBACK")

    async def _say_pending(self, connection: Connection) -> None:
        if not self._pending:
            return
        self.is_lost = True  # unless all of it is heard: in the middle nobody knows which savepoints there are
        await connection.execute("; ".join(self._pending))
        self._pending.clear()
        self.is_lost = False


async def _to_its_end(connection: Connection, sql: str) -> str:
    """Say something and return the answer. A cancellation waits PROOF_S for the answer, and when that comes is forgotten."""
    async with asyncio.TaskGroup() as group:
        saying = group.create_task(outcome.acapture(connection.execute, sql))
        try:
            await asyncio.shield(saying)
        except asyncio.CancelledError:
            await asyncio.wait((saying,), timeout=PROOF_S)
            if not saying.done():
                raise
    answer: str = saying.result().unwrap()
    return answer


def _milliseconds(seconds: float) -> str:
    return str(round(1000 * seconds))


def _number(text: str) -> int | float:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)
