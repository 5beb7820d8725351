"""One statement through the PostgreSQL edge, many at once, commits and wake-ups, beside asyncpg alone on uvloop. The server is private and durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import trio
import uvloop

from bench.report import quantile
from chaos.engines import Postgres
from contracts.ports import Database
from edge.aio import AsyncioLoop
from edge.postgres import PostgresDatabase

Figures = dict[str, float]
Call = Callable[[], Awaitable[object]]
Caller = Callable[[int], Coroutine[Any, Any, None]]
ROUNDS = 3
CALLERS = 10
GROUP = 64  # core's largest batch
SELECT = "SELECT $1::int AS one"
INSERT = "INSERT INTO bench (x) VALUES ($1)"


async def measure(folder: Path, *, calls: int = 3_000) -> dict[str, Figures]:
    """Return {figures, references, ratios}; ``folder`` must not exist and is the server's own. The best of three rounds, in which both take turns."""
    engine = Postgres(folder)
    await trio.to_thread.run_sync(engine.start)
    rounds: list[Figures] = []
    try:
        for _ in range(ROUNDS):
            ours = await _edge(engine.url, calls)
            rounds.append(ours | await trio.to_thread.run_sync(_native, engine.url, calls))
    finally:
        await trio.to_thread.run_sync(engine.end)
    best = {name: (max if name.endswith("_per_s") else min)(found[name] for found in rounds) for name in rounds[0]}
    references = {name: value for name, value in best.items() if name.startswith("native_")}
    figures = {name: value for name, value in best.items() if name not in references}
    many = f"select_{CALLERS}_per_s"
    ratios = {
        "select_p50": best["native_select_p50_us"] / best["select_p50_us"],
        many: best[many] / best[f"native_{many}"],
    }
    return {"figures": figures, "references": references, "ratios": ratios}


async def _edge(url: str, calls: int) -> Figures:
    async with AsyncioLoop() as aio, PostgresDatabase(url, aio, size=CALLERS) as database:
        await database.execute("DROP TABLE IF EXISTS bench")
        await database.execute("CREATE TABLE bench (x INTEGER)")
        select = _select(database)
        found = await _times("select", select, calls)
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(_repeat, select, calls // CALLERS)
        found[f"select_{CALLERS}_per_s"] = calls / (time.perf_counter() - began)
        found |= await _times("commit", lambda: database.execute(INSERT, 1), calls // 5)
        found |= await _times(f"group_of_{GROUP}", lambda: _group(database), calls // 50)
        return found | await _wakeups(database, calls // 10)


def _select(database: Database) -> Call:
    return lambda: database.fetch_one(SELECT, 1)


async def _group(database: Database) -> None:
    async with database.transaction() as tx:
        for number in range(GROUP):
            async with tx.savepoint():
                await tx.execute(INSERT, number)


async def _wakeups(database: Database, count: int) -> Figures:
    samples = []
    async with database.listen("bench") as wakeups:
        for _ in range(count):
            began = time.perf_counter()
            await database.fetch("SELECT pg_notify('bench', '')")
            await wakeups.wait()
            samples.append(time.perf_counter() - began)
    return {
        "notify_to_wakeup_p50_us": quantile(samples, 0.5) * 1e6,
        "notify_to_wakeup_p99_us": quantile(samples, 0.99) * 1e6,
    }


def _native(url: str, calls: int) -> Figures:
    async def measured() -> Figures:
        connection = await asyncpg.connect(url)
        try:
            found = await _times("native_select", lambda: connection.fetchrow(SELECT, 1), calls)
            found |= await _times("native_commit", lambda: connection.execute(INSERT, 1), calls // 5)
        finally:
            await connection.close()
        async with asyncpg.create_pool(url, min_size=CALLERS, max_size=CALLERS) as pool:
            await _repeat(lambda: pool.fetchrow(SELECT, 1), 100)
            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(_repeat(lambda: pool.fetchrow(SELECT, 1), calls // CALLERS))
            found[f"native_select_{CALLERS}_per_s"] = calls / (time.perf_counter() - began)
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())


async def _times(name: str, call: Call, count: int) -> Figures:
    """Measure single calls, one after the other, on whichever loop this runs."""
    samples = []
    for number in range(count + count // 10):
        began = time.perf_counter()
        await call()
        if number >= count // 10:
            samples.append(time.perf_counter() - began)
    return {f"{name}_p{share}_us": quantile(samples, share / 100) * 1e6 for share in (50, 99)}


async def _repeat(call: Call, count: int) -> None:
    for _ in range(count):
        await call()
