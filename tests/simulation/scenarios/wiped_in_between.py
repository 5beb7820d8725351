"""Redis loses everything while the leaderboards are parted from it; nobody's board is wrong in the end."""

from chaos.simulation.scenario import Stage, scenario


@scenario(users=3, watchers=3)
async def wiped_in_between(stage: Stage) -> None:
    first = await stage.submit("AC", user="user1")
    await stage.judged(first)
    for board in ("leaderboard-1", "leaderboard-2"):
        stage.cut(board, "redis", for_s=6.0)
    second = await stage.submit("AC", user="user2")
    await stage.judged(second)
    stage.restart("redis", for_s=2.0, loses_its_data=True)
    await stage.sleep(8.0)
    assert await stage.judged(await stage.submit("WA", user="user3")) == "WA"
