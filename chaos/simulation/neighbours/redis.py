"""Redis as processes see it: one keyspace in memory with the real Lua, and subscriptions that may be lost with a word or without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from chaos.simulation.faults import Fault
from chaos.simulation.world import SLOW_S, Link, World
from contracts import ports
from contracts.errors import CodeWarzError, EdgeLost
from contracts.ports import RedisReply, RedisValue
from edge.memory_redis import MemoryRedis

NAME = "redis"
KEEPALIVE_S = (1.0, 8.0)
LATE = 0.05  # of the news, how many others may overtake, where messages overtake each other
LATE_S = (0.05, 1.5)
APART = 0.1  # of the commands that are sent together, how many come a while after those before them
LONG = 12  # arguments: a whole board is sent, which takes its time where the network is slow


class SimulatedRedis:
    """The ``Redis`` port of one process."""

    def __init__(self, world: World, link: Link, engine: MemoryRedis) -> None:
        self._world = world
        self._link = link
        self._engine = engine

    async def call(self, *words: RedisValue) -> RedisReply:
        """Run one command."""
        what = " ".join(str(word) for word in words[:2])
        await self._link.there(what)
        reply = await self._engine.call(*words)
        await self._link.back(what)
        return reply

    async def pipeline(self, commands: Sequence[Sequence[RedisValue]]) -> list[RedisReply]:
        """Run commands in order."""
        what = " ".join(str(command[0]) for command in commands[:4])
        await self._link.there(what)
        replies = await self._engine.pipeline(commands)
        await self._link.back(what)
        return replies

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        """Run a script."""
        what = f"script {keys[0] if keys else ''}"
        if len(arguments) > LONG and self._world.strikes(Fault.LATENCY, 0.3):
            await self._world.clock.sleep(self._world.chance.uniform(*SLOW_S))
        await self._link.there(what)
        reply = await self._engine.script(lua, keys, arguments)
        await self._link.back(what, ambiguous=0.02)
        return reply

    async def scripts(self, lua: str, calls: Sequence[ports.ScriptCall]) -> list[RedisReply | CodeWarzError]:
        """Run a script for each; they travel in some pieces, and what others do comes in between."""
        what = f"scripts {calls[0][0][0] if calls else ''}"
        await self._link.there(what)
        replies: list[RedisReply | CodeWarzError] = []
        for call in calls:
            if replies and self._world.strikes(Fault.LATENCY, APART):
                await self._world.clock.sleep(self._world.chance.uniform(*SLOW_S))
            replies += await self._engine.scripts(lua, [call])
        await self._link.back(what, ambiguous=0.02)
        return replies

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[ports.Subscription]:
        """Subscribe."""
        await self._link.there(f"SUBSCRIBE {' '.join(channels)}")
        async with self._engine.subscribe(*channels) as subscription:
            yield _Subscription(self._world, self._link, subscription)


class _Subscription:
    def __init__(self, world: World, link: Link, subscription: ports.Subscription) -> None:
        self._world = world
        self._link = link
        self._news = subscription.__aiter__()
        self._late: tuple[str, bytes] | None = None  # others may overtake it until ``_late_until``
        self._late_until = 0.0

    def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        """Return the next news. Now and then one comes late, as after a failover or through several nodes: who publishes promises no order."""
        if self._late is None:
            news = await self._next()
            if not self._world.strikes(Fault.REORDER, LATE):
                return news
            self._late, self._late_until = news, trio.current_time() + self._world.chance.uniform(*LATE_S)
        with trio.move_on_at(self._late_until):
            return await self._next()
        late, self._late = self._late, None
        return late

    async def _next(self) -> tuple[str, bytes]:
        while True:
            news: tuple[str, bytes] | None = None
            with trio.move_on_after(1.0):
                news = await self._news.__anext__()
            if self._world.is_cut(self._link.machine.name, NAME):
                await self._die("the subscription is cut off")
            if news is not None:
                if self._world.strikes(Fault.NEWS_LOST, 0.04):
                    await self._die("the subscription died in silence")
                return news

    async def _die(self, why: str) -> None:
        """Lose all news until the keep-alive finds out."""
        self._world.trace(self._link.machine.name, why)
        with trio.move_on_after(self._world.chance.uniform(*KEEPALIVE_S)):
            while True:
                await self._news.__anext__()
        raise EdgeLost("the subscription did not answer its keep-alive: messages may have been missed")
