"""Two at once."""

from __future__ import annotations

from actors.system import Role
from chaos.engines.child import Child
from chaos.scenarios.registry import scenario
from chaos.stage import Stage


@scenario("core-and-rabbitmq", lasts_s=10)
async def core_and_rabbitmq(stage: Stage) -> None:
    """kill -9 of a core and of RabbitMQ at once: between a commit and its message nobody is left."""
    both = stage.any(Role.CORE), stage.cluster.rabbitmq
    await stage.kill(*both)
    await stage.wait(2)
    await stage.start(*both)


@scenario("redis-and-leaderboard", lasts_s=8)
async def redis_and_leaderboard(stage: Stage) -> None:
    """Redis loses its data and a leaderboard dies: the one that is left makes the boards anew."""
    leaderboard, redis = stage.any(Role.LEADERBOARD), stage.cluster.redis
    await stage.kill(leaderboard, redis)
    await stage.do("erase redis", redis.erase)
    await stage.start(redis)
    await stage.wait(2)
    await stage.start(leaderboard)


@scenario("two-by-chance", lasts_s=12)
async def two_by_chance(stage: Stage) -> None:
    """Two of all processes and engines, chosen by the seed, are killed or frozen, one a moment after the other."""
    everybody: list[Child] = [*stage.cluster.nodes.values(), *stage.cluster.engines.values()]
    frozen, killed = list[Child](), list[Child]()
    for each in stage.rng.sample(everybody, 2):
        is_frozen = stage.rng.random() < 0.5
        (frozen if is_frozen else killed).append(each)
        await (stage.freeze if is_frozen else stage.kill)(each)
        await stage.wait(stage.rng.uniform(0, 1.5))
    await stage.wait(stage.rng.uniform(2, 5))
    await stage.thaw(*frozen)
    await stage.start(*killed)  # at once: one may not be ready without the other
