"""What is kept in Redis, or waits in the verdict queue, when somebody who may write there has written something else: nobody's process ends over it."""

from __future__ import annotations

import random
from typing import Any, cast

import msgspec
import pytest
import trio

from actors import languages
from actors.outbox import QUEUES, VERDICT_QUEUE
from actors.presence import EVERY_S, JUDGES_KEY, KEY, Node, Presence, nodes
from actors.projector import VerdictIntake
from contracts.errors import Unavailable
from contracts.messages import BoardInvalidated, Offer, Topic
from contracts.ports import BrokerMessage
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from tests.conftest import Clock

CPP = Offer("cpp", "C++20", "g++ 13")
NODE = Node(
    name="judge-1",
    roles=("judge",),
    host="h",
    pid=1,
    url="",
    started_at_ms=1,
    at_ms=1,
    state="running",
    actors=1,
    restarts=0,
    waiting=0,
)


class Running:
    """A context as far as the actor looks."""

    def __init__(self) -> None:
        self.draining = trio.Event()
        self.is_ready = False

    def ready(self) -> None:
        self.is_ready = True


@pytest.mark.parametrize("spoiled", [b"x", b"\xff", b'[["\xff"', b"[" * 50_000, b"{}"], ids=lambda body: repr(body[:9]))
async def test_languages_that_cannot_be_read_count_as_none(redis: MemoryRedis, spoiled: bytes) -> None:
    await languages.announce(redis, "good", [CPP])
    await redis.call("SET", "judge:languages:bad", spoiled)
    await redis.call("SADD", "judge:languages:", "bad", b"\xff\xfe")
    assert await languages.offered(redis) == [CPP]


@pytest.mark.parametrize("key", ["judge:languages:", "judge:languages:good"])
async def test_languages_under_a_key_of_another_kind_count_as_none(redis: MemoryRedis, key: str) -> None:
    await languages.announce(redis, "good", [CPP])
    await redis.call("DEL", key)
    await redis.call("HSET", key, "a", "b")
    assert await languages.offered(redis) == []


async def test_a_process_that_cannot_tell_of_itself_lives_on(
    redis: MemoryRedis, clock: Clock, rng: random.Random, autojump_clock: trio.abc.Clock
) -> None:
    await redis.call("SET", KEY, "x")
    ctx = Running()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Presence(redis, clock, lambda: NODE).run, cast("Any", ctx))
        await trio.sleep(2 * EVERY_S)
        assert ctx.is_ready
        await redis.call("DEL", KEY)
        await trio.sleep(2 * EVERY_S)
        assert await nodes(redis, 1) == [NODE]
        await redis.call("HSET", KEY, "other", b"\xff", "third", "[" * 50_000)
        assert await nodes(redis, 1) == [NODE]
        await redis.call("DEL", KEY)
        await redis.call("SET", KEY, "x")
        ctx.draining.set()


async def test_judges_tell_of_themselves_at_a_place_of_their_own_and_of_nobody_else(
    redis: MemoryRedis, clock: Clock, autojump_clock: trio.abc.Clock
) -> None:
    judge = msgspec.structs.replace(NODE, name="judge-1", roles=("judge",))
    ctx = Running()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Presence(redis, clock, lambda: judge).run, cast("Any", ctx))
        await trio.sleep(EVERY_S)
        assert await redis.call("HKEYS", JUDGES_KEY) == [b"judge-1"]
        assert await redis.call("EXISTS", KEY) == 0
        for name, roles in (("core-1", ("core",)), ("both", ("core", "judge")), ("none", ())):
            forged = msgspec.json.encode(msgspec.structs.replace(NODE, name=name, roles=roles))
            await redis.call("HSET", JUDGES_KEY, name, forged)
        assert await nodes(redis, 1) == [judge]
        ctx.draining.set()
    assert b"judge-1" not in await redis.call("HKEYS", JUDGES_KEY)


async def test_what_a_judge_leaves_in_the_place_of_the_judges_hides_nobody_else(redis: MemoryRedis) -> None:
    await redis.call("HSET", KEY, NODE.name, msgspec.json.encode(NODE))
    await redis.call("SET", JUDGES_KEY, "x")
    assert await nodes(redis, 1) == [NODE]


async def test_a_redis_that_is_away_is_not_taken_for_one_without_languages() -> None:
    class Away:
        async def call(self, *_: object) -> None:
            raise Unavailable("away")

    with pytest.raises(Unavailable):
        await languages.offered(cast("Any", Away()))


# ---- the verdict queue -----------------------------------------------------------------------------------------------

GOOD = b'{"type":"BoardInvalidated","contest_id":"c"}'
POISON = [
    b"\xff",
    b'{"type":"BoardInvalidated","contest_id":"\xff"}',
    b'{"type":"BoardInvalidated","contest_id":"a\\u0000b"}',
    b'{"type":"BoardInvalidated","contest_id":"c","more":' + b"[" * 50_000,
    b'{"type":"Judged","submission_id":"s","attempt":10000000000000000000000,"verdict":"AC","score":0}',
    b'{"type":"Judged","submission_id":"s","attempt":1,"verdict":"AC","score":10000000000000000000000}',
    b'{"type":"JudgeRequested","submission_id":"s","attempt":1}',
]


@pytest.mark.parametrize("body", POISON, ids=lambda body: repr(body[:70]))
async def test_an_event_that_cannot_be_read_is_a_dead_letter_and_the_rest_is_applied(
    broker: MemoryBroker, autojump_clock: trio.abc.Clock, body: bytes
) -> None:
    applied: list[object] = []

    async def project(event: object, *, timeout: float) -> None:
        applied.append(event)

    await broker.declare(QUEUES)
    intake = VerdictIntake(broker, cast("Any", project))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.run, cast("Any", Running()))
        for number, each in enumerate((body, GOOD)):
            await broker.publish(Topic.VERDICT, BrokerMessage(body=each, message_id=str(number)))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert applied == [BoardInvalidated(contest_id="c")]
    assert (await broker.depth("verdict.dlq")).ready == 1
    assert (await broker.depth(VERDICT_QUEUE.name)).ready == 0
