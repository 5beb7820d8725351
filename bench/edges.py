"""What one crossing of each embedded edge takes: commits, statements, messages, scripts.

Each function returns figures by name: ``…_us`` are microseconds (p50 and p99 of single calls), ``…_per_s`` rates. The database lies in a folder of the caller's
choice, because a commit costs what that disk's sync costs.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from contracts.ports import BrokerMessage, Database, Queue
from edge.clock import SystemClock
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.sqlite import open_database

Figures = dict[str, float]
_TABLE = "CREATE TABLE IF NOT EXISTS bench (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"
_INSERT = "INSERT INTO bench (body) VALUES ($1)"
_LUA = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return redis.call('ZREVRANK', KEYS[2], ARGV[1])
"""


async def timed(name: str, count: int, call: Callable[[int], Awaitable[object]]) -> Figures:
    """Run a call ``count`` times, one after the other."""
    for number in range(min(count // 10, 50)):
        await call(-1 - number)
    samples = []
    for number in range(count):
        start = time.perf_counter()
        await call(number)
        samples.append(time.perf_counter() - start)
    samples.sort()
    return {
        f"{name}_p50_us": round(samples[count // 2] * 1e6, 1),
        f"{name}_p99_us": round(samples[count * 99 // 100] * 1e6, 1),
        f"{name}_per_s": round(count / sum(samples)),
    }


async def _commits(database: Database, name: str, count: int) -> Figures:
    await database.execute(_TABLE)
    return await timed(name, count, lambda number: database.execute(_INSERT, f"row {number}"))


async def sqlite(folder: Path, *, count: int = 500) -> Figures:
    """Commit with FULL and NORMAL, 100 rows in one commit, and one statement's way to its thread and back."""
    figures: Figures = {}
    modes: tuple[Literal["FULL", "NORMAL"], ...] = ("FULL", "NORMAL")
    for mode in modes:
        async with open_database(f"sqlite:///{folder}/bench-{mode.lower()}.db", synchronous=mode) as database:
            figures |= await _commits(database, f"sqlite_commit_{mode.lower()}", count)
    async with open_database(f"sqlite:///{folder}/bench-full.db") as database:
        rows = [(f"row {number}",) for number in range(100)]
        figures |= await timed("sqlite_group_of_100", count // 5, lambda _: database.execute_many(_INSERT, rows))
        figures["sqlite_grouped_rows_per_s"] = figures["sqlite_group_of_100_per_s"] * 100
        select = "SELECT body FROM bench WHERE id = $1"
        figures |= await timed("sqlite_read", count * 4, lambda number: database.fetch_one(select, number % 500 + 1))
        async with database.transaction() as tx:
            figures |= await timed("sqlite_statement", count * 4, lambda n: tx.fetch_one(select, n % 500 + 1))
    async with open_database("sqlite://:memory:") as database:
        figures |= await _commits(database, "sqlite_memory_commit", count * 4)
    return figures


async def broker(*, count: int = 5_000) -> Figures:
    """Publish with confirm, receive, acknowledge: one message at a time."""
    edge = MemoryBroker()
    await edge.declare([Queue(name="bench", routing_key="bench", priorities=3)])
    async with edge.consume("bench", prefetch=10) as consumer:

        async def once(number: int) -> None:
            message = BrokerMessage(body=b"x" * 100, message_id=str(number), priority=number % 3)
            await edge.publish("bench", message)
            await (await anext(consumer)).ack()

        return await timed("broker_publish_consume_ack", count, once)


async def redis(*, count: int = 5_000, members: int = 10_000) -> Figures:
    """A command, and a script that writes a hash and a sorted set of 10,000 members and reads a rank."""
    edge = MemoryRedis(SystemClock())
    for number in range(members):
        await edge.call("ZADD", "rank", number, f"user {number}")
    figures = await timed("redis_get", count, lambda _: edge.call("GET", "nothing"))

    async def script(number: int) -> None:
        user = number * 7919 % members
        await edge.script(_LUA, ["rows", "rank"], [f"user {user}", "x" * 200, number * 31 % members])

    return figures | await timed("redis_script", count, script)


async def measure(folder: Path) -> Figures:
    """Return all of it; the database lies in ``folder``."""
    return {**await sqlite(folder), **await broker(), **await redis()}
