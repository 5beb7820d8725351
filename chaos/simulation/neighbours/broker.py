"""RabbitMQ as processes see it: one broker in memory whose queues and messages are durable, and a connection that may break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from chaos.simulation.faults import Fault
from chaos.simulation.ledger import Ledger
from chaos.simulation.world import Link, World
from contracts.errors import Unavailable
from contracts.ports import BrokerDelivery, BrokerMessage, Queue, QueueDepth
from edge.memory_broker import MemoryBroker

NAME = "broker"
BLOCKED_S = 0.5  # how long the real edge waits for an alarm to end

OnPublish = Callable[[str, BrokerMessage], None]


class SimulatedBroker:
    """The ``Broker`` port of one process."""

    is_durable = True

    def __init__(self, world: World, link: Link, engine: MemoryBroker, on_publish: OnPublish, ledger: Ledger) -> None:
        self._world = world
        self._link = link
        self._engine = engine
        self._on_publish = on_publish
        self.ledger = ledger
        self._consumers: dict[AsyncIterator[BrokerDelivery], None] = {}
        self._held: dict[_Delivery, None] = {}
        self._last = trio.Event()  # of what was published on this connection, whether it has arrived or will not
        self._last.set()

    def break_connection(self) -> None:
        """Lose every consumer of this process: the broker gives what they had to others."""
        for consumer in tuple(self._consumers):
            self._engine.disconnect(consumer)

    @property
    def held(self) -> list[BrokerMessage]:
        """What this process has been given and has not answered."""
        return [delivery.message for delivery in self._held]

    def let_go(self, delivery: _Delivery) -> None:
        """Note that a delivery was answered."""
        self._held.pop(delivery, None)

    async def declare(self, queues: Sequence[Queue]) -> None:
        """Declare queues."""
        await self._link.there("declare")
        await self._engine.declare(queues)
        await self._link.back("declare")

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        """Publish, and wait for the confirm, which may be lost. What is published on one connection arrives in its order."""
        what = f"publish {routing_key} {message.message_id}{_about(message)}"
        before, self._last = self._last, trio.Event()
        arrived = self._last
        try:
            await self._link.there(what, after=before)
            await self._not_alarmed(what)
            self._on_publish(routing_key, message)
            await self._take(routing_key, message)
        finally:
            arrived.set()
        if self._world.strikes(Fault.DUPLICATE, 0.03):
            await self._take(routing_key, message)
        await self._link.back(what, ambiguous=0.03)

    async def _not_alarmed(self, what: str) -> None:
        """Wait a moment for an alarm to end; Unavailable when it goes on."""
        if not self._world.is_alarmed():
            return
        with trio.move_on_after(BLOCKED_S):
            while self._world.is_alarmed():
                await self._world.clock.sleep(0.1)
            return
        self._world.trace(self._link.machine.name, f"✗ {what}: the broker takes no message")
        raise Unavailable(f"{what}: the broker takes no message at present", retry_after_s=BLOCKED_S)

    async def _take(self, routing_key: str, message: BrokerMessage) -> None:
        await self._engine.publish(routing_key, message)
        self.ledger.came(routing_key, message)

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int) -> AsyncIterator[AsyncIterator[BrokerDelivery]]:
        """Consume until the connection breaks."""
        await self._link.there(f"consume {queue}")
        async with self._engine.consume(queue, prefetch=prefetch) as deliveries:
            self._consumers[deliveries] = None
            try:
                yield self._arriving(queue, deliveries)
            finally:
                del self._consumers[deliveries]
                self._held = {given: None for given in self._held if given.queue != queue}

    async def _arriving(self, queue: str, deliveries: AsyncIterator[BrokerDelivery]) -> AsyncIterator[BrokerDelivery]:
        async for delivery in deliveries:
            await self._world.clock.sleep(self._world.latency_s())
            if delivery.redelivered:
                self._world.saw("redelivered")
            name = self._link.machine.name
            self._world.trace(name, f"← broker {delivery.message.message_id} ({delivery.delivery_count} before)")
            given = _Delivery(self, self._world, self._link, queue, delivery)
            self._held[given] = None
            yield given

    async def depth(self, queue: str) -> QueueDepth:
        """Say how full a queue is."""
        await self._link.there(f"depth {queue}")
        return await self._engine.depth(queue)

    async def get(self, queue: str) -> BrokerDelivery | None:
        """Take one message."""
        await self._link.there(f"get {queue}")
        return await self._engine.get(queue)

    async def peek(self, queue: str, limit: int) -> list[BrokerMessage]:
        """Show the first messages."""
        await self._link.there(f"peek {queue}")
        return await self._engine.peek(queue, limit)

    async def purge(self, queue: str) -> int:
        """Delete what is ready."""
        await self._link.there(f"purge {queue}")
        return await self._engine.purge(queue)


class _Subject(msgspec.Struct):
    submission_id: str = ""


_subject = msgspec.json.Decoder(_Subject)


def _about(message: BrokerMessage) -> str:
    """Say in the trace which submission a message is about: other lines only have the message's own id."""
    submission_id = _subject.decode(message.body).submission_id
    return f" about {submission_id}" if submission_id else ""


class _Delivery:
    """A delivery. Its answer is sent and not confirmed: an ack that does not arrive looks like one that does."""

    def __init__(self, broker: SimulatedBroker, world: World, link: Link, queue: str, delivery: BrokerDelivery) -> None:
        self._broker = broker
        self._world = world
        self._link = link
        self.queue = queue
        self._delivery = delivery
        self.message = delivery.message
        self.redelivered = delivery.redelivered
        self.delivery_count = delivery.delivery_count

    async def ack(self) -> None:
        """Acknowledge."""
        if await self._is_sent("ack"):
            await self._delivery.ack()
            await self._broker.ledger.acknowledged(self.queue, self.message)

    async def nack(self) -> None:
        """Put it back."""
        if await self._is_sent("nack"):
            await self._delivery.nack()

    async def reject(self) -> None:
        """Send it to the dead letters."""
        if await self._is_sent("reject"):
            self._world.saw("rejected")
            await self._delivery.reject()

    async def _is_sent(self, what: str) -> bool:
        await self._link.there(f"{what} {self.message.message_id}")
        if self._world.strikes(Fault.LOST_ACK, 0.1):
            self._world.trace(
                self._link.machine.name, f"✗ {what} {self.message.message_id} is lost, and its connection"
            )
            self._broker.break_connection()
            return False
        self._broker.let_go(self)
        return True
