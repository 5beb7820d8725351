"""The ``Redis`` port over one keyspace in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from contracts import ports
from contracts.errors import CodeWarzError, EdgeLost
from contracts.ports import RedisReply, RedisValue, ScriptCall, WallClock
from edge.memory_redis import containers, keys, streams, strings, zsets
from edge.memory_redis.keyspace import KEYS_MAX, Keyspace, Words, wrong_arity
from edge.memory_redis.pubsub import BUFFER_MAX, PubSub, Subscriber
from edge.memory_redis.script import Scripts
from edge.redis_error import RedisError
from edge.redis_words import encoded

COMMANDS = {**strings.COMMANDS, **containers.COMMANDS, **zsets.COMMANDS, **streams.COMMANDS, **keys.COMMANDS}


class MemoryRedis:
    """One server: data, scripts and subscribers, gone with the process.

    Raises RedisError for what Redis would refuse, EdgeLost after ``close``. Every call passes one checkpoint and then has its whole effect at once.
    """

    def __init__(self, wall: WallClock, *, keys_max: int = KEYS_MAX, subscriber_buffer_max: int = BUFFER_MAX) -> None:
        self._pubsub = PubSub()
        self._keyspace = Keyspace(wall, self._pubsub.publish, keys_max=keys_max)
        self._scripts = Scripts(self._execute_in_script)
        self._buffer_max = subscriber_buffer_max
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<MemoryRedis {'closed' if self._is_closed else f'keys={len(self._keyspace)}'}>"

    async def call(self, *words: RedisValue) -> RedisReply:
        """Run one command."""
        command = [encoded(word) for word in words]
        await self._enter()
        self._keyspace.tick()
        return self._execute(command)

    async def pipeline(self, commands: Sequence[Sequence[RedisValue]]) -> list[RedisReply]:
        """Run commands in order, others' between them, and return the replies; raises the first error after the last command has run."""
        batch = [[encoded(word) for word in words] for words in commands]
        replies: list[RedisReply] = []
        error: RedisError | None = None
        await self._enter()
        for number, command in enumerate(batch):
            if number:
                await self._enter()
            self._keyspace.tick()
            try:
                replies.append(self._execute(command))
            except RedisError as exc:
                error = error or exc
        if error is not None:
            raise error
        return replies

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        """Run a Lua script: nothing else happens in between."""
        names, values = [encoded(key) for key in keys], [encoded(each) for each in arguments]
        await self._enter()
        self._keyspace.tick()
        return self._scripts.run(lua, names, values)

    async def scripts(self, lua: str, calls: Sequence[ScriptCall]) -> list[RedisReply | CodeWarzError]:
        """Run a Lua script for each, in order, others' commands between them; what one of them raised is its reply."""
        replies: list[RedisReply | CodeWarzError] = []
        await self._enter()
        for names, arguments in calls:
            try:
                replies.append(await self.script(lua, names, arguments))
            except RedisError as error:
                replies.append(error)
        return replies

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[ports.Subscription]:
        """Receive what is published from here on. EdgeLost to a reader that falls behind, and when the server goes."""
        if not channels:
            raise ValueError("name at least one channel to subscribe to")
        await self._enter()
        subscriber = Subscriber(self._buffer_max)
        self._pubsub.add(subscriber, channels)
        try:
            yield subscriber
        finally:
            self._pubsub.remove(subscriber, channels)

    def restart(self) -> None:
        """Restart with persistence: the data is there again, every subscription is lost."""
        self._pubsub.lose_all("redis was restarted: subscribe and read the state anew")

    def reset(self) -> None:
        """Restart without persistence: all data, scripts and subscriptions are lost, and the server goes on empty."""
        self._keyspace.clear()
        self._scripts = Scripts(self._execute_in_script)
        self._pubsub.lose_all("redis was restarted and has lost its data: subscribe and read the state anew")

    def close(self) -> None:
        """Go away: every later call and every subscriber gets EdgeLost."""
        self._is_closed = True
        self._keyspace.clear()
        self._pubsub.lose_all("redis is closed")

    async def _enter(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise EdgeLost("redis is closed")

    def _execute(self, words: Words) -> RedisReply:
        if not words:
            raise RedisError("ERR a command has at least one word")
        name = words[0].upper()
        command = COMMANDS.get(name)
        if command is None:
            shown = words[0].decode("utf-8", "replace")
            raise RedisError(f"ERR unknown command '{shown}', with args beginning with: ")
        if not command.takes(len(words) - 1):
            raise wrong_arity(name.decode())
        return command.run(self._keyspace, words[1:])

    def _execute_in_script(self, words: Words) -> RedisReply:
        if words[0].upper() not in COMMANDS:
            raise RedisError("ERR Unknown Redis command called from script")
        return self._execute(words)
