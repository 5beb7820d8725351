"""A judge dies in the middle of a test: another one waits for its lease to end, and judges within the ten seconds that are promised, and those of a restart."""

from chaos.simulation.scenario import Stage, scenario


@scenario(judges=2)
async def dead_with_its_lease(stage: Stage) -> None:
    async with stage.stopped_at("lease.acquired") as arrival:
        sent = await stage.submit("AC")
        stage.kill(await arrival)
    assert await stage.judged(sent, within_s=10.0 + 3.0) == "AC"
