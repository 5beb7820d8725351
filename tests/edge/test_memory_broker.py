"""What is the in-process broker's own: its bounds, its end, the operators' functions; and a property over long random lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from contracts.errors import Conflict, EdgeLost, PublishRefused
from contracts.ports import BrokerDelivery, BrokerMessage, Queue
from edge.memory_broker import MemoryBroker
from tests.edge.conformance_broker import becomes, drained, ids, message, publish

GRAVE = Queue(name="dead", routing_key="dead", max_length=1)
WORK = Queue(name="work", routing_key="do", dead_letter_queue="dead", delivery_limit=0, max_length=3)


async def test_a_full_grave_keeps_the_dead_where_they_died() -> None:
    broker = MemoryBroker()
    await broker.declare([WORK, GRAVE])
    await publish(broker, "a", "b", "c")
    for _ in range(3):
        delivery = await broker.get("work")
        assert delivery is not None
        await delivery.reject()
    await becomes(broker, "dead", ready=1, unacked=0)
    await becomes(broker, "work", ready=0, unacked=2)
    await publish(broker, "d")
    with pytest.raises(PublishRefused):
        await publish(broker, "e")
    assert ids(await drained(broker, "dead")) == ["a", "b", "c"]
    await becomes(broker, "work", ready=1, unacked=0)


async def test_consumers_share_in_turn() -> None:
    broker = MemoryBroker()
    await broker.declare([WORK, GRAVE])
    async with broker.consume("work", prefetch=5) as one, broker.consume("work", prefetch=5) as other:
        await publish(broker, "a", "b", "c")
        assert [(await anext(one)).message.message_id for _ in range(2)] == ["a", "c"]
        assert (await anext(other)).message.message_id == "b"


async def test_what_comes_back_takes_its_old_place_in_whatever_order_it_comes() -> None:
    broker = MemoryBroker()
    await broker.declare([Queue(name="work", routing_key="do")])
    await publish(broker, "a", "b", "c")
    first, second = await broker.get("work"), await broker.get("work")
    assert first is not None
    assert second is not None
    await second.nack()
    await first.nack()
    assert ids(await drained(broker, "work")) == ["a", "b", "c"]


async def test_a_queue_without_its_grave_is_refused() -> None:
    with pytest.raises(Conflict, match="dead-letter queue"):
        await MemoryBroker().declare([WORK])


async def test_closing_wakes_the_consumer_and_refuses_everything() -> None:
    broker = MemoryBroker()
    await broker.declare([WORK, GRAVE])
    await publish(broker, "a")
    async with trio.open_nursery() as nursery:

        async def consume() -> None:
            async with broker.consume("work", prefetch=2) as consumer:
                delivery = await anext(consumer)
                with pytest.raises(EdgeLost):
                    await anext(consumer)
                with pytest.raises(EdgeLost):
                    await delivery.ack()

        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        broker.close()
    with pytest.raises(EdgeLost):
        await publish(broker, "b")


async def test_settling_after_the_consumer_left_says_that_it_will_come_again() -> None:
    broker = MemoryBroker()
    await broker.declare([Queue(name="work", routing_key="do")])
    await publish(broker, "a")
    async with broker.consume("work", prefetch=1) as consumer:
        delivery = await anext(consumer)
    with pytest.raises(EdgeLost, match="come again"):
        await delivery.ack()


class _Life:
    """A broker, what was done to it, and what must be true after every step."""

    work = Queue(name="work", routing_key="do", dead_letter_queue="dead", delivery_limit=2, max_length=6, priorities=3)
    dead = Queue(name="dead", routing_key="dead", max_length=4)

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.broker = MemoryBroker()
        self.published: dict[str, tuple[int, int]] = {}
        self.settled: set[str] = set()
        self.rejected: set[str] = set()
        self.held: list[tuple[AsyncExitStack | None, BrokerDelivery]] = []
        self.consumers: dict[AsyncExitStack, tuple[AsyncIterator[BrokerDelivery], int]] = {}

    async def many(self, queue: str) -> int:
        depth = await self.broker.depth(queue)
        return depth.ready + (depth.unacked or 0)

    async def publish(self) -> None:
        number = len(self.published) + 1
        priority = self.data.draw(st.integers(0, 4), label="priority")
        many = await self.many("work")
        try:
            await self.broker.publish("do", BrokerMessage(body=b"", message_id=str(number), priority=priority))
        except PublishRefused:
            assert many == self.work.max_length
        else:
            assert many < self.work.max_length
            self.published[str(number)] = (-min(priority, 2), number)

    async def subscribe(self) -> None:
        if len(self.consumers) < 3:
            stack = AsyncExitStack()
            prefetch = self.data.draw(st.integers(1, 3), label="prefetch")
            consumer = await stack.enter_async_context(self.broker.consume("work", prefetch=prefetch))
            self.consumers[stack] = (consumer, prefetch)

    async def leave(self) -> None:
        if self.consumers:
            stack = self.data.draw(st.sampled_from(list(self.consumers)), label="consumer")
            del self.consumers[stack]
            self.held = [(owner, each) for owner, each in self.held if owner is not stack]
            await stack.aclose()

    async def take(self) -> None:
        for stack, (consumer, prefetch) in self.consumers.items():
            with trio.move_on_after(1):
                delivery = await anext(consumer)
                self.note(delivery)
                self.held.append((stack, delivery))
            assert sum(owner is stack for owner, _ in self.held) <= prefetch

    async def get(self) -> None:
        delivery = await self.broker.get("work")
        if delivery is not None:
            self.note(delivery)
            self.held.append((None, delivery))

    def note(self, delivery: BrokerDelivery) -> None:
        identifier = delivery.message.message_id
        assert identifier not in self.settled, "delivered after it was acknowledged"
        assert identifier not in {each.message.message_id for _, each in self.held}, "with two consumers at once"
        assert delivery.delivery_count <= self.work.delivery_limit

    async def settle(self) -> None:
        if self.held:
            index = self.data.draw(st.integers(0, len(self.held) - 1), label="delivery")
            _, delivery = self.held.pop(index)
            how = self.data.draw(st.sampled_from(["ack", "nack", "reject"]), label="how")
            if how == "ack":
                await delivery.ack()
                self.settled.add(delivery.message.message_id)
            elif how == "nack":
                await delivery.nack()
            else:
                await delivery.reject()
                self.rejected.add(delivery.message.message_id)

    async def bury(self) -> None:
        delivery = await self.broker.get("dead")
        if delivery is not None:
            assert delivery.message.headers["x-death-queue"] == "work"
            await delivery.ack()
            self.settled.add(delivery.message.message_id)

    async def check(self) -> None:
        work, dead = await self.many("work"), await self.many("dead")
        assert work <= self.work.max_length
        assert dead <= self.dead.max_length
        alive = len(self.published) - len(self.settled)
        assert work + dead == alive, "a message is lost or doubled"

    async def end(self) -> None:
        """Everybody leaves; what is left comes out once, in order."""
        for stack in self.consumers:
            await stack.aclose()
        for owner, delivery in self.held:
            if owner is None:
                await delivery.nack()
        left: list[str] = []
        dead: list[str] = []
        while left_now := ids(await drained(self.broker, "work")):
            left += left_now
        while dead_now := ids(await drained(self.broker, "dead")):
            dead += dead_now
        assert left == sorted(left, key=self.published.__getitem__)
        assert sorted([*left, *dead, *self.settled]) == sorted(self.published)
        assert self.rejected <= {*dead, *self.settled}


async def live(data: st.DataObject) -> None:
    life = _Life(data)
    await life.broker.declare([life.work, life.dead])
    steps = [life.publish, life.publish, life.subscribe, life.leave, life.take, life.get, life.settle, life.bury]
    for step in data.draw(st.lists(st.sampled_from(steps), max_size=40), label="steps"):
        await step()
        await life.check()
    await life.end()


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_happens_nothing_is_lost_doubled_or_out_of_order(data: st.DataObject) -> None:
    trio.run(live, data, clock=MockClock(autojump_threshold=0))


async def test_a_priority_beyond_the_queues_own_is_clamped() -> None:
    broker = MemoryBroker()
    await broker.declare([Queue(name="work", routing_key="do", priorities=2)])
    await broker.publish("do", message("a", -5))
    await broker.publish("do", message("b", 99))
    assert ids(await drained(broker, "work")) == ["b", "a"]
