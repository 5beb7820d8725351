"""A judge stands still with a verdict in its hands until another has judged; when it goes on it changes nothing. One that pauses for less is believed."""

from __future__ import annotations

from chaos.simulation.scenario import Stage, scenario


@scenario(judges=2)
async def stale_after_a_standstill(stage: Stage) -> None:
    first = await stage.submit("WA")
    judge = await stage.until(lambda: stage.judging(first), "a judge that is at it")
    stage.freeze(judge)
    await stage.sleep(3.0)
    stage.thaw(judge)
    assert await stage.judged(first) == "WA"
    assert stage.world.sometimes["stale_verdict"] == 0

    second = await stage.submit("TLE")
    judge = await stage.until(lambda: stage.judging(second), "a judge that is at it")
    stage.freeze(judge)
    stage.process(judge).break_connections()  # the broker misses its heartbeats
    assert await stage.judged(second) == "TLE"
    stage.thaw(judge)
    await stage.sleep(10.0)
    assert len(stage.cluster.engines.verdicts) == 2
