"""A core dies with rows of the outbox in its hands: another one has them published, and everybody judged, within the ten seconds that are promised."""

from chaos.simulation.scenario import Stage, scenario


@scenario(cores=2)
async def dead_with_its_claims(stage: Stage) -> None:
    async with stage.stopped_at("relay.claimed") as arrival:
        sent = await stage.submit("AC")
        stage.kill(await arrival)
    assert await stage.judged(sent, within_s=10.0) == "AC"
