"""The network between processes and their neighbours is slow, breaks, or is cut."""

from __future__ import annotations

from chaos.proxy import Weather
from chaos.scenarios.registry import scenario
from chaos.stage import NoSuchMoment, Stage

CUT_S = 8.0
RESETS = 8
NOTICED_S = 10.0  # after which a statement without an answer, or a listener who hears nothing, has given up (edge/postgres, edge/redis)
SLOW = Weather(0.2, 0.1)


async def _cut(stage: Stage, process: str, neighbour: str, seconds: float = CUT_S) -> None:
    """Cut by a black hole, the silent way: nobody is told that anything is wrong."""
    links = stage.links(process, neighbour)
    stage.say(f"nothing gets from {process} to {neighbour}")
    before = sum(link.swallowed for link in links)
    for link in links:
        link.swallow()
    await stage.wait(seconds)
    for link in links:
        link.heal()
    if sum(link.swallowed for link in links) == before:
        raise NoSuchMoment(f"nobody sent anything from {process} to {neighbour}: nothing was cut")


async def _refuse(stage: Stage, process: str, neighbour: str, seconds: float = CUT_S) -> None:
    """Cut the loud way: connections are reset and refused."""
    links = stage.links(process, neighbour)
    stage.say(f"{neighbour} refuses {process}")
    for link in links:
        link.refuse()
    await stage.wait(seconds)
    for link in links:
        link.heal()


@scenario("slow-network", lasts_s=12)
async def slow_network(stage: Stage) -> None:
    """200 ms of latency, give or take 100, on every way between processes and neighbours."""
    for link in stage.proxy:
        link.weather = SLOW
    await stage.wait(12)
    stage.proxy.heal()


@scenario("resets", lasts_s=RESETS)
async def resets(stage: Stage) -> None:
    """Every connection is reset once a second."""
    for _ in range(RESETS):
        await stage.wait(1)
        for link in stage.proxy:
            link.reset()


@scenario("cut-judge-broker", lasts_s=CUT_S)
async def cut_judge_broker(stage: Stage) -> None:
    """Nothing gets through between one judge and RabbitMQ; the other judge has everything to do."""
    await _cut(stage, stage.rng.choice(["judge-1", "judge-2"]), "broker")


@scenario("cut-judges-broker", lasts_s=CUT_S)
async def cut_judges_broker(stage: Stage) -> None:
    """RabbitMQ refuses every judge."""
    await _refuse(stage, "judge-*", "broker")


@scenario("cut-core-database", lasts_s=CUT_S)
async def cut_core_database(stage: Stage) -> None:
    """Nothing gets through between one core and PostgreSQL."""
    await _cut(stage, stage.rng.choice(["core-1", "core-2"]), "database")


@scenario("cut-cores-database", lasts_s=CUT_S)
async def cut_cores_database(stage: Stage) -> None:
    """PostgreSQL refuses every core."""
    await _refuse(stage, "core-*", "database")


@scenario("cut-leaderboard-redis", lasts_s=CUT_S)
async def cut_leaderboard_redis(stage: Stage) -> None:
    """Nothing gets through between the leaderboards and Redis: boards stand still, and catch up."""
    await _cut(stage, "leaderboard-*", "redis")


@scenario("cut-gateway-redis", lasts_s=CUT_S)
async def cut_gateway_redis(stage: Stage) -> None:
    """Nothing gets through between the gateways and Redis: whoever watches sees an old board for a while, and then the newest."""
    await _cut(stage, "gateway-*", "redis")


@scenario("cut-gateway-core", lasts_s=CUT_S)
async def cut_gateway_core(stage: Stage) -> None:
    """Nothing gets through between the gateways and one of the cores: the other one is asked."""
    await _cut(stage, "gateway-*", stage.rng.choice(["core-1", "core-2"]))


@scenario("deaf-listeners", lasts_s=NOTICED_S)
async def deaf_listeners(stage: Stage) -> None:
    """Every open connection of cores to PostgreSQL and of gateways to Redis dies without a word; new ones work, and everybody finds out alone."""
    for link in (*stage.links("core-*", "database"), *stage.links("gateway-*", "redis")):
        link.forget()
    await stage.wait(NOTICED_S)
