"""AMQP's semantics in this process: what RabbitMQ's quorum queues do, without a network.

Rule 1: a message is in one place: ready, with one consumer, or on its way to a dead-letter queue. It leaves by ack, by purge, or by a reject where there is
        no dead-letter queue.
Rule 2: order within a priority is the order of publishing. What comes back takes its old place, at the head.
Rule 3: every return counts as a delivery, also of what a cancelled consumer had not looked at; RabbitMQ counts so too.
Rule 4: a queue never exceeds its bound. A dead letter that finds its queue full stays where it died, counted as unacked there, until there is room
        (RabbitMQ's at-least-once dead-lettering with reject-publish).
Rule 5: nothing outlives the process (``is_durable`` is False): at the start everything without a verdict is published again.

Every change happens between two checkpoints, so a cancelled call has had its whole effect or none.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from contracts.errors import Conflict, EdgeLost, Invalid, NotFound, PublishRefused, Unroutable
from contracts.ports import (
    DEATH_COUNT,
    DEATH_QUEUE,
    DEATH_REASON,
    DEATH_ROUTING_KEY,
    BrokerDelivery,
    BrokerMessage,
    Queue,
    QueueDepth,
)
from contracts.reading import count_of

REJECTED = "rejected"
DELIVERY_LIMIT = "delivery_limit"


class _Entry:
    """A message in a queue. ``seq`` is its place among those of its priority."""

    __slots__ = ("deliveries", "message", "priority", "routing_key", "seq")

    def __init__(self, message: BrokerMessage, routing_key: str, priority: int, seq: int) -> None:
        self.message = message
        self.routing_key = routing_key
        self.priority = priority
        self.seq = seq
        self.deliveries = 0

    def __lt__(self, other: _Entry) -> bool:
        return (-self.priority, self.seq) < (-other.priority, other.seq)


class _Queue:
    """A queue's state. ``stranded`` are other queues' dead letters that wait for room here."""

    def __init__(self, spec: Queue) -> None:
        self.spec = spec
        self.ready: list[_Entry] = []
        self.unacked = 0
        self.consumers: deque[_Consumer] = deque()
        self.stranded: deque[tuple[_Queue, _Entry, BrokerMessage]] = deque()
        self.dead_letters: _Queue | None = None
        self.is_gone = False
        self._next_seq = 0

    @property
    def has_room(self) -> bool:
        return len(self.ready) + self.unacked < self.spec.max_length

    def append(self, message: BrokerMessage, routing_key: str) -> None:
        """Put a new message at its priority's tail; a priority above the queue's highest counts as the highest."""
        priority = max(0, min(message.priority, self.spec.priorities - 1))
        self._next_seq += 1
        heapq.heappush(self.ready, _Entry(message, routing_key, priority, self._next_seq))

    def pump(self) -> None:
        """Hand ready messages to the consumers that have credit, in turn."""
        idle = 0
        while self.ready and idle < len(self.consumers):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.credit > 0:
                consumer.take(self.pop(consumer))
                idle = 0
            else:
                idle += 1

    def pop(self, consumer: _Consumer | None) -> _Delivery:
        """Move the first ready message to the unacked ones."""
        self.unacked += 1
        return _Delivery(self, heapq.heappop(self.ready), consumer)

    def put_back(self, entry: _Entry) -> None:
        """Take a returned message back to its old place, or bury it when it was delivered too often."""
        entry.deliveries += 1
        if self.dead_letters is not None and entry.deliveries > self.spec.delivery_limit:
            self.bury(entry, DELIVERY_LIMIT)
            return
        self.unacked -= 1
        heapq.heappush(self.ready, entry)

    def bury(self, entry: _Entry, reason: str) -> None:
        """Send a message to the dead-letter queue, or away when there is none. It stays unacked here until it has arrived."""
        grave = self.dead_letters
        if grave is None:
            self.forget_one()
            return
        grave.stranded.append((self, entry, self._epitaph(entry, reason)))
        grave.admit_stranded()

    def admit_stranded(self) -> None:
        """Take in dead letters as far as there is room."""
        arrived = False
        while self.stranded and self.has_room:
            origin, entry, message = self.stranded.popleft()
            self.append(message, entry.routing_key)
            arrived = True
            origin.forget_one()
        if arrived:
            self.pump()

    def forget_one(self) -> None:
        """One unacked message is gone for good, which makes room."""
        self.unacked -= 1
        self.admit_stranded()

    def _epitaph(self, entry: _Entry, reason: str) -> BrokerMessage:
        headers = dict(entry.message.headers)
        headers[DEATH_COUNT] = str(count_of(headers.get(DEATH_COUNT)) + 1)
        headers[DEATH_QUEUE] = self.spec.name
        headers[DEATH_REASON] = reason
        headers[DEATH_ROUTING_KEY] = entry.routing_key
        return msgspec.structs.replace(entry.message, headers=headers)


class _Consumer:
    """A subscription: what was sent to it and not yet looked at (``inbox``), and all that is not settled."""

    def __init__(self, queue: _Queue, prefetch: int) -> None:
        self.queue = queue
        self.prefetch = prefetch
        self.inbox: deque[_Delivery] = deque()
        self.unsettled: dict[_Delivery, None] = {}
        self.is_lost = False
        self._arrivals = trio.lowlevel.ParkingLot()

    @property
    def credit(self) -> int:
        return self.prefetch - len(self.unsettled)

    def take(self, delivery: _Delivery) -> None:
        self.unsettled[delivery] = None
        self.inbox.append(delivery)
        self._arrivals.unpark()

    def lose(self) -> None:
        self.is_lost = True
        self._arrivals.unpark_all()

    def put_all_back(self) -> None:
        """Return what is unsettled, the oldest first."""
        for delivery in tuple(self.unsettled):
            delivery.give_back()
        self.inbox.clear()

    def __aiter__(self) -> AsyncIterator[BrokerDelivery]:
        return self

    async def __anext__(self) -> BrokerDelivery:
        await trio.lowlevel.checkpoint()
        while not self.inbox and not self.is_lost:
            await self._arrivals.park()
        if self.is_lost:
            raise EdgeLost("the broker is closed: what was not settled is lost with it")
        return self.inbox.popleft()


class _Delivery:
    """A message with a consumer. ``is_settled`` once it was answered, ``is_returned`` when the broker took it back."""

    __slots__ = (
        "_consumer",
        "_entry",
        "_queue",
        "delivery_count",
        "is_returned",
        "is_settled",
        "message",
        "redelivered",
    )

    def __init__(self, queue: _Queue, entry: _Entry, consumer: _Consumer | None) -> None:
        self._queue = queue
        self._entry = entry
        self._consumer = consumer
        self.message = entry.message
        self.delivery_count = entry.deliveries
        self.redelivered = entry.deliveries > 0
        self.is_settled = False
        self.is_returned = False

    async def ack(self) -> None:
        """Done: the message is gone."""
        await trio.lowlevel.checkpoint()
        self._settle()
        self._queue.forget_one()
        self._queue.pump()

    async def nack(self) -> None:
        """Not done: back to its old place, or to the dead letters when it was delivered too often."""
        await trio.lowlevel.checkpoint()
        self._settle()
        self._queue.put_back(self._entry)
        self._queue.pump()

    async def reject(self) -> None:
        """Never to be done: to the dead letters."""
        await trio.lowlevel.checkpoint()
        self._settle()
        self._queue.bury(self._entry, REJECTED)
        self._queue.pump()

    def give_back(self) -> None:
        """The broker takes it back from a consumer that is gone."""
        if not self.is_settled:
            self._leave()
            self.is_returned = True
            self._queue.put_back(self._entry)

    def _settle(self) -> None:
        if self.is_settled:
            raise RuntimeError(f"message {self.message.message_id!r} is settled already")
        if self._queue.is_gone:
            raise EdgeLost("the broker is closed")
        if self.is_returned:
            raise EdgeLost(f"message {self.message.message_id!r} was taken back with its consumer and will come again")
        self.is_settled = True
        self._leave()

    def _leave(self) -> None:
        if self._consumer is not None:
            self._consumer.unsettled.pop(self, None)


class MemoryBroker:
    """The ``Broker`` port in memory. ``close`` fails every later call and every consumer with EdgeLost."""

    is_durable = False

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._routes: dict[str, list[_Queue]] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        depths = " ".join(f"{name}={len(each.ready)}+{each.unacked}" for name, each in self._queues.items())
        return f"<MemoryBroker {'closed' if self._is_closed else depths}>"

    async def declare(self, queues: Sequence[Queue]) -> None:
        """Make the queues unless they exist. Conflict when one exists otherwise, or its dead-letter queue is not declared here or before."""
        await self._enter()
        known = {name: each.spec for name, each in self._queues.items()}
        for spec in queues:
            if known.setdefault(spec.name, spec) != spec:
                raise Conflict(f"queue {spec.name!r} exists with other properties: purge and remove it, or keep them")
        for spec in queues:
            if spec.dead_letter_queue is not None and spec.dead_letter_queue not in known:
                raise Conflict(
                    f"queue {spec.name!r} has no dead-letter queue {spec.dead_letter_queue!r}: declare it too"
                )
        for spec in queues:
            if spec.name not in self._queues:
                self._queues[spec.name] = queue = _Queue(spec)
                self._routes.setdefault(spec.routing_key, []).append(queue)
        for queue in self._queues.values():
            if queue.spec.dead_letter_queue is not None:
                queue.dead_letters = self._queues[queue.spec.dead_letter_queue]

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        """Return when every queue bound to the key has the message; PublishRefused when one is full (the others have it)."""
        await self._enter()
        bound = self._routes.get(routing_key, ())
        if not bound:
            raise Unroutable(f"no queue is bound to {routing_key!r}: message {message.message_id!r} came back")
        refused = []
        for queue in bound:
            if queue.has_room:
                queue.append(message, routing_key)
                queue.pump()
            else:
                refused.append(queue.spec.name)
        if refused:
            raise PublishRefused(f"queue {', '.join(refused)} is full", retry_after_s=1.0)

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int) -> AsyncIterator[AsyncIterator[BrokerDelivery]]:
        """Receive deliveries in the block, in turn with the queue's other consumers."""
        if prefetch < 1:
            raise ValueError("a consumer needs a prefetch of at least 1: it bounds what it holds")
        await self._enter()
        source = self._queue(queue)
        consumer = _Consumer(source, prefetch)
        source.consumers.append(consumer)
        source.pump()
        try:
            yield consumer
        finally:
            if not consumer.is_lost:
                source.consumers.remove(consumer)
                consumer.put_all_back()
                source.pump()

    async def depth(self, queue: str) -> QueueDepth:
        """Say how full a queue is."""
        await self._enter()
        source = self._queue(queue)
        return QueueDepth(ready=len(source.ready), unacked=source.unacked)

    async def get(self, queue: str) -> BrokerDelivery | None:
        """Take the first ready message, or None; it is held until it is settled."""
        await self._enter()
        source = self._queue(queue)
        return source.pop(None) if source.ready else None

    async def peek(self, queue: str, limit: int) -> list[BrokerMessage]:
        """Show the first ready messages in their order, at most ``limit``, without taking them. Invalid where the port says so."""
        await self._enter()
        source = self._queue(queue)
        if source.dead_letters is not None:
            raise Invalid(f"queue {queue!r} cannot be looked into: each look would count as a delivery")
        return [entry.message for entry in heapq.nsmallest(limit, source.ready)]

    async def purge(self, queue: str) -> int:
        """Delete the ready messages; return how many. Those with consumers stay."""
        await self._enter()
        source = self._queue(queue)
        purged = len(source.ready)
        source.ready.clear()
        source.admit_stranded()
        return purged

    def disconnect(self, deliveries: AsyncIterator[BrokerDelivery]) -> None:
        """Break the connection of what ``consume`` gave: its reader gets EdgeLost, and what it had not settled is ready again."""
        for queue in self._queues.values():
            for consumer in tuple(queue.consumers):
                if consumer is deliveries:
                    queue.consumers.remove(consumer)
                    consumer.lose()
                    consumer.put_all_back()
                    queue.pump()

    def restart(self) -> None:
        """Go away for a moment, as a broker with durable queues that was restarted: consumers get EdgeLost, what they had not settled is ready again."""
        for queue in self._queues.values():
            for consumer in queue.consumers:
                consumer.lose()
                consumer.put_all_back()
            queue.consumers.clear()

    def close(self) -> None:
        """Lose everything and wake every consumer with EdgeLost, as a broker that went away."""
        self._is_closed = True
        for queue in self._queues.values():
            queue.is_gone = True
            for consumer in queue.consumers:
                consumer.lose()
            queue.consumers.clear()
        self._queues.clear()
        self._routes.clear()

    async def _enter(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise EdgeLost("the broker is closed")

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            raise NotFound(f"there is no queue {name!r}")
        return queue
