"""One Trio run that is the same every time: the only place that touches what Trio does not promise.

What makes it so: time is a number that jumps to the next deadline when nothing can run; the order of tasks comes from the seed (Trio shuffles each batch of
runnable tasks with a generator of its own, which is seeded here, after sorting it, which is switched on here); everything else that is random is given out
by the world. The rest is discipline: no thread, no socket, no wall clock, and no order taken from a set of objects. ``PYTHONHASHSEED`` must be fixed
as well, because sets of texts are walked in many libraries; ``is_pinned`` says whether it is.

A run that can make no progress is an error with an explanation and not a time-out: nothing to wait for is ``Deadlock``, work without an end at
one moment of time is ``Livelock``.
"""

# ruff: noqa: SLF001 - every private touch of Trio is in this file
from __future__ import annotations

import gc
import math
import os
from collections.abc import Awaitable, Callable
from functools import cache
from heapq import heappop, heappush
from typing import Any, ClassVar, NoReturn, TypeVar, cast

import trio
import trio._core._run as trio_run

from supervisor.frames import await_frame

T = TypeVar("T")

STEPS_MOST = 400_000  # of tasks, at one and the same moment
_USUAL = trio_run.Runner.reschedule
START_S = 1_000.0  # of the clock; not 0, so that a difference is not mistaken for a time


class Deadlock(Exception):
    """Every task waits and none has a deadline."""


class Livelock(Exception):
    """Tasks run and run while time stands still."""


class Overdue(Exception):
    """The run has used up its simulated time."""


class _Timer:
    """Somebody who sleeps until ``at``; ``task`` None when it was cancelled."""

    __slots__ = ("at", "number", "task")

    def __init__(self, at: float, number: int, task: trio.lowlevel.Task) -> None:
        self.at = at
        self.number = number
        self.task: trio.lowlevel.Task | None = task

    def __lt__(self, other: _Timer) -> bool:
        return (self.at, self.number) < (other.at, other.number)


class DiscreteClock(trio.abc.Clock):
    """Time that stands still while anything can run and then jumps to the next deadline; it calls ``stop`` when there is nowhere to jump to."""

    def __init__(self, most_s: float, stop: Callable[[Exception], None]) -> None:
        self.now = START_S
        self.steps = 0  # of tasks, since the last jump
        self.is_stopped = False  # or ended: there is nothing to jump for any more
        self._until = START_S + most_s
        self._stop = stop
        self._timers: list[_Timer] = []
        self._timers_made = 0

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        """Return simulated seconds."""
        return self.now

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the start."""
        return self.now - START_S

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump: Trio asks only when no task can run."""
        if self.is_stopped:
            return 0.0
        timers = self._timers
        while timers and timers[0].task is None:
            heappop(timers)
        if timers and timers[0].at <= deadline and timers[0].at <= self._until:
            self._fire(timers[0].at)
        elif deadline == math.inf:
            self.stop(Deadlock(f"at {self.elapsed_s:.3f} s every task waits for another, and no deadline is left"))
        elif deadline > self._until:
            self.stop(Overdue(f"not at rest after {self._until - START_S:g} simulated seconds"))
        elif deadline > self.now:
            self.now = deadline
            self.steps = 0
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Sleep as ``trio.sleep`` does, for a fifth of its price: no cancel scope is made. Only for the world's own waiting."""
        self._timers_made += 1
        timer = _Timer(self.now + seconds, self._timers_made, trio.lowlevel.current_task())
        heappush(self._timers, timer)

        def abort(_: object) -> trio.lowlevel.Abort:
            timer.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _fire(self, at: float) -> None:
        """Jump, and wake all whose time has come."""
        self.now = max(self.now, at)
        self.steps = 0
        timers = self._timers
        while timers and timers[0].at <= self.now:
            timer = heappop(timers)
            if timer.task is not None:
                trio.lowlevel.reschedule(timer.task)

    def stop(self, why: Exception) -> None:
        """End the run with ``why``."""
        self.is_stopped = True
        self._stop(why)


class _Steps(trio.abc.Instrument):
    """Counts steps of tasks, and stops a run that does not get on."""

    def __init__(self, clock: DiscreteClock) -> None:
        self._clock = clock

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        clock = self._clock
        clock.steps += 1
        if clock.steps > STEPS_MOST and not clock.is_stopped:
            text = (
                f"at {clock.elapsed_s:.3f} s tasks took {STEPS_MOST} steps without an end, the last one {task.name!r}"
            )
            clock.stop(Livelock(text))


class Standstill:
    """Keeps some tasks from running, as SIGSTOP does a process: what wakes one of them meanwhile (an answer, a deadline, a cancellation) has it run when they
    all may again. Time goes on.

    Trio has no such thing: whatever is scheduled is taken out of the queue of what runs next. A task that is about to run does one step more.
    """

    _all: ClassVar[list[Standstill]] = []

    def __init__(self, has: Callable[[trio.lowlevel.Task], bool]) -> None:
        self._has = has
        self._held: list[trio.lowlevel.Task] = []

    def begin(self) -> None:
        """Let none of them run."""
        self._all.append(self)
        trio_run.Runner.reschedule = _reschedule  # type: ignore[method-assign, assignment]

    def end(self) -> None:
        """Let them run again, all that have been woken at once."""
        if self not in self._all:
            return
        self._all.remove(self)
        if not self._all:
            trio_run.Runner.reschedule = _USUAL  # type: ignore[method-assign]
        held, self._held = self._held, []
        trio_run.GLOBAL_RUN_CONTEXT.runner.runq.extend(held)

    @classmethod
    def end_all(cls) -> None:
        """End all of them: a run that ends waits for every task."""
        for each in tuple(cls._all):
            each.end()

    @classmethod
    def takes(cls, task: trio.lowlevel.Task) -> bool:
        """Keep a task that was scheduled if it stands still."""
        for each in cls._all:
            if each._has(task):
                each._held.append(task)
                return True
        return False


def _reschedule(runner: trio_run.Runner, task: trio.lowlevel.Task, *next_send: Any) -> None:
    _USUAL(runner, task, *next_send)
    if Standstill.takes(task):
        runner.runq.pop()


def is_pinned() -> bool:
    """Whether this interpreter walks sets of texts in the same order each time."""
    return os.environ.get("PYTHONHASHSEED") == "0"


def simulate(main: Callable[[DiscreteClock], Awaitable[T]], *, seed: int, most_s: float = math.inf) -> T:
    """Run ``main`` to its end, the same for the same seed. Raises Deadlock, Livelock or Overdue, with a note of what every task waited for."""
    scope = trio.CancelScope()
    stopped: list[Exception] = []

    def stop(why: Exception) -> None:
        why.add_note(waiting_tasks())
        stopped.append(why)
        Standstill.end_all()
        scope.cancel()

    clock = DiscreteClock(most_s, stop)

    async def guarded() -> T | None:
        try:
            with scope:
                return await main(clock)
        finally:
            Standstill.end_all()
            clock.is_stopped = True
        return None

    was_allowed, shuffled = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    trio_run._r.seed(seed)
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    _tidy()
    gc.disable()  # what it collects may have a finalizer, and when it comes depends on what this process did before
    try:
        result = trio.run(guarded, clock=clock, instruments=[_Steps(clock)])
    except BaseException as error:
        if stopped:
            raise stopped[0] from error
        raise
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = was_allowed  # type: ignore[misc]
        trio_run._r.setstate(shuffled)
        gc.enable()
    if stopped:
        raise stopped[0]
    return cast("T", result)


@cache
def _set_aside() -> None:
    """Keep what is there before the first run, modules above all, out of every later collection."""
    gc.collect()
    gc.freeze()


def _tidy() -> None:
    _set_aside()
    gc.collect()


def waiting_tasks() -> str:
    """Return a line for each task of this run: its name, and where it waits."""
    root = trio.lowlevel.current_root_task()
    lines: list[str] = []
    tasks = [] if root is None else [root]
    while tasks:
        task = tasks.pop()
        for nursery in task.child_nurseries:
            tasks += sorted(nursery.child_tasks, key=lambda each: each._counter, reverse=True)
        if not task.child_nurseries:
            lines.append(f"  {task.name}: {await_frame(task)}")
    return "waiting tasks:\n" + "\n".join(lines)


def strike(task: trio.lowlevel.Task, error: Exception) -> bool:
    """Make ``task`` raise ``error`` at the checkpoint where it waits, as if that had failed; False when it does not wait, or cannot be interrupted there."""

    def blow() -> NoReturn:
        raise error

    if task._abort_func is None:
        return False
    task._attempt_abort(blow)
    return task._abort_func is None
