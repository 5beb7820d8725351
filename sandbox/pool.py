"""Warm, one-shot boxes: at most ``size`` of them exist at once, busy and warm together, and each serves one submission.

Rule 1: a slot owns at most one box, and there are ``size`` slots; so the bound cannot be broken, whoever is cancelled when.
Rule 2: whoever takes a box gives it back by leaving ``async with``; its slot destroys it and only then warms the next.
Rule 3: boxes live in the pool's own nursery: when ``run`` ends, for whatever reason, none is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
import trio

from sandbox.provider import Box, BoxLimits, Provider, SandboxUnavailable

_LIMITS = BoxLimits()


class PoolStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of the pool. ``peak`` is the most boxes that ever were at once; ``waiting`` those who wait for one."""

    size: int
    warm: int
    busy: int
    starting: int
    waiting: int
    opened: int
    closed: int
    peak: int


class _Lease:
    def __init__(self, box: Box) -> None:
        self.box = box
        self.is_over = trio.Event()


class Pool:
    """``size`` bounds all boxes at once; at most ``warm`` of them (default: all) wait ready for a submission."""

    def __init__(
        self,
        provider: Provider,
        size: int = 10,
        *,
        warm: int | None = None,
        limits: BoxLimits = _LIMITS,
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one box")
        self._provider = provider
        self._size = size
        self._warm = min(size, size if warm is None else max(1, warm))
        self._limits = limits
        self._receive: trio.MemoryReceiveChannel[_Lease] | None = None
        self._counts = dict.fromkeys(("warm", "busy", "starting", "waiting", "opened", "closed", "peak"), 0)

    def __repr__(self) -> str:
        return f"<Pool {self._counts['busy']} busy, {self._counts['warm']} warm, size {self._size}>"

    def statistics(self) -> PoolStatistics:
        """Return the pool's counts."""
        return PoolStatistics(size=self._size, **self._counts)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep boxes warm until cancelled; ready as soon as the first is. Fails with SandboxUnavailable when no box can be made."""
        send, receive = trio.open_memory_channel[_Lease](0)
        warming = trio.CapacityLimiter(self._warm)
        first = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                self._receive = receive
                for slot in range(self._size):
                    nursery.start_soon(self._slot, send, warming, first, name=f"box slot {slot}")
                await first.wait()
                task_status.started()
        finally:
            self._receive = None
            send.close()

    async def _slot(
        self, send: trio.MemorySendChannel[_Lease], warming: trio.CapacityLimiter, first: trio.Event
    ) -> None:
        counts = self._counts
        while True:
            lease = None
            async with warming:
                box = await self._open()
                first.set()
                counts["warm"] += 1
                try:
                    lease = _Lease(box)
                    await send.send(lease)
                except BaseException:
                    counts["warm"] -= 1
                    await self._close(box)
                    raise
                counts["warm"] -= 1
                counts["busy"] += 1
            try:
                await lease.is_over.wait()
            finally:
                await self._close(box)
                counts["busy"] -= 1

    async def _open(self) -> Box:
        counts = self._counts
        counts["starting"] += 1
        counts["peak"] = max(counts["peak"], counts["starting"] + counts["warm"] + counts["busy"])
        try:
            box = await self._provider.open(self._limits)
        finally:
            counts["starting"] -= 1
        counts["opened"] += 1
        return box

    async def _close(self, box: Box) -> None:
        await box.close()
        self._counts["closed"] += 1

    @contextlib.asynccontextmanager
    async def box(self) -> AsyncIterator[Box]:
        """Take a warm box for one submission, waiting for one if need be; it is destroyed afterwards. SandboxUnavailable when the pool does not run."""
        lease = await self._take()
        try:
            yield lease.box
        finally:
            lease.is_over.set()

    async def _take(self) -> _Lease:
        receive = self._receive
        if receive is None:
            raise SandboxUnavailable("the sandbox pool is not running", retry_after_s=1.0)
        self._counts["waiting"] += 1
        try:
            while True:
                lease = await receive.receive()
                if lease.box.is_alive():
                    return lease
                lease.is_over.set()  # it died while it waited; its slot makes another
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise SandboxUnavailable("the sandbox pool stopped", retry_after_s=1.0) from None
        finally:
            self._counts["waiting"] -= 1
