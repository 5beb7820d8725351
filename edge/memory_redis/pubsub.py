"""Channels and patterns. A subscriber that falls too far behind is cut off and told so, as Redis cuts off a client whose output buffer is full."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Sequence

import trio

from contracts.errors import EdgeLost
from edge.memory_redis.keyspace import glob

BUFFER_MAX = 1024  # messages that wait for one subscriber


class Subscriber:
    """What one subscription has not read yet."""

    def __init__(self, buffer_max: int) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._buffer_max = buffer_max
        self._lost = ""
        self._arrivals = trio.lowlevel.ParkingLot()

    def take(self, channel: bytes, payload: bytes) -> None:
        """Receive a message, or be cut off."""
        if self._lost:
            return
        if len(self._waiting) >= self._buffer_max:
            self.lose(f"this subscriber fell {self._buffer_max} messages behind: read the state anew")
            return
        self._waiting.append((channel.decode("utf-8", "surrogateescape"), payload))
        self._arrivals.unpark()

    def lose(self, why: str) -> None:
        """Drop what waits and fail every read from now on."""
        self._lost = why
        self._waiting.clear()
        self._arrivals.unpark_all()

    def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        await trio.lowlevel.checkpoint()
        while not self._waiting and not self._lost:
            await self._arrivals.park()
        if self._lost:
            raise EdgeLost(self._lost)
        return self._waiting.popleft()


class PubSub:
    """Who listens to what."""

    def __init__(self) -> None:
        self._channels: dict[bytes, dict[Subscriber, None]] = {}
        self._patterns: dict[bytes, tuple[re.Pattern[bytes], dict[Subscriber, None]]] = {}

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Hand a message to everybody who listens; one that listens twice gets it twice. Return how often it was handed over."""
        receivers = list(self._channels.get(channel, ()))
        for matches, subscribers in self._patterns.values():
            if matches.match(channel):
                receivers.extend(subscribers)
        for each in receivers:
            each.take(channel, payload)
        return len(receivers)

    def add(self, subscriber: Subscriber, names: Sequence[str]) -> None:
        """Subscribe to channels, and to patterns where a name ends in ``*``."""
        for name in names:
            key = name.encode()
            if name.endswith("*"):
                self._patterns.setdefault(key, (glob(key), {}))[1][subscriber] = None
            else:
                self._channels.setdefault(key, {})[subscriber] = None

    def remove(self, subscriber: Subscriber, names: Sequence[str]) -> None:
        """Undo ``add``."""
        for key in map(str.encode, names):
            for table, members in (
                (self._channels, self._channels.get(key, {})),
                (self._patterns, self._patterns[key][1] if key in self._patterns else {}),
            ):
                members.pop(subscriber, None)
                if not members:
                    table.pop(key, None)

    def lose_all(self, why: str) -> None:
        """Cut everybody off."""
        for members in (*self._channels.values(), *(each for _, each in self._patterns.values())):
            for subscriber in members:
                subscriber.lose(why)
        self._channels.clear()
        self._patterns.clear()
