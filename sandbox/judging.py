"""Tests to verdict: compile in a box, seal it, run test after test, compare each output with the answer outside of it.

The outcome of a run is classified from the kernel's facts, in this order: memory, time, output, exit. A box that misbehaves says nothing about the
program: it is destroyed, and the submission judged again in another; the third time it is a judge error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from contracts.errors import Invalid
from contracts.verdicts import TestResult, Verdict, overall
from sandbox import scores
from sandbox.checker import check, parse_flags
from sandbox.languages import Language
from sandbox.package import FULL_SCORE, ProblemPackage, Test
from sandbox.pool import Pool
from sandbox.provider import KIB, MIB, Box, Command, File, Outcome, RunLimits, SandboxBroken
from sandbox.validators import Ruling, Validators

ATTEMPTS = 3
_WALL_FACTOR = 2
_WALL_EXTRA_MS = 2_000
_COMPILE_OUTPUT = 16 * KIB
_RUN_OUTPUT = 64 * KIB  # of a run that does not count, per test
_COMPILE_FILE = 128 * MIB
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
    before the answer is JE; with a Box SandboxBroken is raised. ``validators`` judges the outputs of packages with a custom validator; without
    it their tests end as JE. After cancellation a given box can only be closed.
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
        validators=validators,
    )
    if not isinstance(boxes, Pool):
        return await _judge_in(boxes, job)
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            async with boxes.box() as box:
                return await _judge_in(box, job)
        except SandboxBroken as problem:
            reason = problem.detail
    return Judged(verdict=Verdict.JE, judge_error=f"the sandbox broke {ATTEMPTS} times, last: {reason}")


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text


async def _judge_in(box: Box, job: _Job) -> Judged:
    await job.on_progress(Progress(state="compiling", tests_total=len(job.tests)))
    compiled = await compile_in(box, job.language, job.source, job.package)
    output = compiled.stderr.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    if compiled.exit_code != 0 or compiled.oom:
        return Judged(
            verdict=Verdict.CE,
            compile_output=_why_not_compiled(compiled, job) + output,
            compile_ms=compiled.cpu_us // 1000,
        )
    await box.seal()
    await job.on_progress(Progress(state="running", tests_total=len(job.tests)))
    results, fractions, outputs, errors = await _run_tests(box, job)
    verdicts = {result.number: result.verdict for result in results}
    verdict = overall([result.verdict for result in results])
    given = [verdicts.get(number, "") for number in range(1, len(job.tests) + 1)]
    return Judged(
        verdict=verdict,
        score=_score(job, verdict, given, fractions),
        tests=tuple(results),
        compile_output=output,
        compile_ms=compiled.cpu_us // 1000,
        cpu_ms_max=max((result.cpu_ms for result in results), default=0),
        memory_kb_max=max((result.memory_kb for result in results), default=0),
        outputs=tuple(outputs),
        judge_error="; ".join(errors),
    )


def _score(job: _Job, verdict: Verdict, given: list[str], fractions: list[float | None]) -> int:
    if job.is_run or verdict is Verdict.JE:
        return 0
    if job.package.is_scoring:
        return scores.total(job.package, given, fractions)
    return FULL_SCORE if verdict is Verdict.AC else 0


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


async def _run_tests(box: Box, job: _Job) -> tuple[list[TestResult], list[float | None], list[RunOutput], list[str]]:
    limits = run_limits(job.package, job.language, is_run=job.is_run)
    results: list[TestResult] = []
    fractions: list[float | None] = [None] * len(job.tests)
    outputs: list[RunOutput] = []
    errors: list[str] = []
    closed: set[int] = set()  # groups that stop at their first failure, and had it
    for number, test in enumerate(job.tests, 1):
        if job.package.is_scoring and not job.is_run and _is_below(job.package, test.group, closed):
            continue
        command = Command(argv=job.language.run, env=job.language.env, stdin=test.input, limits=limits)
        outcome = await box.run(command)
        verdict, message = classify(outcome, limits), _message(outcome)
        if job.is_run:
            cut = outcome.stdout_size > len(outcome.stdout)
            outputs.append(RunOutput(number=number, stdout=outcome.stdout, stderr=outcome.stderr, is_cut=cut))
        if verdict is None:
            ruling = await _rule(job, test, outcome)
            verdict, fractions[number - 1] = ruling.verdict, ruling.fraction
            if verdict is Verdict.JE:
                errors.append(f"{test.name}: {ruling.message}")
            elif test.is_sample or job.is_run:
                message = ruling.message
        result = _result(number, test, outcome, verdict, message)
        results.append(result)
        await job.on_progress(Progress(state="running", tests_total=len(job.tests), test=result))
        if verdict is not Verdict.AC:
            closed |= _closed_by(job.package, test.group)
            if (job.stop_at_first_failure and not job.package.is_scoring and not job.is_run) or verdict is Verdict.JE:
                break
    return results, fractions, outputs, errors


def _closed_by(package: ProblemPackage, group: int) -> set[int]:
    """Return the groups around a failed test that stop at their first failure."""
    found = set()
    while group >= 0:
        if package.groups[group].stops_at_failure:
            found.add(group)
        group = package.groups[group].parent
    return found


def _is_below(package: ProblemPackage, group: int, closed: set[int]) -> bool:
    while group >= 0:
        if group in closed:
            return True
        group = package.groups[group].parent
    return False


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


async def _rule(job: _Job, test: Test, outcome: Outcome) -> Ruling:
    if not job.has_answers:
        return Ruling(verdict=Verdict.AC)
    if job.package.validator is None:
        return await _compare(outcome.stdout, test)
    if job.validators is None:
        return Ruling(verdict=Verdict.JE, message="this package has its own output validator, and none is running here")
    return await job.validators.rule(job.package, test, outcome.stdout)


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
