"""The judges' intake: what it keeps, what it answers, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
import trio

from actors.judge.intake import Intake
from actors.judge.worker import Outcome, Worker
from actors.outbox import QUEUES, SUBMISSION_QUEUE
from contracts.errors import CodeWarzError, Invalid, NotFound, SetAside
from contracts.messages import JudgeRequested
from contracts.ports import BrokerMessage, Redis, Rpc
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.redis_error import RedisError
from supervisor.context import Context
from supervisor.errors import MessageQuarantined
from supervisor.mailbox import Address

PLACES = 2


@dataclass
class Workers:
    """Answers each request with the next of its outcomes, once ``go`` says so; "settled" when none is left."""

    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    crashing: set[str] = field(default_factory=set)
    go: trio.Event = field(default_factory=trio.Event)

    async def ask(self, request: JudgeRequested, *, timeout: float) -> Outcome:
        assert timeout == math.inf
        self.asked.append(request.submission_id)
        if request.submission_id in self.crashing:
            raise MessageQuarantined("crashed twice")
        left = self.outcomes.get(request.submission_id)
        if left is None:
            return Outcome.SETTLED
        await self.go.wait()
        return left.pop(0) if left else Outcome.SETTLED


class Running:
    """A context as far as the intake looks."""

    def __init__(self) -> None:
        self.draining = trio.Event()
        self.path = "/judge/intake"

    def ready(self) -> None:
        """Nothing waits for it here."""


@dataclass
class Scene:
    """A broker, an intake on it, and workers that are scripted."""

    broker: MemoryBroker
    workers: Workers
    redis: Redis = field(default_factory=lambda: cast("Redis", _Deaf()))
    rpc: Rpc = field(default_factory=lambda: cast("Rpc", None))

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[None]:
        """Run an intake during the block; then it is gone without having answered what it had."""
        intake = Intake(
            name="judge",
            owner="judge/1/",
            broker=self.broker,
            redis=self.redis,
            rpc=self.rpc,
            workers=cast("Address[JudgeRequested]", self.workers),
            prefetch=PLACES,
            offers=(),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(intake.run, cast("Context[None]", Running()))
            yield
            nursery.cancel_scope.cancel()

    async def request(self, *submissions: str, attempt: int = 1) -> None:
        """Publish a request for each, under identifiers of their own."""
        for number, submission in enumerate(submissions):
            body = msgspec.json.encode(JudgeRequested(submission_id=submission, attempt=attempt))
            await self.broker.publish(
                SUBMISSION_QUEUE.routing_key, BrokerMessage(body=body, message_id=f"{submission}-{number}")
            )

    async def poison(self, *bodies: bytes) -> None:
        """Publish what nobody of the house would."""
        for number, body in enumerate(bodies):
            await self.broker.publish(
                SUBMISSION_QUEUE.routing_key, BrokerMessage(body=body, message_id=f"poison-{number}")
            )

    async def dead(self) -> int:
        """Return how many dead letters there are."""
        return (await self.broker.depth("submission.dlq")).ready

    async def depth(self) -> tuple[int, int]:
        """Return how many are ready, and how many given out."""
        depth = await self.broker.depth(SUBMISSION_QUEUE.name)
        return depth.ready, depth.unacked or 0


class _Deaf:
    """Where languages are announced; nobody listens."""

    async def pipeline(self, commands: Sequence[object]) -> list[object]:
        return [None for _ in commands]

    async def call(self, *command: object) -> None:
        return None


@pytest.fixture
async def scene() -> Scene:
    broker = MemoryBroker()
    await broker.declare(QUEUES)
    return Scene(broker, Workers())


async def test_copies_of_one_request_take_one_place(scene: Scene, autojump_clock: trio.abc.Clock) -> None:
    scene.workers.outcomes["held"] = [Outcome.HELD]
    await scene.request("held", "held", "held", "held", "other")
    async with scene.intake():
        await trio.sleep(0.1)
        assert scene.workers.asked == ["held", "other"]
        assert await scene.depth() == (0, 1)  # one of the four is still with the broker
        scene.workers.go.set()
        await trio.sleep(2)
        assert scene.workers.asked == ["held", "other", "held"]
        assert await scene.depth() == (0, 0)


async def test_a_rejudging_is_no_copy_of_the_attempt_before_it(scene: Scene, autojump_clock: trio.abc.Clock) -> None:
    scene.workers.outcomes["s"] = []
    await scene.request("s", attempt=1)
    await scene.request("s", attempt=2)
    async with scene.intake():
        await trio.sleep(0.1)
        assert scene.workers.asked == ["s", "s"]
        assert await scene.depth() == (0, 2)


async def test_a_request_outlives_the_intake_that_answered_its_copies(
    scene: Scene, autojump_clock: trio.abc.Clock
) -> None:
    scene.workers.outcomes["held"] = []
    await scene.request("held", "held", "held")
    async with scene.intake():
        await trio.sleep(0.1)
        assert await scene.depth() == (0, 1)
    assert await scene.depth() == (1, 0)
    scene.workers.go.set()
    async with scene.intake():
        await trio.sleep(0.1)
    assert scene.workers.asked == ["held", "held"]
    assert await scene.depth() == (0, 0)


async def test_a_request_whose_copy_was_answered_is_asked_about_when_it_comes_again(
    scene: Scene, autojump_clock: trio.abc.Clock
) -> None:
    scene.workers.outcomes["again"] = [Outcome.SETTLED]
    await scene.request("again", "again")
    async with scene.intake():
        await trio.sleep(0.1)
        scene.workers.go.set()
        await trio.sleep(0.1)
        await scene.request("again")
        await trio.sleep(0.1)
    assert scene.workers.asked == ["again", "again"]
    assert await scene.depth() == (0, 0)


async def test_of_two_copies_the_one_further_from_the_dead_letters_is_kept(
    scene: Scene, autojump_clock: trio.abc.Clock
) -> None:
    scene.workers.outcomes["worn"] = []
    await scene.request("worn")
    for _ in range(SUBMISSION_QUEUE.delivery_limit or 0):
        async with scene.broker.consume(SUBMISSION_QUEUE.name, prefetch=1) as deliveries:
            await anext(deliveries)  # and leave it: that counts
    async with scene.intake():
        await trio.sleep(0.1)
        await scene.request("worn")  # fresh: of this one the broker has not counted any delivery
        await trio.sleep(0.1)
        assert await scene.depth() == (0, 1)
    assert await scene.depth() == (1, 0)  # the worn one would have been a dead letter by now
    assert (await scene.broker.depth("submission.dlq")).ready == 0


# ---- what nobody of the house would send -----------------------------------------------------------------------------

POISON = [
    b'{"type":"JudgeRequested","submission_id":"\xff\xfe","attempt":1}',
    b'{"type":"JudgeRequested","submission_id":"a\\u0000b","attempt":1}',
    b'{"type":"JudgeRequested","submission_id":"a","attempt":10000000000000000000000}',
    b'{"type":"JudgeRequested","submission_id":"a","attempt":1,"more":' + b"[" * 50_000,
    b'{"type":"JudgeRequested","submission_id":"' + b"a" * 65 + b'","attempt":1}',
    b"\xff",
]


@pytest.mark.parametrize("body", POISON, ids=lambda body: repr(body[:70]))
async def test_what_cannot_be_read_is_a_dead_letter_at_once_and_the_rest_goes_on(
    scene: Scene, autojump_clock: trio.abc.Clock, body: bytes
) -> None:
    async with scene.intake():
        await scene.poison(body)
        await scene.request("other")
        await trio.sleep(0.1)
        assert scene.workers.asked == ["other"]
        assert await scene.depth() == (0, 0)
        assert await scene.dead() == 1


async def test_what_a_worker_was_refused_is_a_dead_letter(scene: Scene, autojump_clock: trio.abc.Clock) -> None:
    scene.workers.outcomes["refused"] = [Outcome.REFUSED]
    scene.workers.go.set()
    async with scene.intake():
        await scene.request("refused", "other")
        await trio.sleep(0.1)
        assert await scene.depth() == (0, 0)
        assert await scene.dead() == 1
    assert sorted(scene.workers.asked) == ["other", "refused"]


@pytest.mark.parametrize("error", [Invalid("no"), NotFound("no"), RedisError("WRONGTYPE no")], ids=repr)
async def test_what_cannot_even_be_given_up_is_a_dead_letter(
    scene: Scene, autojump_clock: trio.abc.Clock, redis: MemoryRedis, error: CodeWarzError
) -> None:
    class Core:
        async def call(self, *_: object, **__: object) -> None:
            raise error

    scene.redis, scene.rpc = redis, cast("Rpc", Core())
    scene.workers.crashing.add("bad")
    async with scene.intake():
        await scene.request("bad", "other")
        await trio.sleep(0.1)
        assert await scene.depth() == (0, 0)
        assert await scene.dead() == 1
    assert sorted(scene.workers.asked) == ["bad", "other"]


async def test_a_lease_that_redis_refuses_to_give_ends_nobody(scene: Scene, autojump_clock: trio.abc.Clock) -> None:
    class Refusing(_Deaf):
        async def script(self, *_: object) -> None:
            raise RedisError("WRONGTYPE no")

    redis = cast("Any", Refusing())
    worker = Worker("judge/1/", redis, cast("Rpc", None), cast("Any", None), cast("Any", None), cast("Any", None))
    assert await worker._judge(JudgeRequested(submission_id="bad", attempt=1), "owner") is Outcome.REFUSED
    scene.redis = redis
    scene.workers.crashing.add("bad")
    async with scene.intake():
        await scene.request("bad")
        await trio.sleep(0.1)
        assert await scene.dead() == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Invalid("no"), Outcome.REFUSED), (NotFound("no"), Outcome.REFUSED), (SetAside("no"), Outcome.FAILED)],
    ids=repr,
)
async def test_a_worker_that_core_refuses_lives_on(redis: MemoryRedis, error: CodeWarzError, outcome: Outcome) -> None:
    class Core:
        async def call(self, *_: object, **__: object) -> None:
            raise error

    worker = Worker("judge/1/", redis, cast("Rpc", Core()), cast("Any", None), cast("Any", None), cast("Any", None))
    assert await worker._judge(JudgeRequested(submission_id="s", attempt=1), "owner") is outcome


async def test_an_announcement_that_is_refused_does_not_end_judging(
    scene: Scene, autojump_clock: trio.abc.Clock, redis: MemoryRedis
) -> None:
    scene.redis = redis
    await redis.call("SET", "judge:languages:", "x")
    async with scene.intake():
        await scene.request("one")
        await trio.sleep(60)
        await scene.request("two")
        await trio.sleep(0.1)
        assert scene.workers.asked == ["one", "two"]
        await redis.call("DEL", "judge:languages:")
        await trio.sleep(60)
        assert await redis.call("SMEMBERS", "judge:languages:") == [b"judge"]
