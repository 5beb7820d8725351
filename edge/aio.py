"""The one asyncio loop of a process, for drivers that know nothing else: a thread with uvloop beside Trio's.

Rule 1: a call belongs to the Trio task that makes it. It returns when the coroutine has ended, never before: when the Trio task is cancelled, the coroutine
        is cancelled and waited for. Nothing is left behind on the other side.
Rule 2: a coroutine that ended all the same when its cancellation came returns its result: an effect that happened is not denied.
Rule 3: cancellation is asyncio's own, once, and not anyio's, which comes again at each await: drivers put their connections in order while they are cancelled
        (a rollback, a release), and would be cancelled in the middle of that.
Rule 4: what wants to cross together crosses together. Each direction has one queue and one wake-up for everything in it.
Rule 5: an item that comes from a driver by itself (a notification, a delivery) goes through a ``Feed``, which is bounded.

Drivers live on this side of the house only; an edge module enters the loop with ``call``, and maps its driver's errors itself.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import outcome
import trio
import uvloop

from contracts.errors import EdgeLost

T = TypeVar("T")

# A thread that wakes waits so long for another that computes; Python's own 5 ms would be most of a call's time whenever Trio is busy.
SWITCH_INTERVAL_S = 0.000_5


class AsyncioLoop:
    """The loop. Use as ``async with AsyncioLoop() as aio``; calls under way at the end are cancelled and waited for."""

    def __init__(self) -> None:
        self._calls: set[_Call[Any]] = set()  # touched on the asyncio side only
        self._arriving: deque[Callable[[], None]] = deque()
        self._leaving: deque[Callable[[], None]] = deque()
        self._has_woken_asyncio = False
        self._has_woken_trio = False
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop
        self._group: asyncio.TaskGroup
        self._end: asyncio.Event
        self._token: trio.lowlevel.TrioToken
        self._thread: threading.Thread
        self._switch_interval_s = 0.0

    def __repr__(self) -> str:
        return f"<AsyncioLoop {'open' if self._is_open else 'closed'} calls={len(self._calls)}>"

    async def __aenter__(self) -> Self:
        self._token = trio.lowlevel.current_trio_token()
        started = trio.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="asyncio", daemon=True)
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(min(SWITCH_INTERVAL_S, self._switch_interval_s))
        self._thread.start()
        with trio.CancelScope(shield=True):  # some milliseconds; left half started it could not be ended
            await started.wait()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        self.post(self._close)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)
        sys.setswitchinterval(self._switch_interval_s)

    # ---- from Trio -------------------------------------------------------------------------------------------------

    async def call(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Run ``function(*arguments)`` on the loop and return what it returned, or raise what it raised. EdgeLost when the loop has ended."""
        if not self._is_open:
            await trio.lowlevel.checkpoint()
            raise EdgeLost("the asyncio loop of this process has ended")
        await trio.lowlevel.checkpoint_if_cancelled()
        call: _Call[T] = _Call(self, partial(function, *arguments), trio.lowlevel.current_task())
        self.post(call.start)

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            call.raise_cancel = raise_cancel
            self.post(call.cancel)
            return trio.lowlevel.Abort.FAILED

        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def post(self, function: Callable[[], None]) -> None:
        """Have ``function`` called on the loop, soon, after everything that was posted before. It must not raise. Nothing happens when the loop has ended."""
        self._arriving.append(function)
        if not self._has_woken_asyncio:
            self._has_woken_asyncio = True
            with suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(self._admit)

    # ---- from asyncio ----------------------------------------------------------------------------------------------

    def post_to_trio(self, function: Callable[[], None]) -> None:
        """Have ``function`` called in Trio's thread, soon and in order. It must not raise. Nothing happens when Trio has ended."""
        self._leaving.append(function)
        if self._has_woken_trio:
            return
        self._has_woken_trio = True
        try:
            self._token.run_sync_soon(self._deliver)
        except trio.RunFinishedError:
            self._leaving.clear()
            self._has_woken_trio = False

    async def call_trio(self, nursery: trio.Nursery, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run an async function in ``nursery``, on Trio's side, for an asyncio task; its cancellation cancels the function and waits for it."""
        answer: asyncio.Future[outcome.Outcome[T]] = self._loop.create_future()
        visit = _Visit(self, partial(function, *arguments), answer)
        self.post_to_trio(partial(visit.start, nursery))
        try:
            result = await asyncio.shield(answer)
        except asyncio.CancelledError:
            self.post_to_trio(visit.scope.cancel)
            await asyncio.wait((answer,))
            raise
        return result.unwrap()

    # ---- the two sides' own ----------------------------------------------------------------------------------------

    def _serve(self, started: trio.Event) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main(started))

    async def _main(self, started: trio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        async with asyncio.TaskGroup() as self._group:
            self.post_to_trio(started.set)
            await self._end.wait()
            for each in tuple(self._calls):
                each.cancel()

    def _close(self) -> None:
        self._end.set()

    def _admit(self) -> None:
        self._has_woken_asyncio = False  # before the queue is emptied: what comes from now on wakes again
        _run_all(self._arriving)

    def _deliver(self) -> None:
        self._has_woken_trio = False  # before the queue is emptied, as in the other direction
        _run_all(self._leaving)


def _run_all(queue: deque[Callable[[], None]]) -> None:
    while queue:
        queue.popleft()()


class _Call(Generic[T]):
    """One coroutine on the loop, for one Trio task."""

    __slots__ = ("_aio", "_function", "_has_begun", "_is_cancelled", "_task", "_trio_task", "raise_cancel")

    def __init__(
        self, aio: AsyncioLoop, function: Callable[[], Coroutine[Any, Any, T]], trio_task: trio.lowlevel.Task
    ) -> None:
        self._aio = aio
        self._function = function
        self._trio_task = trio_task
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._is_cancelled = False
        self.raise_cancel: Callable[[], Any] | None = None

    def start(self) -> None:
        """Begin, on the loop."""
        self._aio._calls.add(self)  # noqa: SLF001 - two halves of one thing
        self._task = self._aio._group.create_task(self._run())  # noqa: SLF001

    def cancel(self) -> None:
        """Cancel, on the loop; only the first time counts, as asyncio's drivers expect."""
        if self._task is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()
            if (
                not self._has_begun
            ):  # nor will it: a task that is cancelled before its first step never comes to its own end
                self._end(outcome.Error(asyncio.CancelledError()))

    async def _run(self) -> None:
        self._has_begun = True
        result: outcome.Outcome[T]
        try:
            result = outcome.Value(await self._function())
        except asyncio.CancelledError as error:
            result = outcome.Error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is goes to the caller
            result = outcome.Error(error)
        self._end(result)

    def _end(self, result: outcome.Outcome[T]) -> None:
        self._aio._calls.discard(self)  # noqa: SLF001
        self._aio.post_to_trio(partial(self._finish, result))

    def _finish(self, result: outcome.Outcome[T]) -> None:
        """Wake the Trio task, in its thread."""
        if isinstance(result, outcome.Error) and isinstance(result.error, asyncio.CancelledError):
            if self.raise_cancel is not None:
                result = outcome.capture(self.raise_cancel)
            else:
                result = outcome.Error(EdgeLost("the call was ended with the asyncio loop of this process"))
        trio.lowlevel.reschedule(self._trio_task, result)


class _Visit(Generic[T]):
    """One async function on Trio's side, for one asyncio task."""

    def __init__(
        self, aio: AsyncioLoop, function: Callable[[], Awaitable[T]], answer: asyncio.Future[outcome.Outcome[T]]
    ) -> None:
        self._aio = aio
        self._function = function
        self._answer = answer
        self.scope = trio.CancelScope()

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, in Trio's thread."""
        try:
            nursery.start_soon(self._run, name="asyncio caller")
        except RuntimeError:  # the nursery has closed
            self._reply(outcome.Error(EdgeLost("the service is about to end")))

    async def _run(self) -> None:
        result: outcome.Outcome[T] = outcome.Error(EdgeLost("the service ended in the middle"))
        try:
            with self.scope:
                result = await outcome.acapture(self._function)
                if isinstance(result, outcome.Error) and not isinstance(result.error, Exception):
                    raise result.error  # a cancellation, or the end of everything
        finally:
            self._reply(result)

    def _reply(self, result: outcome.Outcome[T]) -> None:
        if isinstance(result, outcome.Error) and not isinstance(result.error, Exception):
            result = outcome.Error(EdgeLost("the service ended in the middle"))
        self._aio.post(partial(_settle, self._answer, result))


def _settle(answer: asyncio.Future[outcome.Outcome[T]], result: outcome.Outcome[T]) -> None:
    if not answer.done():
        answer.set_result(result)


class Feed(Generic[T]):
    """Items from the asyncio side to Trio's, in order, at most ``capacity`` at once. The asyncio side puts and ends, the Trio side receives."""

    def __init__(self, aio: AsyncioLoop, capacity: int) -> None:
        self._aio = aio
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._error: Exception | None = None
        self._lot = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Add an item (asyncio side); False, and no effect, when there is no room."""
        if len(self._items) >= self._capacity:
            return False
        self._items.append(item)
        self._aio.post_to_trio(self._wake)
        return True

    def end(self, error: Exception) -> None:
        """Say that nothing comes any more (asyncio side): ``receive`` raises ``error`` after the items. The first end counts."""
        if self._error is None:
            self._error = error
            self._aio.post_to_trio(self._wake)

    async def receive(self) -> T:
        """Return the next item, or raise the end's error (Trio side). Cancelled, it loses nothing."""
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._error is not None:
                raise self._error
            await self._lot.park()
        return self._items.popleft()

    def _wake(self) -> None:
        self._lot.unpark_all()
