"""The broker takes no message for longer than the sweeper's patience: what the outbox has yet to tell is neither lost nor a difference.

Nobody is asked twice to judge what waits there, and no board is made afresh because of a verdict that only the outbox can tell it.
"""

from __future__ import annotations

from actors.boards import Boards, BoardView
from actors.outbox import SUBMISSION_QUEUE
from chaos.simulation.scenario import Stage, scenario
from chaos.simulation.workload import CONTEST, Sent

ALARM_S = 80.0  # three rounds of the sweeper's boards, and its patience with submissions twice


async def epoch(stage: Stage) -> str:
    """Return which board Redis has."""
    page = await Boards(stage.cluster.engines.redis, stage.world.wall).page(CONTEST, BoardView.PUBLIC)
    assert page is not None, "there is a board"
    return page.epoch


def requests(stage: Stage, sent: Sent) -> set[str]:
    """Return the messages that ask for its judging."""
    return {
        message.message_id
        for routing_key, message in stage.cluster.engines.published
        if routing_key == SUBMISSION_QUEUE.routing_key and sent.submission_id.encode() in message.body
    }


@scenario(judges=1, leaderboards=1, watchers=1)
async def told_by_the_outbox(stage: Stage) -> None:
    await stage.judged(await stage.submit("WA"))
    await stage.sleep(5.0)
    before = await epoch(stage)
    async with stage.stopped_at("judge.judged") as arrival:
        told_late = await stage.submit("AC")
        stage.cut(await arrival, "leaderboard-1", for_s=ALARM_S)  # or the judge would tell the board
        stage.alarm(for_s=ALARM_S)
    await stage.judged(told_late)
    waiting = await stage.submit("AC", user="user2")
    await stage.sleep(ALARM_S - 5.0)
    assert stage.verdict_of(waiting) is None, "the broker still takes nothing"
    assert await epoch(stage) == before, "the board that has yet to be told of a verdict was made afresh"
    assert await stage.judged(waiting) == "AC"
    await stage.sleep(5.0)
    assert len(requests(stage, waiting)) == 1, "what waited in the outbox was put there again"
    assert await epoch(stage) == before, "the board was made afresh"
