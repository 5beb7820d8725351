"""RabbitMQ's users: a judge's may take requests and nothing else, and waits for queues that others make; only the console's looks after the server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiormq
import pytest
import trio
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from actors.gateway.health import Monitored, _checks
from actors.outbox import QUEUES, SUBMISSION_QUEUE, VERDICT_QUEUE
from chaos.engines import Missing, RabbitMq
from contracts.errors import EdgeLost, NotPermitted, Unavailable
from contracts.messages import Topic
from contracts.users import CODEWARZ, CONSOLE, JUDGE
from edge.aio import AsyncioLoop
from edge.rabbitmq import RabbitMqBroker
from edge.rabbitmq.topology import EXCHANGE, parts_of
from tests.conftest import Clock
from tests.edge.conformance_broker import becomes, delete_queues, drained, ids, message, receive

WAIT_S = 15.0
REQUESTS = SUBMISSION_QUEUE.name
FIRST, *_ = parts_of(SUBMISSION_QUEUE)
GRAVE = "submission.dlq"


@pytest.fixture
async def core(rabbitmq_engine: RabbitMq, aio: AsyncioLoop) -> AsyncIterator[RabbitMqBroker]:
    """Everybody's but a judge's; it has declared nothing yet."""
    async with RabbitMqBroker(rabbitmq_engine.url_of(CODEWARZ), aio) as opened:
        try:
            yield opened
        finally:
            with trio.CancelScope(shield=True):
                await opened.declare(QUEUES)
                await aio.call(delete_queues, opened)


@pytest.fixture
async def judge(rabbitmq_engine: RabbitMq, core: RabbitMqBroker, aio: AsyncioLoop) -> AsyncIterator[RabbitMqBroker]:
    async with RabbitMqBroker(rabbitmq_engine.url_of(JUDGE), aio) as opened:
        yield opened


async def patiently(call: Callable[[], Awaitable[None]], within_s: float = WAIT_S) -> None:
    """Call again while it is Unavailable, as whoever depends on it does."""
    with trio.fail_after(within_s):
        while True:
            try:
                return await call()
            except Unavailable:
                await trio.sleep(0.2)


# ---- what a judge does -----------------------------------------------------------------------------------------------


async def test_a_judge_takes_requests_and_settles_them_in_each_way(
    core: RabbitMqBroker, judge: RabbitMqBroker, told: list[Any]
) -> None:
    await core.declare(QUEUES)
    await judge.declare(QUEUES)
    for number in range(3):
        await core.publish(Topic.SUBMISSION, message(f"m{number}", number))
    assert (await judge.depth(REQUESTS)).ready == 3
    async with judge.consume(REQUESTS, prefetch=1) as requests:
        first = await receive(requests)
        assert first.message.message_id == "m2"
        await first.ack()
        second = await receive(requests)
        await second.nack()
        again = await receive(requests)
        assert (again.message.message_id, again.redelivered) == ("m1", True)
        await again.reject()
        await (await receive(requests)).ack()
    await becomes(core, GRAVE, ready=1, unacked=0)
    assert ids(await drained(core, GRAVE)) == ["m1"]
    assert told == [], "nothing that a judge does is refused"


async def test_a_judge_before_any_core_is_told_what_it_waits_for_and_begins_when_it_is_there(
    core: RabbitMqBroker, judge: RabbitMqBroker, told: list[Any]
) -> None:
    monitored = Monitored(is_ready=lambda: True, render_metrics=bytes, clock=Clock(), broker=judge)
    for _ in range(2):
        with pytest.raises(Unavailable, match=rf"no queue '{re.escape(FIRST)}'.*comes with the first core"):
            await judge.declare(QUEUES)
        assert "comes with the first core" in (await _checks(monitored))["requests"]
    await core.declare(QUEUES)
    await judge.declare(QUEUES)
    assert (await _checks(monitored))["requests"] == "ok"
    await core.publish(Topic.SUBMISSION, message("m"))
    async with judge.consume(REQUESTS, prefetch=1) as requests:
        await (await receive(requests)).ack()
    assert told == [], "to wait for a core is no mistake of anybody's"


async def test_a_rabbitmq_that_came_back_empty_is_waited_for_and_works_seconds_after_a_core_has_declared(
    core: RabbitMqBroker, judge: RabbitMqBroker, aio: AsyncioLoop
) -> None:
    await core.declare(QUEUES)
    await judge.declare(QUEUES)
    monitored = Monitored(is_ready=lambda: True, render_metrics=bytes, clock=Clock(), broker=judge)

    async def take() -> None:
        await judge.declare(QUEUES)
        async with judge.consume(REQUESTS, prefetch=2) as requests:
            await (await receive(requests)).ack()

    with pytest.raises(EdgeLost):
        async with judge.consume(REQUESTS, prefetch=2) as requests:
            await aio.call(delete_queues, core)
            await receive(requests)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await take()
        assert (await _checks(monitored))["requests"] != "ok"
    await core.declare(QUEUES)
    await core.publish(Topic.SUBMISSION, message("m"))
    began = trio.current_time()
    await patiently(take)
    assert trio.current_time() - began < 15
    assert (await _checks(monitored))["requests"] == "ok"


# ---- what it may not -------------------------------------------------------------------------------------------------

Attempt = Callable[[AbstractChannel], Awaitable[object]]


async def _ignored(_message: object) -> None: ...


ATTEMPTS: dict[str, Attempt] = {
    "declare a queue": lambda to: to.queue_declare("mine", durable=True),
    "declare a queue of its own": lambda to: to.queue_declare("", exclusive=True),
    "declare the queue that it reads": lambda to: to.queue_declare(FIRST, durable=True),
    "declare an exchange": lambda to: to.exchange_declare("mine"),
    "delete the queue that it reads": lambda to: to.queue_delete(FIRST),
    "delete another": lambda to: to.queue_delete(VERDICT_QUEUE.name),
    "delete the exchange": lambda to: to.exchange_delete(EXCHANGE),
    "bind": lambda to: to.queue_bind(FIRST, EXCHANGE, "verdict.p0"),
    "unbind": lambda to: to.queue_unbind(FIRST, EXCHANGE, "submission.p0"),
    "publish": lambda to: to.basic_publish(b"", exchange=EXCHANGE, routing_key="verdict.p0"),
    "publish a request": lambda to: to.basic_publish(b"", exchange=EXCHANGE, routing_key="submission.p0"),
    "publish to a queue by its name": lambda to: to.basic_publish(b"", exchange="", routing_key=VERDICT_QUEUE.name),
    "consume verdicts": lambda to: to.basic_consume(VERDICT_QUEUE.name, _ignored),
    "get a verdict": lambda to: to.basic_get(VERDICT_QUEUE.name),
    "purge verdicts": lambda to: to.queue_purge(VERDICT_QUEUE.name),
    "get a dead letter": lambda to: to.basic_get(GRAVE),
    "consume dead letters": lambda to: to.basic_consume(GRAVE, _ignored),
    "purge dead letters": lambda to: to.queue_purge(GRAVE),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_a_judge_may_do_nothing_else(
    core: RabbitMqBroker, rabbitmq_engine: RabbitMq, aio: AsyncioLoop, attempt: str
) -> None:
    async def refused() -> bool:
        connection = await aiormq.connect(rabbitmq_engine.url_of(JUDGE))
        try:
            channel = await connection.channel()
            try:
                await ATTEMPTS[attempt](channel)
            except ChannelAccessRefused:
                return True
            return False
        finally:
            await connection.close()

    await core.declare(QUEUES)
    await core.publish(Topic.VERDICT, message("v"))
    with trio.fail_after(WAIT_S):
        assert await aio.call(refused)
    assert ids(await drained(core, VERDICT_QUEUE.name)) == ["v"]


async def test_a_purge_of_the_requests_is_within_what_reading_is(core: RabbitMqBroker, judge: RabbitMqBroker) -> None:
    """RabbitMQ has no finer permission, and who takes requests could take them all: the sweeper publishes them again."""
    await core.declare(QUEUES)
    await judge.declare(QUEUES)
    await core.publish(Topic.SUBMISSION, message("m"))
    assert await judge.purge(REQUESTS) == 1


async def test_what_rabbitmq_does_not_permit_is_told_once_and_waited_for(
    core: RabbitMqBroker, judge: RabbitMqBroker, told: list[Any]
) -> None:
    await core.declare(QUEUES)
    await judge.declare(QUEUES)
    for _ in range(3):
        with pytest.raises(NotPermitted, match="refused for user 'judge'"):
            async with judge.consume(VERDICT_QUEUE.name, prefetch=1):
                pass
        for number in range(2):
            with pytest.raises(NotPermitted, match="refused for user 'judge'"):
                await judge.publish(Topic.VERDICT, message(f"m{number}"))
    assert [(each["event"], each["log_level"]) for each in told] == [("not_permitted", "error")] * 2
    assert "queue 'verdict.queue'" in told[0]["refusal"]
    assert "exchange 'codewarz'" in told[1]["refusal"]


# ---- who there is ----------------------------------------------------------------------------------------------------


def users_of(engine: RabbitMq) -> dict[str, str]:
    """Return the users' tags."""
    return dict(re.findall(r"^(\w+)\t\[(.*)\]$", engine.control("list_users"), re.MULTILINE))


def test_only_the_consoles_user_looks_after_the_server(rabbitmq_engine: RabbitMq) -> None:
    assert users_of(rabbitmq_engine) == {CODEWARZ: "", JUDGE: "", CONSOLE: "administrator"}


def test_an_older_volume_gets_the_users_and_another_password_counts_after_the_next_start(engines_folder: Path) -> None:
    engine = RabbitMq(engines_folder / "rabbitmq-of-old")
    engine.folder.mkdir(mode=0o700)
    engine._own(engine.folder)
    engine.prepare()
    settings = (engine.folder / "rabbitmq.conf").read_text()
    kept = [line for line in settings.splitlines() if not line.startswith("load_definitions")]
    engine.write("rabbitmq.conf", "\n".join(["default_user = codewarz", "default_pass = old", *kept, ""]))
    try:
        engine.start()
    except Missing as error:
        pytest.skip(str(error))
    try:
        assert users_of(engine) == {CODEWARZ: "administrator"}
        engine.end()
        engine.write("rabbitmq.conf", settings)
        engine.start()
        assert users_of(engine) == {CODEWARZ: "", JUDGE: "", CONSOLE: "administrator"}
        for user, password in engine.passwords.items():
            assert "Success" in engine.control("authenticate_user", user, password)
        with pytest.raises(RuntimeError):
            engine.control("authenticate_user", CODEWARZ, "old")
    finally:
        engine.end()
