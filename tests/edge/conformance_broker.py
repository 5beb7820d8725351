"""What every ``Broker`` does. Collected by ``test_broker.py``, which says against which variants."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from contracts.errors import Conflict, Invalid, NotFound, PublishRefused, Unroutable
from contracts.ports import DEATH_HEADERS, Broker, BrokerDelivery, BrokerMessage, Queue, QueueDepth
from edge.rabbitmq import RabbitMqBroker
from edge.rabbitmq.topology import EXCHANGE, parts_of

WORK = Queue(name="work", routing_key="do", dead_letter_queue="dead", delivery_limit=2, max_length=5, priorities=3)
DEAD = Queue(name="dead", routing_key="dead", max_length=100)


@pytest.fixture
async def declared(broker: Broker) -> Broker:
    await broker.declare([WORK, DEAD])
    return broker


def message(identifier: str, priority: int = 0) -> BrokerMessage:
    return BrokerMessage(
        body=b"\x00" + identifier.encode(), message_id=identifier, priority=priority, headers={"a": "ž"}
    )


async def publish(broker: Broker, *identifiers: str) -> None:
    for identifier in identifiers:
        await broker.publish("do", message(identifier))


async def receive(consumer: AsyncIterator[BrokerDelivery]) -> BrokerDelivery:
    with trio.fail_after(5):
        return await anext(consumer)


async def drained(broker: Broker, queue: str) -> list[BrokerMessage]:
    """Take and acknowledge everything; return it in order."""
    found = []
    while (delivery := await broker.get(queue)) is not None:
        found.append(delivery.message)
        await delivery.ack()
    return found


async def becomes(broker: Broker, queue: str, *, ready: int, unacked: int) -> None:
    """Wait until the queue is that full: a networked broker needs a moment. What is unacked counts where the broker tells it."""
    with trio.move_on_after(5):
        while not _is(await broker.depth(queue), ready, unacked):
            await trio.sleep(0.01)
    depth = await broker.depth(queue)
    assert _is(depth, ready, unacked), f"{queue} should have {ready} ready and {unacked} unacked: {depth}"


def _is(depth: QueueDepth, ready: int, unacked: int) -> bool:
    return depth.ready == ready and depth.unacked in {unacked, None}


async def delete_queues(broker: RabbitMqBroker) -> None:
    """Delete a test's queues with all that is in them, on asyncio's side."""
    channel = await broker._link.channel()
    for queue in broker._queues.values():
        for part in parts_of(queue):
            await channel.queue_delete(part)
    await channel.exchange_delete(EXCHANGE)
    broker._queues = {}
    await channel.close()


def ids(messages: list[BrokerMessage]) -> list[str]:
    return [each.message_id for each in messages]


# ---- declaring and publishing ----------------------------------------------------------------------------------------


async def test_declaring_again_changes_nothing_and_differently_is_a_conflict(declared: Broker) -> None:
    await publish(declared, "a")
    await declared.declare([WORK, DEAD])
    await becomes(declared, "work", ready=1, unacked=0)
    with pytest.raises(Conflict):
        await declared.declare([Queue(name="work", routing_key="do", max_length=6)])


async def test_a_confirmed_message_is_in_the_queue_unchanged(declared: Broker) -> None:
    await publish(declared, "a")
    await becomes(declared, "work", ready=1, unacked=0)
    assert await drained(declared, "work") == [message("a")]


async def test_a_message_without_a_queue_comes_back(declared: Broker) -> None:
    with pytest.raises(Unroutable):
        await declared.publish("nobody", message("a"))


async def test_a_full_queue_refuses_and_loses_nothing(declared: Broker) -> None:
    await publish(declared, "a", "b", "c", "d", "e")
    with pytest.raises(PublishRefused):
        await publish(declared, "f")
    assert ids(await drained(declared, "work")) == ["a", "b", "c", "d", "e"]
    with trio.fail_after(5):  # a networked broker needs a moment to tell its publishers that there is room again
        while True:
            try:
                await publish(declared, "g")
            except PublishRefused:
                await trio.sleep(0.01)
            else:
                break
    assert ids(await drained(declared, "work")) == ["g"]


async def test_every_queue_bound_to_a_key_gets_the_message(declared: Broker) -> None:
    await declared.declare([Queue(name="copy", routing_key="do")])
    await publish(declared, "a")
    assert ids(await drained(declared, "work")) == ids(await drained(declared, "copy")) == ["a"]


async def test_an_unknown_queue_is_not_found(declared: Broker) -> None:
    with pytest.raises(NotFound):
        await declared.depth("nothing")
    with pytest.raises(NotFound):
        await declared.get("nothing")
    with pytest.raises(NotFound):
        await declared.peek("nothing", 1)
    with pytest.raises(NotFound):
        await declared.purge("nothing")
    with pytest.raises(NotFound):
        async with declared.consume("nothing", prefetch=1):
            pass


# ---- consuming -------------------------------------------------------------------------------------------------------


async def test_an_acknowledged_message_is_gone(declared: Broker) -> None:
    await publish(declared, "a")
    async with declared.consume("work", prefetch=1) as consumer:
        delivery = await receive(consumer)
        assert (delivery.message, delivery.redelivered, delivery.delivery_count) == (message("a"), False, 0)
        await becomes(declared, "work", ready=0, unacked=1)
        await delivery.ack()
        await becomes(declared, "work", ready=0, unacked=0)


async def test_higher_priorities_go_first_and_equal_ones_in_order(declared: Broker) -> None:
    for identifier, priority in (("a", 0), ("b", 2), ("c", 1), ("d", 2), ("e", 9)):
        await declared.publish("do", message(identifier, priority))
    assert ids(await drained(declared, "work")) == ["b", "d", "e", "c", "a"]


async def test_no_more_than_prefetch_is_unsettled(declared: Broker) -> None:
    await publish(declared, "a", "b", "c")
    async with declared.consume("work", prefetch=2) as consumer:
        first, second = await receive(consumer), await receive(consumer)
        await becomes(declared, "work", ready=1, unacked=2)
        with trio.move_on_after(0.02) as scope:
            await anext(consumer)
        assert scope.cancelled_caught
        await second.ack()
        assert (await receive(consumer)).message.message_id == "c"
        await first.ack()


async def test_consumers_share_and_each_message_has_one(declared: Broker) -> None:
    found: list[str] = []

    async def take(consumer: AsyncIterator[BrokerDelivery]) -> None:
        while True:
            found.append((await anext(consumer)).message.message_id)

    async with (
        declared.consume("work", prefetch=3) as one,
        declared.consume("work", prefetch=3) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take, one)
        nursery.start_soon(take, other)
        await publish(declared, "a", "b", "c", "d", "e")  # more than one of them may have
        await becomes(declared, "work", ready=0, unacked=5)
        await trio.sleep(0.05)
        assert sorted(found) == ["a", "b", "c", "d", "e"]
        nursery.cancel_scope.cancel()


async def test_a_free_place_gets_the_highest_priority_there_is(declared: Broker) -> None:
    for identifier, priority in (("a", 0), ("b", 1), ("c", 2), ("d", 0), ("e", 2)):
        await declared.publish("do", message(identifier, priority))
    found = []
    async with declared.consume("work", prefetch=1) as consumer:
        for _ in range(5):
            delivery = await receive(consumer)
            found.append(delivery.message.message_id)
            await delivery.ack()
    assert found == ["c", "e", "b", "a", "d"]


async def test_settling_twice_raises(declared: Broker) -> None:
    await publish(declared, "a")
    delivery = await declared.get("work")
    assert delivery is not None
    await delivery.ack()
    for settle in (delivery.ack, delivery.nack, delivery.reject):
        with pytest.raises(RuntimeError, match="settled"):
            await settle()


async def test_an_empty_queue_gives_none(declared: Broker) -> None:
    assert await declared.get("work") is None


# ---- coming back -----------------------------------------------------------------------------------------------------


async def test_what_comes_back_goes_before_what_has_not_been_delivered(declared: Broker) -> None:
    await publish(declared, "a", "b", "c", "d")
    a, b, c = [await declared.get("work") for _ in range(3)]
    assert a is not None
    assert b is not None
    assert c is not None
    await b.ack()
    await a.nack()
    await c.nack()
    deliveries = [await declared.get("work") for _ in range(3)]
    assert [each and each.message.message_id for each in deliveries] == ["a", "c", "d"]
    assert deliveries[0] is not None
    assert deliveries[0].redelivered
    assert deliveries[0].delivery_count >= 1


async def test_leaving_the_block_puts_the_unsettled_back(declared: Broker) -> None:
    await publish(declared, "a", "b", "c")
    async with declared.consume("work", prefetch=2) as consumer:
        await receive(consumer)
    await becomes(declared, "work", ready=3, unacked=0)
    assert ids(await drained(declared, "work")) == ["a", "b", "c"]


async def test_a_cancelled_consumer_puts_the_unsettled_back(declared: Broker) -> None:
    await publish(declared, "a", "b")

    async def work() -> None:
        async with declared.consume("work", prefetch=1) as consumer:
            await receive(consumer)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await becomes(declared, "work", ready=1, unacked=1)
        nursery.cancel_scope.cancel()
    await becomes(declared, "work", ready=2, unacked=0)


async def test_a_cancelled_wait_loses_no_message(declared: Broker) -> None:
    async with declared.consume("work", prefetch=1) as consumer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, consumer)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await publish(declared, "a")
        assert (await receive(consumer)).message.message_id == "a"


async def test_a_cancelled_publish_and_ack_leave_the_broker_usable(declared: Broker) -> None:
    await publish(declared, "a")
    delivery = await declared.get("work")
    assert delivery is not None
    with trio.CancelScope() as scope:
        scope.cancel()
        await delivery.ack()
    with trio.CancelScope() as scope:
        scope.cancel()
        await publish(declared, "b")
    await publish(declared, "c")
    assert ids(await drained(declared, "work"))[-1] == "c"


async def test_beyond_the_delivery_limit_it_is_a_dead_letter(declared: Broker) -> None:
    await publish(declared, "a")
    for count in range(WORK.delivery_limit + 1):
        delivery = await declared.get("work")
        assert delivery is not None
        assert delivery.delivery_count == count
        await delivery.nack()
    await becomes(declared, "work", ready=0, unacked=0)
    await becomes(declared, "dead", ready=1, unacked=0)
    (dead,) = await drained(declared, "dead")
    assert (dead.body, dead.message_id, dead.headers["a"]) == (message("a").body, "a", "ž")
    assert dead.headers["x-death-queue"] == "work"
    assert dead.headers["x-death-reason"] == "delivery_limit"
    assert dead.headers["x-death-routing-key"] == "do"
    assert dead.headers["x-death-count"] == "1"


async def test_a_rejected_message_is_a_dead_letter_at_once(declared: Broker) -> None:
    await publish(declared, "a")
    delivery = await declared.get("work")
    assert delivery is not None
    await delivery.reject()
    await becomes(declared, "dead", ready=1, unacked=0)
    (dead,) = await drained(declared, "dead")
    assert dead.headers["x-death-reason"] == "rejected"


async def test_a_rejected_message_without_a_grave_is_away(declared: Broker) -> None:
    await declared.publish("dead", message("a"))
    delivery = await declared.get("dead")
    assert delivery is not None
    await delivery.reject()
    await becomes(declared, "dead", ready=0, unacked=0)


async def test_what_is_dead_already_comes_back_for_ever(declared: Broker) -> None:
    await declared.publish("dead", message("a"))
    for count in range(10):
        delivery = await declared.get("dead")
        assert delivery is not None
        assert delivery.delivery_count == count
        await delivery.nack()
    assert ids(await drained(declared, "dead")) == ["a"]


# ---- operators -------------------------------------------------------------------------------------------------------


async def test_looking_shows_the_first_and_takes_none(declared: Broker) -> None:
    for identifier in ("a", "b", "c"):
        await declared.publish("dead", message(identifier))
    for _ in range(5):
        assert await declared.peek("dead", 2) == [message("a"), message("b")]
        await becomes(declared, "dead", ready=3, unacked=0)
    assert ids(await declared.peek("dead", 9)) == ["a", "b", "c"]
    await becomes(declared, "dead", ready=3, unacked=0)
    assert ids(await drained(declared, "dead")) == ["a", "b", "c"]
    assert await declared.peek("dead", 1) == []


async def test_looking_into_a_queue_that_counts_deliveries_is_invalid(declared: Broker) -> None:
    await publish(declared, "a")
    with pytest.raises(Invalid):
        await declared.peek("work", 1)


async def test_purging_deletes_what_is_ready_and_counts_it(declared: Broker) -> None:
    for identifier, priority in (("a", 0), ("b", 1), ("c", 2)):
        await declared.publish("do", message(identifier, priority))
    held = await declared.get("work")
    assert held is not None
    assert await declared.purge("work") == 2
    await becomes(declared, "work", ready=0, unacked=1)
    await held.nack()
    assert ids(await drained(declared, "work")) == ["c"]
    assert await declared.purge("work") == 0


async def test_a_replayed_dead_letter_may_die_again(declared: Broker) -> None:
    await publish(declared, "a")
    for _ in range(2):
        delivery = await declared.get("work")
        assert delivery is not None
        assert delivery.message == message("a")
        await delivery.reject()
        await becomes(declared, "dead", ready=1, unacked=0)
        (dead,) = await drained(declared, "dead")
        assert dead.headers["x-death-count"] == "1"
        headers = {name: value for name, value in dead.headers.items() if name not in DEATH_HEADERS}
        replayed = BrokerMessage(body=dead.body, message_id=dead.message_id, priority=dead.priority, headers=headers)
        await declared.publish(dead.headers["x-death-routing-key"], replayed)
    assert ids(await drained(declared, "work")) == ["a"]
