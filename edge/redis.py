"""A Redis server behind the ``Redis`` port: redis-py on the asyncio loop, one ordered connection for all commands, one more for each subscription.

Rule 1: what waits together crosses together. Calls of many tasks go to the other thread in one step, to the server in one batch, and come back in one.
Rule 2: a call that cannot be taken is refused at once: the commands that are not answered yet are bounded, in number and in bytes.
Rule 3: a caller that is cancelled goes at once. What it had not sent is not sent; what it had sent is answered to nobody; others of its batch notice nothing.
Rule 4: nothing is repeated here. Only a script that the server did not know, and so did not run, is sent again, with its text.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Self

import outcome
import trio

from contracts import ports
from contracts.errors import CodeWarzError, EdgeLost, NotPermitted, Unavailable
from contracts.ports import RedisReply, RedisValue, ScriptCall
from edge import refusals
from edge.aio import AsyncioLoop
from edge.redis_error import RedisError, meaning
from edge.redis_line import Exchange, Limits, Line
from edge.redis_subscription import ServerSubscription
from edge.redis_wire import address_of
from edge.redis_words import encoded, packed

UNKNOWN_SCRIPT = "NOSCRIPT No matching script"
SCRIPTS_MAX = 1024  # of which the digest is kept; the house has some ten
SHOWN_MOST = 100  # bytes of a key that is named in an error

# Commands that would block the connection for everybody, or change what it is for everybody.
NOT_HERE = frozenset(
    b"AUTH BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT DISCARD EXEC HELLO MONITOR MULTI PSUBSCRIBE PSYNC PUNSUBSCRIBE QUIT RESET "
    b"SELECT SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE UNWATCH WAIT WAITAOF WATCH".split()
)


class ServerRedis:
    """One Redis server. Use as ``async with ServerRedis(url, aio) as redis``; opening needs no server, only calls do. It may be opened again after its block.

    Raises Invalid for a URL that cannot be read. Calls raise RedisError for what Redis refuses, Unavailable when nothing happened (no connection, too many
    calls, a server that loads or is full), NotPermitted, which is also told once, when the URL's user may not do it, EdgeLost and DeadlineExceeded when the
    outcome is unknown. A password is in none of them.
    """

    def __init__(self, url: str, aio: AsyncioLoop, *, limits: Limits | None = None) -> None:
        self._address = address_of(url)
        self._aio = aio
        self._limits = limits or Limits()
        self._under_way: set[Exchange] = set()
        self._commands = 0
        self._bytes = 0
        self._is_open = False
        self._line: Line
        self._nursery_manager: Any
        self._background: trio.Nursery

    def __repr__(self) -> str:
        return f"<ServerRedis {self._address} {'open' if self._is_open else 'closed'} commands={self._commands}>"

    async def __aenter__(self) -> Self:
        self._line = Line(self._address, self._limits, self._finish)
        self._nursery_manager = trio.open_nursery()
        self._background = await self._nursery_manager.__aenter__()
        self._background.start_soon(self._serve, name="redis")
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        self._background.cancel_scope.cancel()
        # The nursery is not told what the block raised: it would wrap it in a group, and only this edge would do so.
        await self._nursery_manager.__aexit__(None, None, None)

    async def call(self, *words: RedisValue) -> RedisReply:
        """Run one command. Those that block or change the connection do not exist here."""
        [reply] = await self._exchange(_checked(words), 1)
        return self._value(reply, words)

    async def pipeline(self, commands: Sequence[Sequence[RedisValue]]) -> list[RedisReply]:
        """Run commands in order, others' between them perhaps, and return the replies; raises the first error after the last command has run."""
        if not commands:
            await trio.lowlevel.checkpoint()
            return []
        replies = await self._exchange(b"".join(map(_checked, commands)), len(commands))
        return [self._value(reply, words) for reply, words in zip(replies, commands, strict=True)]

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        """Run a Lua script: nothing else happens in between."""
        [reply] = await self._exchange(packed(["EVALSHA", _digest(lua), len(keys), *keys, *arguments]), 1)
        if _is_unknown(reply):
            [reply] = await self._exchange(packed(["EVAL", lua, len(keys), *keys, *arguments]), 1)
        return self._value(reply, ("EVALSHA", *keys))

    async def scripts(self, lua: str, calls: Sequence[ScriptCall]) -> list[RedisReply | CodeWarzError]:
        """Run a Lua script for each, in order, others' commands between them perhaps; what one of them raised is its reply."""
        if not calls:
            await trio.lowlevel.checkpoint()
            return []
        digest = _digest(lua)
        commands = [packed(["EVALSHA", digest, len(keys), *keys, *arguments]) for keys, arguments in calls]
        replies = await self._exchange(b"".join(commands), len(commands))
        for number, reply in enumerate(replies):
            # A server knows it or does not: so these are all, unless it was restarted or flushed between two.
            if _is_unknown(reply):
                keys, arguments = calls[number]
                [replies[number]] = await self._exchange(packed(["EVAL", lua, len(keys), *keys, *arguments]), 1)
        return [
            self._error(reply, ("EVALSHA", *keys)) if isinstance(reply, RedisError) else reply
            for reply, (keys, _) in zip(replies, calls, strict=True)
        ]

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[ports.Subscription]:
        """Receive what is published from here on. EdgeLost as soon as something may have been missed; a dead server is noticed within 9 s (see ``Limits``)."""
        if not channels:
            raise ValueError("name at least one channel to subscribe to")
        await trio.lowlevel.checkpoint()
        self._check_open()
        subscription = ServerSubscription(self._aio, self._address, self._limits, channels)
        self._background.start_soon(subscription.run, name="redis subscription")
        try:
            try:
                await subscription.opened()
            except NotPermitted as error:
                raise self._not_permitted(error, ("SUBSCRIBE", *channels)) from error
            yield subscription
        finally:
            await subscription.close()

    # ---- the way to the line and back ------------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            await self._aio.call(self._line.serve)
        finally:
            self._is_open = False
            for exchange in tuple(self._under_way):
                exchange.error = EdgeLost("the redis edge was closed before the reply came")
                self._resume(exchange)

    async def _exchange(self, data: bytes, count: int) -> list[RedisReply]:
        """Send packed commands and return their replies; refusals are values."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        limits = self._limits
        if self._commands and (
            self._commands + count > limits.commands_max or self._bytes + len(data) > limits.bytes_max
        ):
            await trio.lowlevel.checkpoint()
            raise Unavailable(f"{self._commands} commands wait for redis already", retry_after_s=1.0)
        exchange = Exchange(data, count, trio.lowlevel.current_task())
        self._under_way.add(exchange)
        self._commands += count
        self._bytes += len(data)
        self._aio.post(partial(self._line.submit, exchange))

        def abort(_: Callable[[], Any]) -> trio.lowlevel.Abort:
            exchange.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if exchange.error is not None:
            error = exchange.error  # may be that of many callers, and each raises one of its own
            raise type(error)(error.detail, retry_after_s=error.retry_after_s) from error.__cause__
        return exchange.replies

    def _finish(self, exchange: Exchange) -> None:
        """On the asyncio side."""
        self._aio.post_to_trio(partial(self._resume, exchange))

    def _resume(self, exchange: Exchange) -> None:
        if exchange not in self._under_way:
            return
        self._under_way.discard(exchange)
        self._commands -= exchange.count
        self._bytes -= len(exchange.data)
        task, exchange.task = exchange.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(None))

    def _value(self, reply: RedisReply, words: Sequence[RedisValue]) -> RedisReply:
        if isinstance(reply, RedisError):
            raise self._error(reply, words)
        return reply

    def _error(self, reply: RedisError, words: Sequence[RedisValue]) -> CodeWarzError:
        error = meaning(reply.detail)
        return self._not_permitted(error, words) if isinstance(error, NotPermitted) else error

    def _not_permitted(self, error: NotPermitted, words: Sequence[RedisValue]) -> NotPermitted:
        """Name the command and what it was for, which Redis does not, and tell it once: of keys that differ only behind their first word, the first one."""
        command, key = (_shown(word) for word in (*words, "")[:2])
        asked = f"{command} {key.partition(':')[0]}{':…' if ':' in key else ''}".strip()
        refusals.tell(
            "redis",
            error.detail,
            remedy=refusals.REMEDY,
            user=self._address.username or "default",
            asked=asked,
        )
        return NotPermitted(f"{error.detail} ({f'{command} {key}'.strip()})", retry_after_s=error.retry_after_s)

    def _check_open(self) -> None:
        if not self._is_open:
            raise EdgeLost("redis is closed")


def _checked(words: Sequence[RedisValue]) -> bytes:
    """Pack a command, unless it is none of this port's."""
    if not words:
        raise RedisError("ERR a command has at least one word")
    if encoded(words[0]).upper() in NOT_HERE:
        raise RedisError(f"ERR unknown command '{words[0]!s}': it would be for everybody on this connection")
    return packed(words)


def _is_unknown(reply: RedisReply) -> bool:
    return isinstance(reply, RedisError) and reply.detail.startswith(UNKNOWN_SCRIPT)


def _shown(word: RedisValue) -> str:
    return encoded(word)[:SHOWN_MOST].decode(errors="replace")


@lru_cache(SCRIPTS_MAX)
def _digest(lua: str) -> str:
    return hashlib.sha1(encoded(lua), usedforsecurity=False).hexdigest()
