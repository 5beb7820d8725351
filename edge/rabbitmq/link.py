"""One connection to RabbitMQ, made when somebody needs it: one attempt at a time, a pause with jitter after one that failed, the topology before all else.

The driver's own reconnecting is not used. What is lost is told to whoever waited; the next call connects, declares, and thereby proves that RabbitMQ works.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiormq import Connection
from aiormq.channel import Channel

from contracts.errors import CodeWarzError, Unavailable
from edge.deadline import timeout
from edge.rabbitmq import leniency
from edge.rabbitmq.errors import mapped
from edge.rabbitmq.url import Address

CONNECT_S = 5.0  # for an attempt: connecting, signing in, declaring
CALLER_S = 0.3  # so long a caller waits for an attempt that follows one that failed; it goes on without them
RPC_S = 5.0  # for one answer of a server that is there
CLOSE_S = 2.0
PAUSE_FIRST_S = 0.1  # after a failed attempt; doubled with each more, up to the cap
PAUSE_CAP_S = 2.0
HEALTHY_S = 5.0  # a connection that lasted less counts as a failed attempt

# What the driver logs arrives here as an exception as well, and is told once, by whoever made the call.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
leniency.install()


class _Connection(Connection):
    """The driver's, which takes a connection for dead after (heartbeat + 1 s) × this without a frame: 7 s, noticed within one more."""

    HEARTBEAT_GRACE_MULTIPLIER = 1.75  # type: ignore[assignment]


Prepare = Callable[[Connection], Awaitable[None]]


class Link:
    """A connection for one purpose. ``prepare`` is awaited on each new one before anybody gets it."""

    def __init__(self, address: Address, purpose: str, prepare: Prepare) -> None:
        self._address = address
        self._purpose = purpose
        self._prepare = prepare
        self._rng = random.SystemRandom()
        self._connection: Connection | None = None
        self._is_prepared = False
        self._attempt: asyncio.Task[Connection] | None = None
        self._failures = 0
        self._since = 0.0
        self._not_before = 0.0
        self._why = ""
        self._is_closed = False
        self._dropping: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else f"away: {self._why}" if self._why else "not connected"
        return f"<Link {self._address} {self._purpose} {state}>"

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that nobody has missed yet."""
        return self._connection is not None and self._connection.is_opened

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return len(self._connection.channels) if self._connection is not None else 0

    async def connection(self) -> Connection:
        """Return the connection, or make one. Unavailable at once while RabbitMQ is away and the next attempt is not due."""
        if self._connection is not None and self._is_prepared and self._connection.is_opened:
            return self._connection
        if self._is_closed:
            raise Unavailable("the edge to RabbitMQ is closed")
        if self._attempt is None:
            self._note_loss()
            pause_s = self._not_before - asyncio.get_running_loop().time()
            if pause_s > 0:
                raise Unavailable(f"RabbitMQ at {self._address} is away: {self._why}", retry_after_s=pause_s)
            self._attempt = asyncio.get_running_loop().create_task(self._connect(), name=f"connect {self._purpose}")
            self._attempt.add_done_callback(self._attempted)
        # A caller who is cancelled, or has waited long enough, does not take the attempt from the others.
        attempt = self._attempt
        done, _ = await asyncio.wait((attempt,), timeout=CALLER_S if self._failures else None)
        if not done:
            raise Unavailable(f"RabbitMQ at {self._address} is away: {self._why}", retry_after_s=PAUSE_FIRST_S)
        if attempt.cancelled():
            raise Unavailable("the edge to RabbitMQ is closed")
        return attempt.result()

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Open a channel. Its frames wait without a bound of their own, so that one that is slow or dead does not stop the others."""
        connection = await self.connection()
        with mapped("opening a channel"):
            async with timeout(RPC_S):
                channel = await connection.channel(publisher_confirms=confirms, frame_buffer_size=0)
        assert isinstance(channel, Channel)
        return channel

    def drop(self, channel: Channel) -> None:
        """Close a channel that did not answer, without having the caller wait for it: their deadline is over already."""
        task = asyncio.get_running_loop().create_task(close_channel(channel), name=f"drop a channel {self._purpose}")
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    def forget_topology(self) -> None:
        """Have everything declared again before the next use."""
        self._is_prepared = False

    def open(self) -> None:
        """Take calls, for the first time or again. Nothing is connected before it is needed."""
        self._is_closed = False

    async def close(self) -> None:
        """End the connection and any attempt."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait((self._attempt,))
        if self._connection is not None:
            await _end(self._connection)
        if self._dropping:
            await asyncio.wait(self._dropping)

    async def _connect(self) -> Connection:
        """Connect unless only the topology is missing, and declare that."""
        connection = self._connection
        try:
            with mapped(f"connecting to RabbitMQ at {self._address}"):
                async with timeout(CONNECT_S):
                    if connection is None:
                        connection = await self._open()
                    await self._prepare(connection)
        except BaseException as error:
            if isinstance(error, CodeWarzError):
                self._failed(error.detail)
            if connection is not None and connection is not self._connection:  # with an older one others may be at work
                await _end(connection)
            if isinstance(error, Unavailable):
                raise Unavailable(error.detail, retry_after_s=PAUSE_FIRST_S) from error
            raise
        self._connection = connection
        self._is_prepared = True
        return connection

    async def _open(self) -> Connection:
        connection = _Connection(
            self._address.driver_url(),
            context=self._address.tls,
            client_properties={"product": "codewarz", "connection_name": f"codewarz {self._purpose}"},
        )
        await connection.connect()
        self._since = asyncio.get_running_loop().time()
        return connection

    def _attempted(self, attempt: asyncio.Task[Connection]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # told to those who wait for it, of whom there may be none left

    def _note_loss(self) -> None:
        """Connect again at once after a loss; but one loss soon after the other is a failure, or we would go on so without a pause."""
        if self._connection is not None and not self._connection.is_opened:
            self._connection = None
            self._is_prepared = False
            is_healthy = asyncio.get_running_loop().time() - self._since >= HEALTHY_S
            if self._failures and not is_healthy:
                self._failed("the connection was lost again")
            else:
                self._failures = 0 if is_healthy else 1

    def _failed(self, why: str) -> None:
        pause_s = min(PAUSE_CAP_S, PAUSE_FIRST_S * 2 ** min(self._failures, 16))
        self._failures += 1
        self._why = why
        self._not_before = asyncio.get_running_loop().time() + pause_s * self._rng.uniform(0.5, 1)


async def _end(connection: Connection) -> None:
    """Close in good order; a server that does not answer is left to the driver, which ends by itself."""
    with suppress(TimeoutError, OSError):
        async with timeout(CLOSE_S):
            await connection.close(ConnectionError("closed by us"))


async def close_channel(channel: Channel) -> None:
    """Close a channel; RabbitMQ takes back what is unsettled on it. One that does not answer is dead, or is closed as soon as it reads again."""
    with suppress(CodeWarzError), mapped("closing a channel"):
        async with timeout(CLOSE_S):
            await channel.close(ConnectionError("closed by us"))
