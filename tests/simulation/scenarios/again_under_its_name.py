"""The only judge dies in the middle of a test. Started again under its name, it goes on at once, and does not wait for the lease that it held itself."""

from chaos.simulation.scenario import Stage, scenario


@scenario(judges=1)
async def again_under_its_name(stage: Stage) -> None:
    sent = await stage.submit("AC")
    judge = await stage.until(lambda: stage.judging(sent), "a judge that is at it")
    stage.kill(judge)
    await stage.until(lambda: not stage.judging(sent), "its death")
    await stage.until(stage.process(judge).up.is_set, "its new start")
    await stage.until(lambda: stage.judging(sent), "the judging, again", within_s=0.5)
    assert await stage.judged(sent) == "AC"
