"""A judge dies after it has judged and before anybody else knows."""

from chaos.simulation.scenario import Stage, scenario


@scenario(judges=2)
async def last_words(stage: Stage) -> None:
    async with stage.stopped_at("judge.judged") as arrival:
        sent = await stage.submit("WA")
        judge = await arrival
        stage.kill(judge)
    assert await stage.judged(sent) == "WA"
