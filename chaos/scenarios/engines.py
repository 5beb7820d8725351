"""The engines die, forget, stand still and complain."""

from __future__ import annotations

from actors.sweeper import STALE_MS
from chaos.engines.child import Child
from chaos.scenarios.registry import scenario
from chaos.stage import Broken, Stage

AWAY_S = 3.0
STILL_S = 8.0
ALARM_S = 8.0
LONG_ALARM_S = (
    STALE_MS / 1000 + 10.0
)  # what waits in the outbox has waited longer than the sweeper lets a queued message wait


async def _dies(stage: Stage, engine: Child) -> None:
    await stage.kill(engine)
    await stage.wait(AWAY_S)
    await stage.start(engine)


async def _stands_still(stage: Stage, engine: Child) -> None:
    await stage.freeze(engine)
    await stage.wait(STILL_S)
    await stage.thaw(engine)


@scenario("kill-postgres")
async def kill_postgres(stage: Stage) -> None:
    """kill -9 and start of PostgreSQL: what was acknowledged is there, what was not is sent again."""
    await _dies(stage, stage.cluster.postgres)


@scenario("kill-redis")
async def kill_redis(stage: Stage) -> None:
    """kill -9 and start of Redis, which loses up to a second of leases and boards."""
    await _dies(stage, stage.cluster.redis)


@scenario("kill-rabbitmq", lasts_s=10)
async def kill_rabbitmq(stage: Stage) -> None:
    """kill -9 and start of RabbitMQ: confirmed messages survive, everything else comes again."""
    await _dies(stage, stage.cluster.rabbitmq)


@scenario("redis-forgets")
async def redis_forgets(stage: Stage) -> None:
    """Redis dies and comes back empty: no lease, no board, no session, and nobody may notice more than a pause."""
    redis = stage.cluster.redis
    await stage.kill(redis)
    await stage.do("erase redis", redis.erase)
    await stage.start(redis)


@scenario("redis-flushed", lasts_s=3)
async def redis_flushed(stage: Stage) -> None:
    """Redis loses all data at a stroke, and no connection: nothing tells anybody that the board is gone."""
    await stage.evidence.redis.call("FLUSHALL")
    await stage.wait(1)


@scenario("freeze-redis", lasts_s=STILL_S)
async def freeze_redis(stage: Stage) -> None:
    """SIGSTOP of Redis for a while, then SIGCONT."""
    await _stands_still(stage, stage.cluster.redis)


@scenario("freeze-postgres", lasts_s=STILL_S)
async def freeze_postgres(stage: Stage) -> None:
    """SIGSTOP of PostgreSQL for a while, then SIGCONT."""
    await _stands_still(stage, stage.cluster.postgres)


@scenario("freeze-rabbitmq", lasts_s=STILL_S)
async def freeze_rabbitmq(stage: Stage) -> None:
    """SIGSTOP of RabbitMQ for a while, then SIGCONT."""
    await _stands_still(stage, stage.cluster.rabbitmq)


async def _is_out_of_memory(stage: Stage, for_s: float) -> None:
    rabbitmq = stage.cluster.rabbitmq
    await stage.do("memory alarm", lambda: rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1MB"))
    await stage.wait(for_s)
    await stage.do("no alarm", lambda: rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1GB"))


@scenario("rabbitmq-memory", lasts_s=ALARM_S + 4)
async def rabbitmq_memory(stage: Stage) -> None:
    """RabbitMQ raises its memory alarm, and takes no message from anybody for a while."""
    await _is_out_of_memory(stage, ALARM_S)


@scenario("rabbitmq-memory-long", lasts_s=LONG_ALARM_S + 4)
async def rabbitmq_memory_long(stage: Stage) -> None:
    """The memory alarm outlasts the sweeper's patience: what waits in the outbox is not lost, and is asked for once."""
    await _is_out_of_memory(stage, LONG_ALARM_S)
    again = await stage.evidence.asked_again()
    if copies := {
        sent.submission_id: again[sent.submission_id] for sent in stage.crowd.book.sent if sent.submission_id in again
    }:
        raise Broken(f"what waited in the outbox was put there again: {copies}")


@scenario("rabbitmq-disk", lasts_s=ALARM_S + 4)
async def rabbitmq_disk(stage: Stage) -> None:
    """RabbitMQ raises its disk alarm, and takes no message from anybody for a while."""
    rabbitmq = stage.cluster.rabbitmq
    await stage.do("disk alarm", lambda: rabbitmq.control("set_disk_free_limit", "1000000GB"))
    await stage.wait(ALARM_S)
    await stage.do("no alarm", lambda: rabbitmq.control("set_disk_free_limit", "50MB"))
