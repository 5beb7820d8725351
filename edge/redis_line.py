"""The ordered connection that all commands of a process share, on the asyncio side.

Rule 1: commands go out in the order in which they were submitted, everything that waits in one batch, and batches do not wait for the replies of earlier ones.
        Replies come in the same order, so nothing but counting says whose a reply is.
Rule 2: the count is never lost: the reply of a command whose caller has gone away is read and dropped, and after anything that went wrong the connection is
        closed, never used again.
Rule 3: what was never sent is refused (Unavailable: nothing happened); what was sent and not answered is lost (EdgeLost, DeadlineExceeded: nobody knows).
        Nothing is ever sent twice.
Rule 4: there is a connection while somebody needs one, and no timer while nobody waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import trio

from contracts.errors import CodeWarzError, DeadlineExceeded, EdgeLost, Unavailable
from contracts.ports import RedisReply
from edge.deadline import apart
from edge.redis_wire import LOSSES, Address, Wire, first

LOOK_S = 0.5  # how exactly deadlines are kept while somebody waits


@dataclass(frozen=True)
class Limits:
    """Bounds and deadlines; seconds. A call is answered, one way or the other, within ``queue_s + reply_s`` (the first includes connecting)."""

    connect_s: float = 3.0
    queue_s: float = 3.0
    reply_s: float = 5.0  # Redis itself lets a script run for 5 s before it answers BUSY to others
    pause_s: float = 0.1  # after a failed attempt to connect, calls are refused at once for so long
    commands_max: int = 4096  # not answered yet, of all callers together
    bytes_max: int = 64 * 1024 * 1024
    batch_max: int = 512  # commands on the wire at once: what a server that stops may leave with an unknown outcome
    messages_max: int = 1024  # that one subscriber has not read yet
    ping_s: float = 3.0  # a subscription that was silent for so long is asked for a sign of life …
    pong_s: float = (
        3.0  # … which has to come within this time: a dead one is noticed after 2 * ping_s + pong_s at the latest
    )


class Exchange:
    """Commands of one caller, packed, and their replies."""

    __slots__ = ("count", "data", "deadline", "error", "replies", "task")

    def __init__(self, data: bytes, count: int, task: trio.lowlevel.Task) -> None:
        self.data = data
        self.count = count
        self.task: trio.lowlevel.Task | None = (
            task  # None when it has gone away; Trio's side writes it, ours looks before sending
        )
        self.replies: list[RedisReply] = []
        self.error: CodeWarzError | None = None
        self.deadline = 0.0


class Line:
    """The connection, made when it is needed and made again after it was lost. ``serve`` runs for as long as the edge is open."""

    def __init__(self, address: Address, limits: Limits, finish: Callable[[Exchange], None]) -> None:
        self._address = address
        self._limits = limits
        self._finish = finish  # called once for each exchange that was submitted, unless serving ends before
        self._waiting: deque[Exchange] = deque()
        self._sent: deque[Exchange] = deque()
        self._sent_commands = 0
        self._has_work = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self._again_at = 0.0
        self.batches = 0
        self.connections = 0

    def submit(self, exchange: Exchange) -> None:
        """Take commands; they leave with whatever else is taken before the loop's next turn."""
        exchange.deadline = asyncio.get_running_loop().time() + self._limits.queue_s
        self._waiting.append(exchange)
        self._has_work.set()

    async def serve(self) -> NoReturn:
        """Connect whenever something waits, and exchange until the connection is lost."""
        while True:
            await self._has_work.wait()
            if not self._waiting:
                self._has_work.clear()
                continue
            if asyncio.get_running_loop().time() < self._again_at:
                self._refuse_all(Unavailable(f"{self._address} could not be reached just now", retry_after_s=1.0))
                continue
            try:
                wire = await Wire.open(self._address, self._limits.connect_s)
            except CodeWarzError as error:
                self._again_at = asyncio.get_running_loop().time() + self._limits.pause_s
                self._refuse_all(error)
                continue
            self.connections += 1
            await apart(self._exchange(wire))

    async def _exchange(self, wire: Wire) -> None:
        error: CodeWarzError = EdgeLost(f"{self._address}: the connection was closed before the reply came")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(wire))
                group.create_task(self._read(wire))
                group.create_task(self._watch())
        except* TimeoutError as overdue:
            error = DeadlineExceeded(f"{self._address} did not answer within {self._limits.reply_s:g} s")
            error.__cause__ = first(overdue)
        except* LOSSES as loss:
            error = EdgeLost(f"{self._address} was lost before the reply came: {first(loss)}")
            error.__cause__ = first(loss)
        finally:
            await wire.close()
            lost, self._sent, self._sent_commands = self._sent, deque(), 0
            for each in lost:
                each.error = error
                self._finish(each)

    async def _write(self, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = []
            deadline = loop.time() + self._limits.reply_s
            while self._waiting and self._has_room(self._waiting[0]):
                exchange = self._waiting.popleft()
                if exchange.task is None:
                    self._finish(exchange)
                    continue
                exchange.deadline = deadline
                self._sent.append(exchange)
                self._sent_commands += exchange.count
                batch.append(exchange.data)
            if batch:
                self.batches += 1
                self._is_awaited.set()
                await wire.send(batch)
            else:
                self._has_work.clear()
                await self._has_work.wait()

    def _has_room(self, exchange: Exchange) -> bool:
        """Whether it may go out now. One that is larger than a batch goes alone."""
        return not self._sent or self._sent_commands + exchange.count <= self._limits.batch_max

    async def _read(self, wire: Wire) -> None:
        while True:
            reply = await wire.read()
            if not self._sent:
                raise ConnectionError(f"it said something that nobody had asked for: {reply!r}")
            exchange = self._sent[0]
            exchange.replies.append(reply)
            if len(exchange.replies) == exchange.count:
                self._sent.popleft()
                self._sent_commands -= exchange.count
                self._finish(exchange)
                if self._waiting:
                    self._has_work.set()

    async def _watch(self) -> None:
        """Raise TimeoutError when the oldest reply is overdue; refuse what has waited too long for its turn."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._sent:  # then nothing waits either
                self._is_awaited.clear()
                await self._is_awaited.wait()
            now = loop.time()
            if self._sent and self._sent[0].deadline <= now:
                raise TimeoutError
            while self._waiting and self._waiting[0].deadline <= now:
                exchange = self._waiting.popleft()
                exchange.error = Unavailable(f"{self._address} is too slow for what is asked of it", retry_after_s=1.0)
                self._finish(exchange)
            oldest = [queue[0].deadline for queue in (self._sent, self._waiting) if queue]
            await asyncio.sleep(min(max(min(oldest, default=now) - now, 0.0), LOOK_S))

    def _refuse_all(self, error: CodeWarzError) -> None:
        refused, self._waiting = self._waiting, deque()
        for each in refused:
            each.error = error
            self._finish(each)
