"""The relay dies between publishing a message and noting that it has: the message is published again, and judged once."""

from chaos.simulation.scenario import Stage, scenario


@scenario(cores=1)
async def published_and_not_marked(stage: Stage) -> None:
    async with stage.stopped_at("relay.published") as arrival:
        sent = await stage.submit("AC")
        stage.kill(await arrival)
    assert await stage.judged(sent) == "AC"
    await stage.until(lambda: stage.world.sometimes["published_twice"], "the second publication")
