"""What ``codewarz simulate`` does: many runs, or one. Each returns the exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

import click
import msgspec
import trio
from rich.console import Console

from chaos.simulation.batch import Batch, Tally, Tries, Worker, workers
from chaos.simulation.faults import Options, parse_seeds
from chaos.simulation.job import Done, Job, command, read_options
from chaos.simulation.report import Report, Shrunk, make_report
from chaos.simulation.show import Sayer, Shrinking, Watch
from chaos.simulation.shrink import shrink
from chaos.simulation.timeline import life_of
from contracts.errors import Invalid

HELD = 0
BROKEN = 1
INTERRUPTED = 130  # as a shell has it for Ctrl-C
SHRUNK_MOST = 3  # failures of a batch, each of another invariant
WIDE = 160  # columns of what is not a terminal
UNSHRINKABLE = ("replay", "worker")  # not seen in one run, or not in reasonable time


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says, besides what to run."""

    jobs: int | None = None  # None: one for each core
    scenario: str = ""
    timeline: str = ""
    is_shrinking: bool = False
    is_json: bool = False

    @property
    def processes(self) -> int:
        """How many workers."""
        return self.jobs or len(os.sched_getaffinity(0))

    def sayer(self, *, to_stderr: bool = False) -> Sayer:
        """Return where people read. Beside JSON that is the other stream, and only if it is a terminal."""
        console = Console(stderr=self.is_json or to_stderr, highlight=False)
        if not console.is_terminal:
            console = Console(stderr=console.stderr, highlight=False, width=WIDE, quiet=self.is_json)
        return Sayer(console)


async def many(asked: Asked, seeds: str) -> int:
    """Run a batch. Invalid when there is nothing that could be run."""
    wanted, sayer = parse_seeds(seeds), asked.sayer()

    def on_done(done: Done) -> None:
        watch.step()
        if done.violations:
            sayer.failure(done)

    batch = Batch(wanted, scenario=asked.scenario, many=asked.processes, on_done=on_done)
    with Watch(sayer.console, batch.tally, len(wanted)) as watch:
        is_interrupted = await _until_signal(batch.run)
    if batch.refused:
        raise Invalid(batch.refused)
    is_complete = not (is_interrupted or asked.scenario)
    report = make_report(seeds, batch.tally, is_complete=is_complete)
    sayer.report(report, batch.tally, len(wanted), is_complete=is_complete)
    if asked.is_shrinking and not is_interrupted:
        is_interrupted = await _until_signal(lambda: _shrink_some(asked, sayer, batch.tally, report))
    if asked.is_json:
        click.echo(msgspec.json.encode(report))
    return INTERRUPTED if is_interrupted else BROKEN if report.violations else HELD


async def one(asked: Asked, seed: int | None, options: str) -> int:
    """Run one seed, or options; show its trace, a submission's life in it, or make it smaller."""
    given = read_options(options) if options else None
    job = Job(
        seed=given.seed if given is not None else seed or 0,
        options=given,
        scenario=asked.scenario,
        is_kept=not asked.is_shrinking,
    )
    sayer = asked.sayer(to_stderr=not sys.stdout.isatty())
    tally, answers, printed = Tally(), list[Done](), list[str]()

    async def run() -> None:
        async with workers(1) as (worker,):
            answers.append(await worker.do(job))
            printed.append(await worker.close())

    if await _until_signal(run):
        return INTERRUPTED
    done = answers[0]
    if done.refused:
        raise Invalid(done.refused)
    click.echo(printed[0], err=True, nl=False)
    tally.add(done)
    tally.failures += [done] if done.violations else []
    report = make_report(str(job.seed), tally)
    if asked.timeline:
        _show_life(asked, done)
        return BROKEN if done.violations else HELD
    if job.is_kept and not asked.is_json:
        _show_trace(done)
    sayer.run(done)
    if asked.is_shrinking and await _until_signal(lambda: _shrink_some(asked, sayer, tally, report)):
        return INTERRUPTED
    if asked.is_json:
        click.echo(msgspec.json.encode(report))
    return BROKEN if done.violations else HELD


def _show_life(asked: Asked, done: Done) -> None:
    life = life_of(asked.timeline, done.lines)
    if asked.is_json:
        click.echo(msgspec.json.encode({"seed": done.job.seed, **msgspec.to_builtins(life)}))
    else:
        asked.sayer().life(life, done.job.seed)


def _show_trace(done: Done) -> None:
    """Page the whole trace on a terminal; print it where there is none."""
    click.echo_via_pager(f"{line}\n" for line in done.lines)


async def _shrink_some(asked: Asked, sayer: Sayer, tally: Tally, report: Report) -> None:
    """Shrink a failure of each invariant, the lowest seed of each."""
    chosen: dict[str, Done] = {}
    for done in sorted(tally.failures, key=lambda each: each.job.seed):
        chosen.setdefault(done.violations[0].invariant, done)
    async with workers(asked.processes) as usual:
        for invariant, done in list(chosen.items())[:SHRUNK_MOST]:
            if done.options is None or invariant in UNSHRINKABLE:
                sayer.line(f"seed {done.job.seed}: a violation of {invariant!r} cannot be shrunk")
                continue
            shrunk = await _shrink(asked, sayer, done, usual)
            for found in report.violations:
                if found.seed == done.job.seed:
                    found.shrunk = shrunk


async def _shrink(asked: Asked, sayer: Sayer, done: Done, usual: Sequence[Worker]) -> Shrunk:
    before, invariant = done.options, done.violations[0].invariant
    assert before is not None
    tries, best = Tries(usual, invariant, asked.scenario), [before]

    def step(smaller: Options) -> None:
        best[0] = smaller
        shown.step(smaller)

    def found() -> Shrunk:
        return Shrunk(best[0], command(Job(seed=best[0].seed, options=best[0], scenario=asked.scenario)), tries.runs)

    with Shrinking(sayer.console, done.job.seed, invariant, lambda: tries.runs) as shown:
        try:
            await shrink(before, tries.first_failing, step)
        except trio.Cancelled:
            if best[0] != before:
                sayer.shrunk(before, found(), tries.last, is_interrupted=True)
            raise
    sayer.shrunk(before, found(), tries.last)
    return found()


async def _until_signal(run: Callable[[], Awaitable[None]]) -> bool:
    """Run, and end it when somebody wants it to end (Ctrl-C, SIGTERM): then return True."""
    is_wanted = False

    async def listen(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        nonlocal is_wanted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                is_wanted = True
                scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(listen, nursery.cancel_scope)
        await run()
        nursery.cancel_scope.cancel()
    return is_wanted
