"""Our own processes die, stand still, and are replaced."""

from __future__ import annotations

from actors.judge.lease import TTL_S
from actors.outbox import CLAIM_MS
from actors.system import Role
from chaos.cluster import Node
from chaos.scenarios.registry import scenario
from chaos.stage import Stage

AWAY_S = 3.0
STILL_S = 2.5 * CLAIM_MS / 1000


async def _dies(stage: Stage, *nodes: Node) -> None:
    await stage.kill(*nodes)
    await stage.wait(AWAY_S)
    await stage.start(*nodes)


@scenario("calm", lasts_s=4)
async def calm(stage: Stage) -> None:
    """Nothing happens: how long the machine takes by itself, to hold the others against."""
    await stage.wait(4)


@scenario("kill-gateway")
async def kill_gateway(stage: Stage) -> None:
    """kill -9 of a gateway: everybody on it comes back by the other one."""
    await _dies(stage, stage.any(Role.GATEWAY))


@scenario("kill-core")
async def kill_core(stage: Stage) -> None:
    """kill -9 of a core, with commits and claims of the outbox under way."""
    await _dies(stage, stage.any(Role.CORE))


@scenario("kill-leaderboard")
async def kill_leaderboard(stage: Stage) -> None:
    """kill -9 of a leaderboard, with changes under way on both paths."""
    await _dies(stage, stage.any(Role.LEADERBOARD))


@scenario("kill-judge", lasts_s=8)
async def kill_judge(stage: Stage) -> None:
    """kill -9 of a judge in the middle of a test: the submission is judged by another, once."""
    judge = stage.any(Role.JUDGE)
    await stage.judging(judge)
    await _dies(stage, judge)


@scenario("kill-judges", lasts_s=8)
async def kill_judges(stage: Stage) -> None:
    """kill -9 of every judge in the middle of tests: what comes meanwhile waits."""
    judges = stage.every(Role.JUDGE)
    await stage.judging(*judges)
    await _dies(stage, *judges)


@scenario("freeze-core", lasts_s=STILL_S)
async def freeze_core(stage: Stage) -> None:
    """SIGSTOP of a core for longer than its claim on outbox rows, then SIGCONT: it must not undo what others did meanwhile."""
    core = stage.any(Role.CORE)
    await stage.freeze(core)
    await stage.wait(STILL_S)
    await stage.thaw(core)


@scenario("freeze-judge", lasts_s=TTL_S + 25)
async def freeze_judge(stage: Stage) -> None:
    """SIGSTOP of a judge in the middle of a test until another has judged its submission, then SIGCONT: a stale judge changes nothing."""
    judge = stage.any(Role.JUDGE)
    submission_id = (await stage.judging(judge))[judge.name]
    await stage.freeze(judge)
    await stage.wait(TTL_S + 1)

    async def is_judged() -> bool:
        row = await stage.evidence.database.fetch_one(
            "SELECT 1 AS one FROM verdicts WHERE submission_id = $1", submission_id
        )
        return row is not None

    try:
        await stage.until("another judge has judged it", is_judged, most_s=45)
    finally:
        await stage.thaw(judge)


@scenario("pause-judge", lasts_s=6)
async def pause_judge(stage: Stage) -> None:
    """SIGSTOP of a judge in the middle of a test for less than its lease, then SIGCONT: it goes on, and nobody's program was slow because of that."""
    judge = stage.any(Role.JUDGE)
    await stage.judging(judge)
    await stage.freeze(judge)
    await stage.wait(TTL_S * 0.6)
    await stage.thaw(judge)


@scenario("rolling-restart", lasts_s=25)
async def rolling_restart(stage: Stage) -> None:
    """SIGTERM and start of every process, one after the other, as in an upgrade: nobody notices."""
    for node in stage.cluster.nodes.values():
        await stage.end(node)
        await stage.start(node)
