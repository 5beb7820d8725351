"""A board that is not there is folded slowly. Meanwhile it is made, a verdict is applied to it, and it is lost: the old fold does not take its place."""

from __future__ import annotations

from actors.boards import BoardPage, Boards, BoardView
from chaos.simulation.scenario import Stage, scenario
from chaos.simulation.workload import CONTEST

APART_S = 20.0  # who folds slowly hears of nothing meanwhile


async def public(stage: Stage) -> BoardPage | None:
    """Return the board as Redis has it."""
    return await Boards(stage.cluster.engines.redis, stage.world.wall).page(CONTEST, BoardView.PUBLIC)


@scenario(judges=1, watchers=0)
async def folded_before_a_loss(stage: Stage) -> None:
    await stage.sleep(5.0)  # until everybody takes part
    stage.cluster.engines.redis.reset()
    async with stage.stopped_at("projector.folded") as arrival:
        await stage.judged(await stage.submit("WA"))
        slow = await arrival
        for other in ("broker", "judge-1"):
            stage.cut(slow, other, for_s=APART_S)
        await stage.judged(await stage.submit("AC", user="user2"))
        await stage.sleep(3.0)
        page = await public(stage)
        assert page is not None, "another process has made the board"
        assert page.rows[0].username == "user2", "the verdict is on it"
        assert page.rows[0].score > 0
        stage.cluster.engines.redis.reset()
    await stage.sleep(1.0)
    assert await public(stage) is not None, "who was slow has made it"
