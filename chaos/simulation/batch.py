"""Many runs in several processes, which are fed one job at a time; some runs are made twice, by two processes, and compared.

A worker that dies, or that is silent for too long in real time, is a failure of the seed that it had, and is replaced.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice

import msgspec
import trio

from chaos.invariants import Violation
from chaos.simulation.faults import Options
from chaos.simulation.job import READY, Done, Job

COMMAND = (sys.executable, "-P", "-m", "chaos.simulation.worker")
SILENT_S_MOST = 120.0  # of real time, for one run; a usual one takes less than one second
LINE_MOST = 256 << 20  # bytes of an answer: a whole trace is some hundred kilobytes
STDERR_KEPT = 64_000  # bytes of what a worker says last
LAST_WORDS_MOST = 4_000  # letters of it that a violation tells
END_S_MOST = 2.0
TWICE_EVERY = 20  # a seed that this divides is run twice
TRACED_FAILURES_MOST = 5  # of a batch: whoever breaks everything does not want a thousand traces
CONTEXT = 3  # lines before the first that differs


def environment() -> dict[str, str]:
    """Return the environment of a worker: ours, without what could make a run another one."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("CODEWARZ_")}
    return usual | {"PYTHONHASHSEED": "0"}


class WorkerLost(Exception):
    """A worker died or fell silent; the words say how."""


class Worker:
    """A process that runs jobs, one after the other. It is started when it is needed, and again after it was lost."""

    def __init__(self, nursery: trio.Nursery, command: Sequence[str] = COMMAND) -> None:
        self._nursery = nursery
        self._command = command
        self._process: trio.Process | None = None
        self._is_ready = False
        self._received = bytearray()
        self._stderr = bytearray()
        self._said_all = trio.Event()

    async def start(self) -> None:
        """Start its process, which then gets ready by itself."""
        self._received, self._stderr, self._said_all = bytearray(), bytearray(), trio.Event()
        self._is_ready = False
        opened = partial(
            trio.run_process,
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(),
            deliver_cancel=_kill,
        )
        process = await self._nursery.start(opened)
        self._process = process
        self._nursery.start_soon(_drain, process, self._stderr, self._said_all, name="a worker's stderr")

    async def do(self, job: Job) -> Done:
        """Have a job done. A worker that is lost over it is a violation of its own kind; one that never got ready refuses everything."""
        if self._process is None:
            await self.start()
        try:
            with trio.fail_after(SILENT_S_MOST):
                return await self._ask(job)
        except trio.TooSlowError:
            why = f"no answer within {SILENT_S_MOST:g} s of real time: the run hangs outside of simulated time"
        except WorkerLost as error:
            why = str(error)
        self.end()
        if not self._is_ready:
            return Done(job=job, refused=f"no run can begin: {why}")
        return Done(job=job, options=job.options, violations=(Violation("worker", why),))

    async def close(self) -> str:
        """Let its process end, and return what was printed in it: by code under test, with which somebody tries to find out."""
        process = self._process
        if process is not None and process.stdin is not None:
            await process.stdin.aclose()
            with trio.move_on_after(END_S_MOST):
                await self._said_all.wait()
        self.end()
        return self._stderr.decode(errors="replace")

    def end(self) -> None:
        """End its process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    async def _ask(self, job: Job) -> Done:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            if not self._is_ready:
                self._is_ready = await self._line(process) == READY
            await process.stdin.send_all(msgspec.json.encode(job) + b"\n")
            return msgspec.json.decode(await self._line(process), type=Done)
        except (trio.BrokenResourceError, msgspec.DecodeError) as error:
            raise WorkerLost(await self._last_words(process, str(error))) from error

    async def _line(self, process: trio.Process) -> bytes:
        assert process.stdout is not None
        received, looked_at = self._received, 0
        while (end := received.find(b"\n", looked_at)) < 0:
            looked_at = len(received)
            more = await process.stdout.receive_some()
            if not more or len(received) > LINE_MOST:
                raise WorkerLost(await self._last_words(process, "it gave no answer"))
            received += more
        line = bytes(received[:end])
        del received[: end + 1]
        return line

    async def _last_words(self, process: trio.Process, why: str) -> str:
        """Say how a process ended, and what it said."""
        with trio.move_on_after(END_S_MOST):
            await process.wait()
            await self._said_all.wait()
        said = self._stderr.decode(errors="replace").strip()[-LAST_WORDS_MOST:]
        how = "is still there" if process.returncode is None else f"ended with status {process.returncode}"
        return f"the worker {how}, {why}" + (f"\n{said}" if said else "")


async def _drain(process: trio.Process, kept: bytearray, is_over: trio.Event) -> None:
    assert process.stderr is not None
    async for piece in process.stderr:
        kept += piece
        del kept[:-STDERR_KEPT]
    is_over.set()


async def _kill(process: trio.Process) -> None:
    process.kill()


@asynccontextmanager
async def workers(many: int, command: Sequence[str] = COMMAND) -> AsyncIterator[list[Worker]]:
    """Have workers during the block; they are gone when it ends."""
    async with trio.open_nursery() as nursery:
        yield [Worker(nursery, command) for _ in range(many)]
        nursery.cancel_scope.cancel()


class Tally:
    """What a batch came to, as far as it went."""

    def __init__(self) -> None:
        self.submissions = 0
        self.simulated_s = 0.0
        self.seeds = 0
        self.twice = 0
        self.counts: Counter[str] = Counter()
        self.traces: dict[int, str] = {}
        self.points: set[str] = set()
        self.failures: list[Done] = []
        self.began = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Real seconds since the start."""
        return time.perf_counter() - self.began

    def add(self, done: Done) -> None:
        """Take a run's result in."""
        self.seeds += 1
        self.submissions += done.submissions
        self.simulated_s += done.simulated_s
        self.counts.update(done.sometimes)
        self.points.update(done.points)
        if done.trace:
            self.traces[done.job.seed] = done.trace


OnDone = Callable[[Done], None]


class Batch:
    """Jobs, one for each seed, over ``many`` processes. ``tally`` is right at any moment, so that a batch that is interrupted still tells what it found."""

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        scenario: str = "",
        many: int = 1,
        on_done: OnDone = lambda _: None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.tally = Tally()
        self._seeds = seeds
        self._scenario = scenario
        self._many = max(1, min(many, len(seeds)))
        self._on_done = on_done
        self._command = command
        self._auditing = trio.Lock()
        self.refused = ""  # the sentence that says why nothing of this can be run

    async def run(self) -> None:
        """Run all."""
        async with workers(self._many + 1, self._command) as (auditor, *usual):
            if any(map(is_twice, self._seeds)):
                await auditor.start()  # at the same time as the others, so that all of them have read the same files
            async with trio.open_nursery() as nursery:
                left = iter(self._seeds)
                for worker in usual:
                    nursery.start_soon(self._lane, worker, auditor, left, nursery.cancel_scope)

    async def _lane(self, worker: Worker, auditor: Worker, left: Iterator[int], everybody: trio.CancelScope) -> None:
        for seed in left:
            job = Job(seed=seed, scenario=self._scenario, is_kept=is_twice(seed))
            done = await worker.do(job)
            if done.refused:
                self.refused = done.refused
                everybody.cancel()
                return
            self.tally.add(done)
            if job.is_kept and done.trace:
                done = await self._again(done, auditor)
            if done.violations:
                if done.trace and not job.is_kept and len(self.tally.failures) < TRACED_FAILURES_MOST:
                    done = await self._with_its_trace(done, worker)
                self.tally.failures.append(done)
            self._on_done(done)

    async def _with_its_trace(self, done: Done, worker: Worker) -> Done:
        """Run a failure again for its trace, which is not kept of every run."""
        again = await worker.do(msgspec.structs.replace(done.job, is_kept=True))
        if again.trace == done.trace:
            return msgspec.structs.replace(done, lines=again.lines)
        found = Violation("replay", f"run again by the same process, the trace was {again.trace} and not {done.trace}")
        return msgspec.structs.replace(done, violations=(*done.violations, found))

    async def _again(self, first: Done, auditor: Worker) -> Done:
        """Run it a second time in another process, and add what differs. One at a time: meanwhile the lane waits, so that no more than so many run."""
        async with self._auditing:
            second = await auditor.do(first.job)
        self.tally.twice += 1
        if second.trace == first.trace:
            return first
        if not second.trace:
            return msgspec.structs.replace(first, violations=(*first.violations, *second.violations))
        found = Violation("replay", difference(first.lines, second.lines))
        return msgspec.structs.replace(first, violations=(*first.violations, found))


def is_twice(seed: int) -> bool:
    """Whether a batch runs this seed twice."""
    return seed % TWICE_EVERY == 0


def difference(first: Sequence[str], second: Sequence[str]) -> str:
    """Show the first line in which two traces differ, below what both have before it."""
    at = next(
        (number for number, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
    both = [f"  both    {line}" for line in first[max(0, at - CONTEXT) : at]]
    one, other = (lines[at] if at < len(lines) else "(the trace ends)" for lines in (first, second))
    head = f"two processes gave two traces; they differ from line {at + 1} on, of {len(first)} and {len(second)}"
    return "\n".join((head, *both, f"  first   {one}", f"  second  {other}"))


class Tries:
    """Options tried out one after the other, several at a time, for ``shrink``."""

    def __init__(self, usual: Sequence[Worker], invariant: str, scenario: str = "") -> None:
        self._usual = usual
        self._invariant = invariant
        self._scenario = scenario
        self.runs = 0
        self.last: Done | None = None  # the newest that failed

    async def first_failing(self, candidates: Iterable[Options]) -> Options | None:
        """Return the first, in their order, that breaks the same invariant; which it is does not depend on how many run at a time."""
        waiting = iter(candidates)
        while True:
            several = list(islice(waiting, len(self._usual)))
            if not several:
                return None
            answers: dict[int, Done] = {}

            async def one(number: int, options: Options, worker: Worker, into: dict[int, Done] = answers) -> None:
                into[number] = await worker.do(Job(seed=options.seed, options=options, scenario=self._scenario))

            async with trio.open_nursery() as nursery:
                for number, (options, worker) in enumerate(zip(several, self._usual, strict=False)):
                    nursery.start_soon(one, number, options, worker)
            self.runs += len(several)
            for number, options in enumerate(several):
                if any(each.invariant == self._invariant for each in answers[number].violations):
                    self.last = answers[number]
                    return options
