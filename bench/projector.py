"""Board updates per second through ``Boards.apply`` and through the projector's actor, over the Redis edge, beside ``redis-benchmark`` with the same script.

The server is private and started here. Each update is a new line of the verdict log for one of a thousand contestants, which changes a row, a rank and a
version on both views and publishes them; the reference makes its arguments up in the same way. It is C, and neither encodes a word nor decodes a reply.
"""

from __future__ import annotations

import csv
import random
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from actors.boards import Boards, BoardView, Contest
from actors.projector import Log, Projector
from actors.system import PROJECTOR_MAILBOX
from bench.report import quantile
from chaos.engines import Redis
from chaos.engines.child import HOST
from chaos.engines.engine import find
from chaos.engines.redis import ADMINISTRATOR
from contracts.lua import lua
from contracts.messages import Judged, ScoreChanged
from contracts.scoring import BoardRules, Entry, Rules
from contracts.verdicts import Verdict
from edge.aio import AsyncioLoop
from edge.clock import SystemClock
from edge.redis import ServerRedis
from edge.sqlite import SqliteDatabase
from edge.telemetry import PrometheusMeter
from supervisor import Actor, Mailbox, Supervisor, Tree

Figures = dict[str, float]
Update = Callable[[str, str], Awaitable[None]]  # user, submission
CALLERS = (1, 16, 64)
UPDATES = 6_000  # of each number of callers and round: long enough for 0.5 s of the reference
ROUNDS = 3
SPREAD = 1_000  # contestants, and submissions of each
PROBLEM = "p"
AT_MS = 1_800_000_000_000
_RULES = BoardRules(Rules.ICPC, AT_MS - 1_000, AT_MS + 3_600_000, None)


async def measure(folder: Path, *, updates: int = UPDATES, rounds: int = ROUNDS) -> dict[str, Figures]:
    """Return {figures, references, ratios}; ``folder`` must not exist and is the server's own.

    For 1, 16 and 64 callers at once: updates per second, and the p50 and p99 of one in microseconds; the best of the rounds, in which all take turns.
    ``projector``: the same from the question to the actor's answer, with what it does besides (the news for whoever watches the submission).
    """
    engine = Redis(folder)
    await trio.to_thread.run_sync(engine.start)
    try:
        return await _measure(engine, updates, rounds)
    finally:
        await trio.to_thread.run_sync(engine.end)


async def _measure(engine: Redis, updates: int, rounds: int) -> dict[str, Figures]:
    figures: Figures = {}
    references: Figures = {}
    async with AsyncioLoop() as aio, ServerRedis(engine.url, aio) as redis:
        for callers in CALLERS:
            for _ in range(rounds):
                boards = await _fresh(redis)
                _keep_best(figures, await _timed(f"updates_{callers}", partial(_apply, boards), callers, updates))
                async with _projecting(await _fresh(redis), redis) as project:
                    _keep_best(figures, await _timed(f"projector_{callers}", project, callers, updates))
                await _fresh(redis)
                _keep_best(references, await _reference(engine, redis, callers, updates))
    ratios = {
        f"{what}_{callers}": figures[f"{what}_{callers}_per_s"] / references[f"redis_benchmark_{callers}_per_s"]
        for what in ("updates", "projector")
        for callers in CALLERS
    }
    return {"figures": figures, "references": references, "ratios": ratios}


def _keep_best(best: Figures, found: Figures) -> None:
    rate = next(name for name in found if name.endswith("_per_s"))
    if found[rate] > best.get(rate, 0.0):
        best.update(found)


async def _fresh(redis: ServerRedis) -> Boards:
    await redis.call("FLUSHALL")
    boards = Boards(redis, SystemClock())
    names = {f"{number:012}": f"contestant {number}" for number in range(SPREAD)}
    for view in BoardView:
        assert await boards.load(Contest("c", _RULES, 1), view, names, [], state="", epoch="e")
    return boards


async def _timed(name: str, update: Update, callers: int, updates: int) -> Figures:
    chance = random.Random(4)
    lines = [(f"{chance.randrange(SPREAD):012}", f"{chance.randrange(SPREAD):012}") for _ in range(updates)]
    samples: list[float] = []

    async def call() -> None:
        while lines:
            line = lines.pop()
            began = time.perf_counter()
            await update(*line)
            samples.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
    rate = updates / (time.perf_counter() - began)
    quantiles = {f"{name}_p{share}_us": quantile(samples, share / 100) * 1e6 for share in (50, 99)}
    return {f"{name}_per_s": rate, **quantiles}


async def _apply(boards: Boards, user: str, submission: str) -> None:
    assert await boards.apply("c", user, [Entry(submission, 1, user, PROBLEM, AT_MS, Verdict.WA)])


@asynccontextmanager
async def _projecting(boards: Boards, redis: ServerRedis) -> AsyncIterator[Update]:
    """Run a projector, which never needs its database here: the board is there, and so are its contestants."""
    mailbox: Mailbox[Any] = Mailbox("projector", PROJECTOR_MAILBOX)
    async with SqliteDatabase(":memory:") as database:
        projector = Projector(boards, Log(database), redis, SystemClock(), random.Random(4), PrometheusMeter())
        tree = Tree(
            Supervisor("bench", (Actor("projector", projector.run, mailbox),)),
            rng=random.Random(4),
            wall_clock=time.time,
        )

        async def project(user: str, submission: str) -> None:
            change = ScoreChanged(
                contest_id="c",
                user_id=user,
                problem_id=PROBLEM,
                submission_id=submission,
                attempt=1,
                submitted_at_ms=AT_MS,
                verdict=Verdict.WA,
                score=0,
            )
            judged = Judged(submission_id=submission, attempt=1, verdict=Verdict.WA, score=0, change=change)
            await mailbox.address.ask(judged, timeout=30.0)

        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            yield project
            await tree.shutdown()


async def _reference(engine: Redis, redis: ServerRedis, callers: int, updates: int) -> Figures:
    digest = (await redis.call("SCRIPT", "LOAD", lua("board_apply"))).decode()
    parts = ("meta", "rank", "rows", "cells")
    keys = [f"board:{{c}}:{view}:{part}" for view in BoardView for part in parts]
    chance = "__rand_int__"  # redis-benchmark puts another number of 12 digits here each time
    words = ["EVALSHA", digest, str(len(keys)), *keys, chance, "", PROBLEM, chance, "1", str(AT_MS), "WA", "0"]
    login = ["-h", HOST, "-p", str(engine.port), "--user", ADMINISTRATOR, "-a", engine.password]
    how = ["-n", str(updates), "-c", str(callers), "-r", str(SPREAD), "--csv"]
    program = find("redis-benchmark", "redis-tools")
    done = await trio.run_process([program, *login, *how, *words], capture_stdout=True, stderr=subprocess.DEVNULL)
    [row] = csv.DictReader(done.stdout.decode().splitlines())
    name = f"redis_benchmark_{callers}"
    return {f"{name}_per_s": float(row["rps"]), f"{name}_p50_us": float(row["p50_latency_ms"]) * 1000}
