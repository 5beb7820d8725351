"""Consuming: never more unsettled than there are free places, the highest priority first, and nothing to do while nothing comes.

A queue without priorities is an ordinary subscription with that prefetch. One with n priorities is n queues, and RabbitMQ's prefetch counts for each of
them alone. So:

Rule 1: while all are empty, each has a subscription; their credits together are at most the free places and n - 1 more. A delivery takes a place and a
        credit, and an acknowledgement gives both back: the rule keeps itself, and a consumer that keeps up sends nothing but acknowledgements.
Rule 2: when the places are used up, all subscriptions are cancelled. Free places are then filled one by one, asking the queues from the highest down,
        until all are empty: then rule 1 again.
Rule 3: what was on its way when the places were used up, n - 1 messages at most, is held here, and goes before what waits in lower queues. Giving it back
        would count against its delivery limit.
Rule 4: a subscription whose credit is used up while places are free gets more where rule 1 allows, else all start again by rule 2.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Self

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.commands import Basic

from contracts.errors import CodeWarzError, EdgeLost
from edge.aio import AsyncioLoop, Feed
from edge.deadline import timeout
from edge.rabbitmq.delivery import Delivery
from edge.rabbitmq.errors import TopologyGone, mapped
from edge.rabbitmq.link import CLOSE_S, RPC_S, Link, close_channel


class Subscription:
    """One of RabbitMQ's consumers. ``credit`` is how many more it may send now."""

    __slots__ = ("credit", "priority", "tag")

    def __init__(self, priority: int, credit: int) -> None:
        self.priority = priority
        self.credit = credit
        self.tag = ""


class Consumer:
    """What ``consume`` gives, on a channel of its own: closing that puts everything unsettled back. Trio's side iterates."""

    def __init__(self, aio: AsyncioLoop, link: Link, queue: str, parts: Sequence[str], prefetch: int) -> None:
        self.channel: Channel
        self.is_over = False
        self._aio = aio
        self._link = link
        self._name = queue
        self._parts = parts
        self._free = prefetch
        self._feed: Feed[Delivery] = Feed(aio, prefetch)
        self._held: dict[int, deque[Delivery]] = {priority: deque() for priority in range(len(parts))}
        self._subscriptions: list[Subscription] = []
        self._prefetch = 0  # the channel's, for the next subscription
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    # ---- Trio's side -----------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        return await self._feed.receive()

    # ---- asyncio's side --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the channel, and subscribe."""
        self.channel = await self._link.channel()
        self.channel.closing.add_done_callback(self._lost)
        self.channel.on_consumer_cancel_callbacks.add(self._cancelled_by_rabbitmq)
        try:
            if len(self._parts) == 1:
                await self._subscribe(0, self._free)
            else:
                await self._fill()
                self._pump = asyncio.get_running_loop().create_task(self._run(), name=f"consume {self._name}")
        except BaseException as error:
            if isinstance(error, TopologyGone):
                self._link.forget_topology()
            await self.close()
            raise

    async def close(self) -> None:
        """Close the channel, so that RabbitMQ puts the unsettled back."""
        self.is_over = True
        self._news.set()
        if self._pump is not None:
            await asyncio.wait((self._pump,), timeout=CLOSE_S)
            self._pump.cancel()
            await asyncio.wait((self._pump,), timeout=CLOSE_S)
        await close_channel(self.channel)

    def released(self, source: object, /) -> None:
        """Have a place again; a subscription's credit comes back with it."""
        self._free += 1
        if isinstance(source, Subscription):
            source.credit += 1
        self._news.set()

    def _end(self, error: Exception) -> None:
        self.is_over = True
        self._feed.end(error)
        self._news.set()

    def _lost(self, closing: asyncio.Future[object]) -> None:
        reason = None if closing.cancelled() else closing.exception()
        if not self.is_over:
            self._end(EdgeLost(f"consuming {self._name!r}: RabbitMQ took everything back: {reason!r}"))

    def _cancelled_by_rabbitmq(self, _frame: object) -> None:
        self._link.forget_topology()
        self._end(EdgeLost(f"consuming {self._name!r}: RabbitMQ ended it, the queue is not there any more"))

    async def _subscribe(self, priority: int, credit: int) -> None:
        subscription = Subscription(priority, credit)

        async def arrived(delivered: DeliveredMessage) -> None:
            subscription.credit -= 1
            try:
                self._arrived(Delivery(self._aio, self, delivered, subscription), priority)
            except Exception as error:  # noqa: BLE001 - a bug, which must crash whoever consumes; the driver would only log it
                self._end(error)

        self._subscriptions.append(subscription)
        with mapped(f"consuming {self._name!r}"):
            async with timeout(RPC_S):
                if credit != self._prefetch:
                    await self.channel.basic_qos(prefetch_count=credit)
                    self._prefetch = credit
                answer = await self.channel.basic_consume(self._parts[priority], arrived)
                subscription.tag = answer.consumer_tag or ""

    def _arrived(self, delivery: Delivery, priority: int) -> None:
        if self._free > 0 and not self._holds:
            self._hand_out(delivery)
        else:
            self._held[priority].append(delivery)
        self._news.set()

    def _hand_out(self, delivery: Delivery) -> None:
        self._free -= 1
        has_room = self._feed.put(delivery)
        assert has_room, "more places than prefetch"

    # ---- several priorities ----------------------------------------------------------------------------------------

    @property
    def _holds(self) -> bool:
        return any(self._held.values())

    async def _run(self) -> None:
        try:
            while not self.is_over:
                self._news.clear()
                if not await self._fill():
                    await self._news.wait()
        except CodeWarzError as error:
            if isinstance(error, TopologyGone):
                self._link.forget_topology()
            self._end(EdgeLost(error.detail))
        except Exception as error:  # noqa: BLE001 - a bug, which must crash whoever consumes
            self._end(error)

    async def _fill(self) -> bool:
        """Do the next thing by the rules; False when there is none until something comes or is settled."""
        starving = [priority for priority in range(len(self._parts)) if not self._credit_of(priority)]
        if not self._subscriptions:
            if self._free == 0:
                return False
            if not await self._take():
                await self._subscribe_to_all()
            return True
        if self._free == 0 or self._holds:
            await self._cancel_all()
            return True
        if not starving:
            return False
        allowed = self._free + len(self._parts) - 1 - sum(each.credit for each in self._subscriptions)
        if allowed < len(starving):
            await self._cancel_all()
            return True
        spent = [each for each in self._subscriptions if not each.credit and each.priority in starving]
        for priority in starving:
            await self._subscribe(priority, min(self._share, allowed // len(starving)))
        for each in spent:
            if not each.credit:
                await self._cancel(each)
        return True

    @property
    def _share(self) -> int:
        """Each queue's part of the credit: together they are within rule 1."""
        return max(1, self._free // len(self._parts))

    def _credit_of(self, priority: int) -> int:
        return sum(each.credit for each in self._subscriptions if each.priority == priority)

    async def _take(self) -> bool:
        """Fill one free place with the first message there is, from the highest priority down; False when there is none."""
        for priority in reversed(range(len(self._parts))):
            if self._held[priority]:
                self._hand_out(self._held[priority].popleft())
                return True
            with mapped(f"consuming {self._name!r}"):
                async with timeout(RPC_S):
                    delivered = await self.channel.basic_get(self._parts[priority])
            if isinstance(delivered.delivery, Basic.GetOk):
                self._hand_out(Delivery(self._aio, self, delivered))
                return True
        return False

    async def _subscribe_to_all(self) -> None:
        share = self._share
        for priority in reversed(range(len(self._parts))):
            await self._subscribe(priority, share)

    async def _cancel_all(self) -> None:
        for each in sorted(self._subscriptions, key=lambda subscription: subscription.priority):
            await self._cancel(each)

    async def _cancel(self, subscription: Subscription) -> None:
        """End a subscription. What was on its way comes before the answer; what it delivered is still to be settled."""
        with mapped(f"consuming {self._name!r}"):
            async with timeout(RPC_S):
                await self.channel.basic_cancel(subscription.tag)
        self._subscriptions.remove(subscription)
