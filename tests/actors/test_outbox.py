from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
import trio

from actors.outbox import (
    ATTEMPTS_MOST,
    CLAIM_MS,
    CROWDED,
    CROWDED_PAUSE_S,
    QUEUES,
    SUBMISSION_QUEUE,
    Listener,
    Relay,
    Scan,
    claim,
)
from contracts.errors import EdgeLost, PublishRefused
from contracts.ports import BrokerMessage, Database, Meter
from edge.memory_broker import MemoryBroker
from supervisor import Actor, Mailbox, Overflow, Strategy, Supervisor, Tree
from tests.conftest import Clock


async def put(database: Database, clock: Clock, *names: str, topic: str = "submission") -> None:
    async with database.transaction() as tx:
        for name in names:
            await tx.execute(
                "INSERT INTO outbox_messages (id, topic, priority, body, correlation_id, traceparent, created_at_ms, available_at_ms, attempts,"
                " last_error) VALUES ($1, $2, 0, $3, '', '', $4, $4, 0, '')",
                name,
                topic,
                name.encode(),
                clock.now_ms(),
            )


async def states(database: Database) -> Mapping[str, str]:
    rows = await database.fetch("SELECT id, sent_at_ms, parked_at_ms FROM outbox_messages ORDER BY id")
    return {row["id"]: "sent" if row["sent_at_ms"] else "parked" if row["parked_at_ms"] else "waiting" for row in rows}


def house(database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter) -> Tree:
    mailbox: Mailbox[Scan] = Mailbox("relay", 1, Overflow.CONFLATE, conflate_key=type)
    relay = Relay(database, broker, clock, rng, meter)
    listener = Listener(database, mailbox.address)
    children = (Actor("relay", relay.run, mailbox), Actor("listener", listener.run, grace_s=0))
    return Tree(Supervisor("outbox", children, Strategy.REST_FOR_ONE), rng=rng, wall_clock=lambda: 0.0)


async def received(broker: MemoryBroker, many: int) -> list[str]:
    names = []
    async with broker.consume(SUBMISSION_QUEUE.name, prefetch=many) as deliveries:
        async for delivery in deliveries:
            names.append(delivery.message.message_id)
            await delivery.ack()
            if len(names) == many:
                return names
    raise AssertionError


async def test_what_was_committed_before_the_start_and_after_it_is_published(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    await put(database, clock, "m1", "m2")
    tree = house(database, broker, clock, rng, meter)
    await nursery.start(tree.run)
    assert sorted(await received(broker, 2)) == ["m1", "m2"]
    await put(database, clock, "m3")
    assert await received(broker, 1) == ["m3"]
    await tree.shutdown()
    assert set((await states(database)).values()) == {"sent"}


async def test_what_has_waited_longest_is_published_first(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    names = [f"m{number:02}" for number in range(50)]
    await put(database, clock, *names)
    for _ in range(4):  # chance would have to be lucky each time
        tree = house(database, broker, clock, rng, meter)
        await nursery.start(tree.run)
        assert await received(broker, len(names)) == names
        await tree.shutdown()
        await database.execute("UPDATE outbox_messages SET sent_at_ms = NULL, available_at_ms = 0")


async def test_a_rolled_back_row_is_never_published(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    tree = house(database, broker, clock, rng, meter)
    await nursery.start(tree.run)
    try:
        async with database.transaction() as tx:
            await tx.execute(
                "INSERT INTO outbox_messages (id, topic, priority, body, correlation_id, traceparent, created_at_ms, available_at_ms, attempts,"
                " last_error) VALUES ('ghost', 'submission', 0, 'x', '', '', 0, 0, 0, '')"
            )
            raise KeyError
    except KeyError:
        pass
    await put(database, clock, "real")
    assert await received(broker, 1) == ["real"]
    await tree.shutdown()


async def test_rows_claimed_by_a_relay_that_died_come_back_when_the_claim_ends(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    await put(database, clock, "m1")
    assert [row["id"] for row in await claim(database, clock.now_ms(), 10)] == ["m1"]  # … and it dies here
    assert await claim(database, clock.now_ms(), 10) == []
    clock.at_ms += CLAIM_MS
    await nursery.start(house(database, broker, clock, rng, meter).run)
    assert await received(broker, 1) == ["m1"]
    nursery.cancel_scope.cancel()


async def test_restarting_the_relay_in_the_middle_loses_nothing(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    tree = house(database, broker, clock, rng, meter)
    await nursery.start(tree.run)
    names = [f"m{number:03}" for number in range(30)]
    for start in range(0, 30, 10):
        await put(database, clock, *names[start : start + 10])
        await tree.restart("relay")
    missing = set(names)
    while missing:
        clock.at_ms += CLAIM_MS  # a claim that a restart cut off ends, also one that the last restart cut off
        await tree.restart("relay")
        with trio.move_on_after(1):
            while missing:
                missing -= set(await received(broker, 1))
    await tree.shutdown()


class Refusing(MemoryBroker):
    """A broker with a full queue."""

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        raise PublishRefused("the queue is full")


async def test_a_row_that_is_refused_again_and_again_is_parked_and_shown(
    database: Database, clock: Clock, rng: random.Random, meter: Meter
) -> None:
    await put(database, clock, "m1")
    broker = Refusing()
    await broker.declare(QUEUES)
    relay = Relay(database, broker, clock, rng, meter)
    for attempt in range(ATTEMPTS_MOST):
        assert (await states(database))["m1"] == "waiting", attempt
        await relay._publish_batch()
        clock.at_ms += 120_000
    assert (await states(database))["m1"] == "parked"
    row = await database.fetch_one("SELECT last_error FROM outbox_messages")
    assert row is not None
    assert row["last_error"] == "the queue is full"


async def test_an_idle_relay_asks_nothing(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    tree = house(database, broker, clock, rng, meter)
    asked: list[str] = []
    original = database.fetch

    async def counted(sql: str, *parameters: object) -> list[Mapping[str, object]]:
        asked.append(sql)
        return await original(sql, *parameters)  # type: ignore[arg-type]

    database.fetch = counted  # type: ignore[method-assign]
    await nursery.start(tree.run)
    many = 0
    while not asked or len(asked) > many:  # the first scans, which take their time on a real server
        many = len(asked)
        await trio.testing.wait_all_tasks_blocked(0.3)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert len(asked) == many
    await tree.shutdown()


async def test_a_rejudging_of_hundreds_does_not_stand_before_a_contest(database: Database, clock: Clock) -> None:
    await put(database, clock, *(f"r{number:03}" for number in range(300)))
    clock.at_ms += 1
    await put(database, clock, "live")
    await database.execute("UPDATE outbox_messages SET priority = 2 WHERE id = 'live'")
    assert "live" in [row["id"] for row in await claim(database, clock.now_ms(), 10)]


async def test_rejudging_waits_in_the_outbox_while_the_queue_is_crowded_and_a_contest_does_not(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter
) -> None:
    await broker.declare(QUEUES)
    for number in range(CROWDED):
        await broker.publish("submission", BrokerMessage(body=b"", message_id=str(number)))
    await put(database, clock, "live", "rejudged")
    await database.execute("UPDATE outbox_messages SET priority = 2 WHERE id = 'live'")
    relay = Relay(database, broker, clock, rng, meter)
    assert await relay._publish_batch() == CROWDED_PAUSE_S
    assert await states(database) == {"live": "sent", "rejudged": "waiting"}
    await broker.purge("submission.queue")
    await relay._publish_batch()
    assert await states(database) == {"live": "sent", "rejudged": "sent"}


class Away(MemoryBroker):
    """A broker that is away, or that never confirms."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.is_away = True
        self.hangs = hangs

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        if self.is_away and self.hangs:
            await trio.sleep_forever()
        if self.is_away:
            raise EdgeLost("the broker is away")
        await super().publish(routing_key, message)


@pytest.mark.parametrize("hangs", [False, True])
async def test_an_hour_without_a_broker_parks_nothing_and_crashes_nobody(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, hangs: bool, autojump_clock: trio.abc.Clock
) -> None:
    broker = Away(hangs=hangs)
    async with trio.open_nursery() as nursery:
        tree = house(database, broker, clock, rng, meter)
        await nursery.start(tree.run)
        await put(database, clock, "m1")
        for _ in range(120):
            await trio.sleep(30)
            clock.at_ms += 30_000
        assert [row.restarts for row in tree.status().rows if row.kind == "actor"] == [0, 0]
        row = await database.fetch_one("SELECT attempts FROM outbox_messages")
        assert row is not None
        assert row["attempts"] <= 1
        broker.is_away = False
        clock.at_ms += 30_000
        await trio.sleep(30)
        assert await states(database) == {"m1": "sent"}
        await tree.shutdown()


async def test_what_could_not_be_sent_while_the_broker_was_away_keeps_its_turn(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with trio.open_nursery() as nursery:
        tree = house(database, Away(hangs=False), clock, rng, meter)
        await put(database, clock, "m1")
        await nursery.start(tree.run)
        await trio.sleep(0.1)
        clock.at_ms += 1
        await put(database, clock, "m2")
        await tree.stop("outbox/relay")
        found = [row["id"] for _ in range(2) for row in await claim(database, clock.now_ms(), 1)]
        assert found == ["m1", "m2"]
        await tree.shutdown()


async def test_what_was_put_off_has_not_lost_its_turn(database: Database, clock: Clock) -> None:
    await put(database, clock, "m1")
    await claim(database, clock.now_ms(), 1)  # by a relay that dies
    clock.at_ms += CLAIM_MS // 2
    await put(database, clock, "m2")
    clock.at_ms += CLAIM_MS
    assert [row["id"] for row in await claim(database, clock.now_ms(), 1)] == ["m1"]


async def test_commits_while_the_relay_is_stopped_crash_nobody_and_are_published_when_it_is_back(
    database: Database, broker: MemoryBroker, clock: Clock, rng: random.Random, meter: Meter, nursery: trio.Nursery
) -> None:
    tree = house(database, broker, clock, rng, meter)
    await nursery.start(tree.run)
    await tree.stop("relay")
    for number in range(10):
        await put(database, clock, f"m{number}")
        await trio.testing.wait_all_tasks_blocked()
    assert [row.restarts for row in tree.status().rows if row.path.endswith("listener")] == [0]
    await tree.start("relay")
    assert len(await received(broker, 10)) == 10
    await tree.shutdown()
