"""The ``Broker`` port on RabbitMQ, 3.10 or later: each call crosses to the asyncio loop once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar

import trio
from aiormq import Connection
from aiormq.channel import Channel
from pamqp.commands import Basic

from contracts.errors import EdgeLost, Invalid, NotFound, Unavailable
from contracts.ports import BrokerDelivery, BrokerMessage, Queue, QueueDepth
from edge.aio import AsyncioLoop
from edge.deadline import timeout
from edge.rabbitmq import topology
from edge.rabbitmq.consumer import Consumer
from edge.rabbitmq.delivery import Delivery
from edge.rabbitmq.errors import TopologyGone, mapped
from edge.rabbitmq.link import RPC_S, Link, close_channel
from edge.rabbitmq.publisher import Publisher
from edge.rabbitmq.url import Address
from edge.rabbitmq.wire import message_of

T = TypeVar("T")

CONFIRM_S = 10.0  # a confirm takes a millisecond; so long may a cluster take to choose another leader for a queue
HELD_MOST = 1_000  # messages that ``get`` gave and nobody has settled


class RabbitMqBroker:
    """RabbitMQ at ``url`` (see ``url.py``; Invalid when it is not right). Use as ``async with``, again after it was closed if need be; RabbitMQ
    need not be there yet.

    ``confirm_s`` is the deadline of a publish. While RabbitMQ is away calls raise Unavailable within 0.3 s, but for the first ones: those wait for the
    attempt that finds out, 5 s at most. A connection whose other end says nothing is given up after 8 s at most.
    """

    is_durable = True

    def __init__(self, url: str, aio: AsyncioLoop, *, confirm_s: float = CONFIRM_S) -> None:
        address = Address.parse(url)
        self._aio = aio
        self._queues: dict[str, Queue] = {}
        self._link = Link(address, "consuming", self._prepare)
        self._publishing = Link(address, "publishing", self._prepare)
        self._publisher = Publisher(self._publishing, confirm_s)
        self._asking = asyncio.Lock()
        self._desk: Channel | None = None
        self._getting = asyncio.Lock()
        self._gets: _Gets | None = None

    def __repr__(self) -> str:
        return f"<RabbitMqBroker {self._link!r} {self._publishing!r}>"

    async def __aenter__(self) -> Self:
        self._aio.post(self._link.open)
        self._aio.post(self._publishing.open)
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):  # some milliseconds, or 2 s each when nobody answers
            await self._aio.call(self._close)

    # ---- the port --------------------------------------------------------------------------------------------------

    async def declare(self, queues: Sequence[Queue]) -> None:
        """Make the queues unless they exist. Conflict when one exists otherwise, or its dead-letter queue is not declared here or before.

        Where our user may not, somebody else does: Unavailable until they have. How the queues are made is then theirs as well, and not compared.
        What another process declared with another routing key cannot be seen: RabbitMQ adds that binding.
        """
        await self._aio.call(self._declare, queues)

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        """Return when every queue bound to the key has the message on its majority's disks; PublishRefused when one is full (the others have it)."""
        await self._aio.call(self._publisher.publish, routing_key, message)

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int) -> AsyncIterator[AsyncIterator[BrokerDelivery]]:
        """Receive deliveries in the block, on a channel of their own."""
        if prefetch < 1:
            raise ValueError("a consumer needs a prefetch of at least 1: it bounds what it holds")
        parts = topology.parts_of(self._queue(queue))
        consumer = Consumer(self._aio, self._link, queue, parts, prefetch)
        await self._aio.call(consumer.open)
        try:
            yield consumer
        finally:
            with trio.CancelScope(shield=True):  # a millisecond, or up to 6 s when nobody answers
                await self._aio.call(consumer.close)

    async def depth(self, queue: str) -> QueueDepth:
        """Say how many are ready; AMQP does not tell how many are with consumers."""
        return QueueDepth(ready=await self._count(queue, f"counting {queue!r}", _ready), unacked=None)

    async def purge(self, queue: str) -> int:
        """Delete the ready messages; return how many."""
        return await self._count(queue, f"purging {queue!r}", _purged)

    async def get(self, queue: str) -> BrokerDelivery | None:
        """Take the first ready message, or None; it is held until it is settled, or this edge ends."""
        return await self._aio.call(self._get, queue, topology.parts_of(self._queue(queue)))

    async def peek(self, queue: str, limit: int) -> list[BrokerMessage]:
        """Show the first ready messages: takes them, and lets RabbitMQ have them back, in their order."""
        spec = self._queue(queue)
        if spec.dead_letter_queue is not None:
            raise Invalid(f"queue {queue!r} cannot be looked into: each look would count as a delivery")
        return await self._aio.call(self._peek, queue, topology.parts_of(spec), limit)

    def _queue(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            raise NotFound(f"there is no queue {name!r}")
        return queue

    # ---- asyncio's side --------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        await asyncio.gather(self._publishing.close(), self._link.close())

    async def _prepare(self, connection: Connection) -> None:
        """Declare everything again, on each new connection before it is used."""
        await topology.make(connection, self._queues)

    async def _declare(self, queues: Sequence[Queue]) -> None:
        merged = topology.check(queues, self._queues)
        connection = await self._link.connection()
        with mapped("declaring the queues"):
            async with timeout(RPC_S):
                for queue in queues:
                    if queue.name not in self._queues:
                        await topology.check_shape(connection, queue)
        with mapped("declaring the queues"):
            async with timeout(RPC_S):
                await topology.make(connection, merged)
        self._queues = topology.check(queues, self._queues)

    async def _count(self, queue: str, what: str, count: Callable[[Channel, str], Awaitable[int]]) -> int:
        """Ask for a number of each of RabbitMQ's queues for one of the port's, and return the sum."""
        parts = topology.parts_of(self._queue(queue))

        async def request(channel: Channel) -> int:
            return sum([await count(channel, part) for part in parts])

        return await self._aio.call(self._ask, what, request)

    async def _ask(self, what: str, request: Callable[[Channel], Awaitable[T]]) -> T:
        """Make a request on the channel for such. One at a time: RabbitMQ answers a mistake by closing the channel, and that must be nobody else's."""
        await self._link.connection()
        try:
            with mapped(what):
                async with timeout(RPC_S), self._asking:
                    if self._desk is None or self._desk.is_closed:
                        self._desk = await self._link.channel()
                    channel = self._desk
                    try:
                        return await request(channel)
                    except BaseException:
                        self._desk = None
                        await close_channel(channel)
                        raise
        except TopologyGone:
            self._link.forget_topology()
            raise

    async def _get(self, queue: str, parts: Sequence[str]) -> Delivery | None:
        """Take one. A cancellation waits for the answer, and what was taken then is given back."""
        taking = asyncio.get_running_loop().create_task(self._take(queue, parts), name=f"get {queue}")
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await asyncio.wait((taking,))
            delivery = None if taking.cancelled() or taking.exception() else taking.result()
            if delivery is not None:
                with suppress(EdgeLost):  # then RabbitMQ has it back already
                    await delivery.settle("nack")
            raise

    async def _take(self, queue: str, parts: Sequence[str]) -> Delivery | None:
        try:
            with mapped(f"getting from {queue!r}"):
                async with self._getting:
                    if self._gets is None or self._gets.channel.is_closed:
                        self._gets = _Gets(await self._link.channel())
                    gets = self._gets
                    if gets.held >= HELD_MOST:
                        raise Unavailable(f"{gets.held} messages were taken by get and are not settled")
                    try:
                        return await self._take_on(gets, parts)
                    except BaseException:
                        self._gets = None
                        gets.is_over = True
                        await close_channel(gets.channel)
                        raise
        except TopologyGone:
            self._link.forget_topology()
            raise

    async def _take_on(self, gets: _Gets, parts: Sequence[str]) -> Delivery | None:
        async with timeout(RPC_S):
            for part in reversed(parts):
                delivered = await gets.channel.basic_get(part)
                if isinstance(delivered.delivery, Basic.GetOk):
                    gets.held += 1
                    return Delivery(self._aio, gets, delivered)
        return None

    async def _peek(self, queue: str, parts: Sequence[str], limit: int) -> list[BrokerMessage]:
        found: list[BrokerMessage] = []
        channel = await self._link.channel()
        try:
            with mapped(f"looking into {queue!r}"):
                for part in reversed(parts):
                    while len(found) < limit:
                        async with timeout(RPC_S):
                            delivered = await channel.basic_get(part)
                        if not isinstance(delivered.delivery, Basic.GetOk):
                            break
                        found.append(message_of(delivered))
        except TopologyGone:
            self._link.forget_topology()
            raise
        finally:
            await close_channel(channel)
        return found


class _Gets:
    """The channel of what ``get`` gave."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.is_over = False
        self.held = 0

    def released(self, _source: object, /) -> None:
        """One is settled."""
        self.held -= 1


async def _ready(channel: Channel, part: str) -> int:
    return (await channel.queue_declare(part, passive=True)).message_count or 0


async def _purged(channel: Channel, part: str) -> int:
    return (await channel.queue_purge(part)).message_count or 0
