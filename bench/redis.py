"""One GET through the Redis edge, and many at once, beside redis-py alone on uvloop and beside the in-process variant. The server is private."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import redis.asyncio
import trio
import uvloop

from bench.report import quantile
from chaos.engines import Redis
from edge.aio import AsyncioLoop
from edge.clock import SystemClock
from edge.memory_redis import MemoryRedis
from edge.redis import ServerRedis

Figures = dict[str, float]
Get = Callable[[], Awaitable[object]]
Caller = Callable[[int], Coroutine[Any, Any, None]]
AtOnce = Callable[[Caller, int, int], Awaitable[None]]
CALLERS = (20, 100)
ROUNDS = 3


async def measure(folder: Path, *, calls: int = 5_000) -> dict[str, Figures]:
    """Return {figures, references, ratios}; ``folder`` must not exist and is the server's own. The best of three rounds, in which all take turns."""
    engine = Redis(folder)
    await trio.to_thread.run_sync(engine.start)
    rounds: list[Figures] = []
    try:
        for _ in range(ROUNDS):
            ours = await _edge(engine.url, calls)
            rounds.append(ours | await _memory(calls) | await trio.to_thread.run_sync(_native, engine.url, calls))
    finally:
        await trio.to_thread.run_sync(engine.end)
    best = {name: (max if name.endswith("_per_s") else min)(found[name] for found in rounds) for name in rounds[0]}
    figures = {name: value for name, value in best.items() if name.startswith("get_")}
    references = {name: value for name, value in best.items() if name not in figures}
    ratios = {f"get_{many}": best[f"get_{many}_per_s"] / best[f"native_get_{many}_per_s"] for many in CALLERS}
    return {"figures": figures, "references": references, "ratios": ratios}


async def _edge(url: str, calls: int) -> Figures:
    async with AsyncioLoop() as aio, ServerRedis(url, aio) as edge:
        return await _measured("get", lambda: edge.call("GET", "nothing"), calls, _with_trio)


async def _memory(calls: int) -> Figures:
    memory = MemoryRedis(SystemClock())
    return await _measured("memory_get", lambda: memory.call("GET", "nothing"), calls, _with_trio)


def _native(url: str, calls: int) -> Figures:
    async def measured() -> Figures:
        client: Any = redis.asyncio.from_url(url, protocol=2)
        try:
            return await _measured("native_get", lambda: client.execute_command("GET", "nothing"), calls, _with_asyncio)
        finally:
            await client.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())


async def _measured(name: str, get: Get, calls: int, at_once: AtOnce) -> Figures:
    """Measure on whichever loop this runs: one caller's times, then many callers' rates."""
    samples = []
    for number in range(calls + calls // 10):
        began = time.perf_counter()
        await get()
        if number >= calls // 10:
            samples.append(time.perf_counter() - began)
    found = {f"{name}_p{share}_us": quantile(samples, share / 100) * 1e6 for share in (50, 99)}
    for many in CALLERS:

        async def caller(count: int) -> None:
            for _ in range(count):
                await get()

        began = time.perf_counter()
        await at_once(caller, many, calls // many)
        found[f"{name}_{many}_per_s"] = calls // many * many / (time.perf_counter() - began)
    return found


async def _with_trio(caller: Caller, many: int, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(many):
            nursery.start_soon(caller, count)


async def _with_asyncio(caller: Caller, many: int, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(many):
            group.create_task(caller(count))
