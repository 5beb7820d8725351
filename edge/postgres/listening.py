"""LISTEN on a connection of its own, and noticing that it died.

A peer that vanishes without a word (a cut network, a host without power, a server that stands still) closes no connection, and a listener says nothing by
itself: it would wait for ever. So who waits asks ``SELECT 1`` after each HEARTBEAT_S in which nothing came. No answer within ANSWER_S is EdgeLost, so a silent
death is noticed after HEARTBEAT_S + ANSWER_S = 8 s; a connection that is closed, at once. That is the only thing that an idle house asks of its database: 0.2
queries per second and listener, and none while nobody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import trio

from contracts.errors import EdgeLost
from edge.aio import AsyncioLoop, Feed
from edge.deadline import timeout
from edge.postgres.errors import mapping

if TYPE_CHECKING:
    from edge.postgres.connections import Connection, Connections

HEARTBEAT_S = 5.0
ANSWER_S = 3.0
GOODBYE_S = 0.5  # for leaving in order; then the connection is cut


class PostgresWakeups:
    """Notifications of one channel since the last wait: one bit. Made by ``PostgresDatabase.listen``."""

    def __init__(self, aio: AsyncioLoop, connections: Connections, channel: str) -> None:
        self._aio = aio
        self._connections = connections
        self._channel = channel
        self._connection: Connection | None = None
        self._feed: Feed[None] = Feed(aio, 1)  # what comes while it is full is in it already
        self._heard_at = 0.0  # Trio's clock

    async def begin(self) -> None:
        """Connect and listen. Raises Unavailable, EdgeLost."""
        await self._aio.call(self._listen)
        self._heard_at = trio.current_time()

    async def wait(self) -> None:
        """Return when at least one notification has come since the last call. Raises EdgeLost when the connection died, or the server is silent."""
        while True:
            with trio.move_on_at(self._heard_at + HEARTBEAT_S):
                await self._feed.receive()
                self._heard_at = trio.current_time()
                return
            await self._aio.call(self._ask)
            self._heard_at = trio.current_time()

    def close(self) -> None:
        """Have every wait raise EdgeLost."""
        self._aio.post(self._cut)

    async def end(self) -> None:
        """Leave."""
        await self._aio.call(self._leave)

    # ---- on the loop -----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        connection = self._connection = await self._connections.connect()
        connection.add_termination_listener(self._lost)
        with mapping(self._connections.address):
            async with timeout(ANSWER_S):
                await connection.add_listener(self._channel, self._notified)

    async def _ask(self) -> None:
        assert self._connection is not None
        try:
            async with timeout(ANSWER_S):
                await self._connection.execute("SELECT 1")
        except Exception as exc:
            self._cut()
            raise EdgeLost(f"the database at {self._connections.address} says nothing to its listener") from exc

    async def _leave(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed():
            return
        connection.remove_termination_listener(self._lost)
        try:
            await connection.close(timeout=GOODBYE_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            connection.terminate()

    def _notified(self, *_: Any) -> None:
        self._feed.put(None)

    def _lost(self, *_: Any) -> None:
        self._connections.distrust()  # what happened to this one has likely happened to those that nobody has asked anything since
        self._feed.end(EdgeLost(f"the listening connection to the database at {self._connections.address} was lost"))

    def _cut(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._lost()
