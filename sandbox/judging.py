"""Tests to verdict: compile in a box, seal it, run test after test, compare each output with the answer outside of it.

The outcome of a run is classified from the kernel's facts, in this order: memory, time, output, exit. A box that misbehaves says nothing about the
program: it is destroyed, and the submission judged again in another; the third time it is a judge error.

A package's own validator rules in a box of its own, after the program's is gone: a submission never holds two, so as many boxes as workers
are enough for everybody and nobody can wait for a box while keeping another from being made. The price is that outputs are kept until then (at most
``_HELD_BYTES``; what comes after is run in another round) and that a wrong answer is found out only when the tests after it have been run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import trio

from contracts.errors import Invalid
from contracts.verdicts import TestResult, Verdict
from sandbox.checker import check, parse_flags
from sandbox.languages import Language
from sandbox.package import ProblemPackage, Test
from sandbox.pool import Pool
from sandbox.provider import KIB, MIB, Box, Command, File, Outcome, RunLimits, SandboxBroken
from sandbox.sheet import Sheet
from sandbox.validators import Ruling, Validators

ATTEMPTS = 3
_WALL_FACTOR = 2
_WALL_EXTRA_MS = 2_000
_COMPILE_OUTPUT = 16 * KIB
_RUN_OUTPUT = 64 * KIB  # of a run that does not count, per test
_COMPILE_FILE = 128 * MIB
_HELD_BYTES = 32 * MIB  # of outputs that wait for a validator
_INLINE_COMPARE = 64 * KIB  # comparing more goes to a thread: the loop has other people to serve
_COMPILE_MEMORY_KB = 1024 * 1024  # even where a package would allow more: a bomb costs at most this


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One step: ``state`` "compiling" or "running", and with ``test`` a finished test."""

    state: str
    tests_total: int
    test: TestResult | None = None


class RunOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What a run that does not count printed, bounded; ``is_cut`` when there was more."""

    number: int
    stdout: bytes
    stderr: bytes
    is_cut: bool


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The result of judging. ``score`` in hundredths of a point; ``outputs`` only of runs; ``judge_error`` is for staff."""

    verdict: Verdict
    score: int = 0
    tests: tuple[TestResult, ...] = ()
    compile_output: str = ""
    compile_ms: int = 0
    cpu_ms_max: int = 0
    memory_kb_max: int = 0
    outputs: tuple[RunOutput, ...] = ()
    judge_error: str = ""


OnProgress = Callable[[Progress], Awaitable[None]]


async def _silent(_progress: Progress) -> None:
    await trio.lowlevel.checkpoint()


Take = Callable[[], contextlib.AbstractAsyncContextManager[Box]]
Numbered = tuple[int, Test]


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    package: ProblemPackage
    language: Language
    source: bytes
    tests: tuple[Test, ...]
    is_run: bool
    has_answers: bool
    stop_at_first_failure: bool
    on_progress: OnProgress
    validators: Validators | None

    @property
    def is_ruled_later(self) -> bool:
        """Whether outputs wait for the package's own validator."""
        return self.has_answers and self.package.validator is not None and self.validators is not None


async def judge(
    boxes: Box | Pool,
    package: ProblemPackage,
    language: Language,
    source: str | bytes,
    *,
    stop_at_first_failure: bool = True,
    own_input: str | bytes | None = None,
    samples_only: bool = False,
    validators: Validators | None = None,
    on_progress: OnProgress = _silent,
) -> Judged:
    """Judge one submission.

    With ``own_input`` or ``samples_only`` it is a run: nothing counts, and what the program printed comes back. With a Pool a broken box is replaced twice
    before the answer is JE; with a Box SandboxBroken is raised. ``validators`` judges the outputs of packages with a custom validator, which takes
    a Pool; without it their tests end as JE. After cancellation a given box can only be closed.
    """
    tests = package.samples if samples_only else package.tests
    if own_input is not None:
        tests = (Test(name="own input", input=_bytes(own_input), answer=b""),)
    job = _Job(
        package=package,
        language=language,
        source=_bytes(source),
        tests=tests,
        is_run=samples_only or own_input is not None,
        has_answers=own_input is None,
        stop_at_first_failure=stop_at_first_failure,
        on_progress=on_progress,
        validators=validators if isinstance(boxes, Pool) else None,
    )
    if not isinstance(boxes, Pool):
        return await _attempt(lambda: contextlib.nullcontext(boxes), job)
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return await _attempt(boxes.box, job)
        except SandboxBroken as problem:
            reason = problem.detail
    return Judged(verdict=Verdict.JE, judge_error=f"the sandbox broke {ATTEMPTS} times, last: {reason}")


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text


async def _attempt(take: Take, job: _Job) -> Judged:
    """Judge once, from the first step: one box for the program, and after it one for the validator; twice the same when outputs are too many."""
    sheet = Sheet(job.package, job.tests, is_run=job.is_run, stop_at_first_failure=job.stop_at_first_failure)
    waiting: Sequence[Numbered] = tuple(enumerate(job.tests, 1))
    first: Outcome | None = None
    outputs: list[RunOutput] = []
    while True:
        async with take() as box:
            compiled = await _compile(box, job)
            if compiled.exit_code != 0 or compiled.oom:
                if first is not None:
                    raise SandboxBroken("a program compiled the first time and not the second")
                return Judged(
                    verdict=Verdict.CE,
                    compile_output=_why_not_compiled(compiled, job) + _messages(compiled),
                    compile_ms=compiled.cpu_us // 1000,
                )
            first = first or compiled
            ran, waiting = await _run_tests(box, job, sheet, waiting, outputs)
        if ran:
            async with take() as box:
                await _rule_later(box, job, sheet, ran)
        if sheet.is_over or not waiting:
            break
    results = sheet.results
    return Judged(
        verdict=sheet.verdict,
        score=sheet.score(),
        tests=tuple(results),
        compile_output=_messages(first),
        compile_ms=first.cpu_us // 1000,
        cpu_ms_max=max((result.cpu_ms for result in results), default=0),
        memory_kb_max=max((result.memory_kb for result in results), default=0),
        outputs=tuple(outputs),
        judge_error="; ".join(sheet.errors),
    )


async def _compile(box: Box, job: _Job) -> Outcome:
    await job.on_progress(Progress(state="compiling", tests_total=len(job.tests)))
    compiled = await compile_in(box, job.language, job.source, job.package)
    if compiled.exit_code == 0 and not compiled.oom:
        await box.seal()
        await job.on_progress(Progress(state="running", tests_total=len(job.tests)))
    return compiled


def _messages(compiled: Outcome) -> str:
    return compiled.stderr.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


async def compile_in(box: Box, language: Language, source: bytes, package: ProblemPackage) -> Outcome:
    """Put ``source`` into a fresh box and compile it there; the compiler's messages are the outcome's ``stderr``."""
    await box.put(File(f"/box/{language.source_file}", source))
    return await box.run(compile_command(language, package))


def compile_command(language: Language, package: ProblemPackage) -> Command:
    """Return how ``language`` compiles under a package's limits."""
    limits = package.limits
    return Command(
        argv=language.compile,
        cwd="/box",
        env=language.env,
        merge=True,
        limits=RunLimits(
            cpu_ms=limits.compile_ms,
            wall_ms=limits.compile_ms + _WALL_EXTRA_MS,
            memory_kb=min(limits.compile_memory_kb, _COMPILE_MEMORY_KB),
            processes=max(64, language.processes),
            file_bytes=_COMPILE_FILE,
            open_files=512,
            stdout_bytes=0,
            stderr_bytes=_COMPILE_OUTPUT,
            address_space=language.address_space,
        ),
    )


def _why_not_compiled(compiled: Outcome, job: _Job) -> str:
    if compiled.oom:
        return f"The compiler used more than {min(job.package.limits.compile_memory_kb, _COMPILE_MEMORY_KB) // 1024} MiB of memory.\n"
    if compiled.stopped or compiled.cpu_us >= job.package.limits.compile_ms * 1000:
        return f"The compiler ran longer than {job.package.limits.compile_ms / 1000:g} s.\n"
    if compiled.signal is not None:
        return f"The compiler was ended by signal {compiled.signal}.\n"
    return ""


def run_limits(package: ProblemPackage, language: Language, *, is_run: bool = False) -> RunLimits:
    """Return what a submission in ``language`` may use on one test of ``package``."""
    limits = package.limits
    cpu_ms = round(limits.time_ms * language.time_factor)
    output = limits.output_kb * KIB
    return RunLimits(
        cpu_ms=cpu_ms,
        wall_ms=cpu_ms * _WALL_FACTOR + _WALL_EXTRA_MS,
        memory_kb=limits.memory_kb + language.extra_memory_kb,
        processes=language.processes,
        file_bytes=output,
        stdout_bytes=min(output, _RUN_OUTPUT) if is_run else output,
        stderr_bytes=_RUN_OUTPUT if is_run else 4 * KIB,
        address_space=language.address_space,
    )


def classify(outcome: Outcome, limits: RunLimits) -> Verdict | None:
    """Return what the facts of a run say, None when the output is to be judged."""
    if outcome.oom:
        return Verdict.MLE
    if outcome.stopped or outcome.cpu_us >= limits.cpu_ms * 1000:
        return Verdict.TLE
    if outcome.stdout_size > limits.file_bytes:
        return Verdict.OLE
    if outcome.exit_code != 0:
        return Verdict.RTE
    return None


class _Ran(msgspec.Struct, frozen=True):
    """A test that was run; ``verdict`` None while its output waits for the validator."""

    number: int
    test: Test
    outcome: Outcome
    verdict: Verdict | None


async def _run_tests(
    box: Box, job: _Job, sheet: Sheet, waiting: Sequence[Numbered], outputs: list[RunOutput]
) -> tuple[list[_Ran], Sequence[Numbered]]:
    """Run tests until a failure ends them or enough outputs wait for the validator; return those, and what is still to be run."""
    limits = run_limits(job.package, job.language, is_run=job.is_run)
    ran: list[_Ran] = []
    foreseen = sheet.fork()  # what can be known of failures before the validator has ruled
    held = 0
    for position, (number, test) in enumerate(waiting):
        if foreseen.is_skipped(test):
            continue
        command = Command(argv=job.language.run, env=job.language.env, stdin=test.input, limits=limits)
        outcome = await box.run(command)
        verdict = classify(outcome, limits)
        if job.is_run:
            cut = outcome.stdout_size > len(outcome.stdout)
            outputs.append(RunOutput(number=number, stdout=outcome.stdout, stderr=outcome.stderr, is_cut=cut))
        if not job.is_ruled_later:
            ruling = await _rule_now(job, test, outcome) if verdict is None else None
            await _enter(job, sheet, _Ran(number, test, outcome, verdict), ruling)
            foreseen = sheet
        else:
            ran.append(_Ran(number, test, outcome, verdict))
            if verdict is not None:
                foreseen.fail(test, verdict)
            held += len(outcome.stdout)
        if foreseen.is_over:
            return ran, ()
        if held > _HELD_BYTES:
            return ran, waiting[position + 1 :]
    return ran, ()


async def _rule_later(box: Box, job: _Job, sheet: Sheet, ran: Sequence[_Ran]) -> None:
    """Let the package's validator rule on outputs in their order, as if each had been ruled on when it came."""
    assert job.validators is not None
    assert job.package.validator is not None
    bench = await job.validators.furnish(box, job.package.validator)
    for each in ran:
        if sheet.is_over:
            return
        if sheet.is_skipped(each.test):
            continue
        ruling = await bench.rule(job.package.limits, each.test, each.outcome.stdout) if each.verdict is None else None
        await _enter(job, sheet, each, ruling)


async def _enter(job: _Job, sheet: Sheet, ran: _Ran, ruling: Ruling | None) -> None:
    """Write one test's result down and tell of it; ``ruling`` None when the run itself failed."""
    test, outcome = ran.test, ran.outcome
    if ruling is None:
        assert ran.verdict is not None
        verdict, message = ran.verdict, _message(outcome)
    else:
        verdict = ruling.verdict
        is_shown = verdict is not Verdict.JE and (test.is_sample or job.is_run)
        message = ruling.message if is_shown else _message(outcome)
    result = _result(ran.number, test, outcome, verdict, message)
    sheet.enter(test, result, ruling)
    await job.on_progress(Progress(state="running", tests_total=len(job.tests), test=result))


def _message(outcome: Outcome) -> str:
    if outcome.oom or outcome.stopped == "cpu":
        return ""
    if outcome.stopped == "wall":
        return "stopped by the wall clock limit: it waited, slept or read input that never came"
    if outcome.signal is not None:
        return f"ended by signal {outcome.signal}"
    return f"exit status {outcome.exit_code}" if outcome.exit_code else ""


def _result(number: int, test: Test, outcome: Outcome, verdict: Verdict, message: str) -> TestResult:
    return TestResult(
        number=number,
        verdict=verdict,
        cpu_ms=outcome.cpu_us // 1000,
        wall_ms=outcome.wall_us // 1000,
        memory_kb=outcome.memory_kb,
        name=test.name,
        message=message,
    )


async def _rule_now(job: _Job, test: Test, outcome: Outcome) -> Ruling:
    if not job.has_answers:
        return Ruling(verdict=Verdict.AC)
    if job.package.validator is None:
        return await _compare(outcome.stdout, test)
    return Ruling(verdict=Verdict.JE, message="this package has its own output validator, and none is running here")


async def _compare(output: bytes, test: Test) -> Ruling:
    try:
        flags = parse_flags(test.args)
    except Invalid as problem:
        return Ruling(verdict=Verdict.JE, message=problem.detail)
    if len(output) + len(test.answer) > _INLINE_COMPARE:
        match = await trio.to_thread.run_sync(check, output, test.answer, flags)
    else:
        match = check(output, test.answer, flags)
    return Ruling(verdict=Verdict.AC if match.is_right else Verdict.WA, message=match.reason)
