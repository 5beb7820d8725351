"""A subscription on a connection of its own, which notices when it may have missed something.

Redis keeps nothing for a subscriber: what was published while it was away is gone. So a subscription never comes back by itself. It ends with EdgeLost when
its connection ends, when its reader falls behind, and when the server gives no sign of life (a frozen one, a cut cable): its reader reads the state anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import trio

from contracts.errors import CodeWarzError, EdgeLost, Unavailable
from edge.aio import AsyncioLoop, Feed
from edge.deadline import timeout
from edge.redis_error import RedisError
from edge.redis_line import Limits
from edge.redis_wire import LOSSES, Address, Wire, first, refused
from edge.redis_words import packed


class _Gap(Exception):
    """A message could not be kept, or none comes any more."""


class ServerSubscription:
    """The ``Subscription`` port. ``run`` holds it open; ``opened`` returns when the server has confirmed it; iterating takes what came."""

    def __init__(self, aio: AsyncioLoop, address: Address, limits: Limits, channels: tuple[str, ...]) -> None:
        self._aio = aio
        self._address = address
        self._limits = limits
        self._channels = channels
        self._feed: Feed[tuple[str, bytes]] = Feed(aio, limits.messages_max)
        self._scope = trio.CancelScope()
        self._is_decided = trio.Event()
        self._has_ended = trio.Event()
        self._refusal: CodeWarzError | None = None
        self._heard = 0

    def __repr__(self) -> str:
        return f"<ServerSubscription {' '.join(self._channels)} unread={len(self._feed)}>"

    def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        return await self._feed.receive()

    # ---- Trio's side -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Subscribe and receive until the subscription is lost or closed."""
        closed = EdgeLost("the subscription was closed with its edge")
        try:
            with self._scope:
                await self._aio.call(self._serve)
        except CodeWarzError as error:
            self._refusal = error
        finally:
            self._refusal = self._refusal or closed
            self._feed.end(closed)
            self._is_decided.set()
            self._has_ended.set()

    async def opened(self) -> None:
        """Return when the server has confirmed every channel. Raises Unavailable, also when it refuses."""
        await self._is_decided.wait()
        if self._refusal is not None:
            raise self._refusal

    async def close(self) -> None:
        """End it, and wait for that."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._has_ended.wait()

    # ---- asyncio's side --------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        wire = await Wire.open(self._address, self._limits.connect_s)
        try:
            await self._subscribe(wire)
            self._aio.post_to_trio(self._is_decided.set)
            self._feed.end(await self._receive(wire))
        finally:
            await wire.close()

    async def _subscribe(self, wire: Wire) -> None:
        """Name the channels and wait for the confirmations; messages may come between them already."""
        try:
            async with timeout(self._limits.connect_s):
                await wire.send([packed([_verb(name), name]) for name in self._channels])
                missing = len(self._channels)
                while missing:
                    reply = await wire.read()
                    if isinstance(reply, RedisError):
                        raise refused(reply, self._address)
                    if reply[0] in (b"subscribe", b"psubscribe"):
                        missing -= 1
                    else:
                        self._take(reply)
        except (*LOSSES, _Gap) as exc:
            raise Unavailable(f"{self._address} did not confirm a subscription: {exc}", retry_after_s=1.0) from exc

    async def _receive(self, wire: Wire) -> EdgeLost:
        """Receive until something is lost; return what."""
        lost = EdgeLost("a subscription ended by itself")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(wire))
                group.create_task(self._ask(wire))
        except* _Gap as gap:
            lost = EdgeLost(str(first(gap)))
        except* TimeoutError as silence:
            lost = EdgeLost(f"{self._address} gave a subscription no sign of life for {self._limits.pong_s:g} s")
            lost.__cause__ = first(silence)
        except* LOSSES as loss:
            lost = EdgeLost(f"{self._address} ended a subscription: {first(loss)}")
            lost.__cause__ = first(loss)
        return lost

    async def _read(self, wire: Wire) -> NoReturn:
        while True:
            reply = await wire.read()
            self._heard += 1
            self._take(reply)

    def _take(self, reply: list[bytes] | RedisError) -> None:
        if isinstance(reply, RedisError):
            raise _Gap(f"{self._address} ended a subscription: {reply.detail}")
        if reply[0] in (b"message", b"pmessage"):
            *_, channel, payload = reply
            if not self._feed.put((channel.decode("utf-8", "surrogateescape"), payload)):
                unread = self._limits.messages_max
                raise _Gap(f"this subscriber fell {unread} messages behind: read the state anew")

    async def _ask(self, wire: Wire) -> NoReturn:
        """Ask a silent server for a sign of life; TimeoutError when none comes."""
        ping = packed(["PING"])
        while True:
            heard = self._heard
            await asyncio.sleep(self._limits.ping_s)
            if self._heard != heard:
                continue
            await wire.send([ping])
            await asyncio.sleep(self._limits.pong_s)
            if self._heard == heard:
                raise TimeoutError


def _verb(name: str) -> str:
    return "PSUBSCRIBE" if name.endswith("*") else "SUBSCRIBE"
