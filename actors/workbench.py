"""Judging without a server: ``codewarz judge`` and ``codewarz problem verify``, with progress for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.errors import Invalid, NotFound
from contracts.verdicts import Verdict
from sandbox import capabilities
from sandbox.judging import Judged, Progress, judge
from sandbox.languages import Language, language_of
from sandbox.package import ProblemPackage
from sandbox.package_reader import load_package
from sandbox.pool import Pool
from sandbox.validators import Validators
from sandbox.verify import Report, SubmissionReport, verify
from supervisor.visible import visible

T = TypeVar("T")
Work = Callable[[Pool, Validators, dict[str, Language]], Awaitable[T]]
OnProgress = Callable[[Progress], Awaitable[None]]

COLOURS = {Verdict.AC: "green", Verdict.WA: "red", Verdict.JE: "magenta"}


def judge_file(package: Path, source: Path, language: str, on_progress: OnProgress) -> Judged:
    """Judge one file under a package; raises NotFound, Invalid, or SandboxUnavailable with the remedy."""
    loaded = load_package(package)
    if not source.is_file():
        raise NotFound(f"there is no file {source}")
    chosen = language or language_of(source.name)
    if chosen is None:
        raise Invalid(f"{source.name} does not tell its language: say it with --language")

    async def work(pool: Pool, validators: Validators, languages: dict[str, Language]) -> Judged:
        if chosen not in languages:
            raise Invalid(f"{chosen!r} cannot be judged on this machine; there is {', '.join(languages)}")
        content = await trio.Path(source).read_bytes()
        return await judge(pool, loaded, languages[chosen], content, validators=validators, on_progress=on_progress)

    return _with_sandboxes(work)


def verify_packages(paths: Sequence[Path], teller: VerifyTeller) -> list[Report]:
    """Verify packages one after the other."""
    packages = [load_package(path) for path in paths]

    async def work(pool: Pool, validators: Validators, languages: dict[str, Language]) -> list[Report]:
        reports = []
        for package in packages:
            teller.begin(package)
            report = await verify(package, pool, languages, validators=validators, on_submission=teller.submission)
            teller.end(report)
            reports.append(report)
        return reports

    return _with_sandboxes(work)


def _with_sandboxes(work: Work[T]) -> T:
    async def run() -> T:
        found = await capabilities.probe()
        provider = found.provider()
        pool = Pool(provider, 2)
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            try:
                return await work(pool, Validators(found.languages), found.languages)
            finally:
                nursery.cancel_scope.cancel()

    try:
        return trio.run(run)
    except BaseExceptionGroup as group:
        while len(group.exceptions) == 1 and isinstance(group.exceptions[0], BaseExceptionGroup):
            group = group.exceptions[0]
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


def printer(for_people: bool) -> OnProgress:
    """Return what shows each test as it comes."""
    console = Console(stderr=True)

    async def show(step: Progress) -> None:
        await trio.lowlevel.checkpoint()
        if not for_people or not console.is_terminal:
            return
        done = step.test.number if step.test else 0
        console.print(f"[dim]{step.state} {done}/{step.tests_total}[/]", end="\r")

    return show


class VerifyTeller:
    """Says how a verification goes, line by line; says nothing when only JSON is wanted."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._console = Console(quiet=is_quiet, highlight=False)

    def begin(self, package: ProblemPackage) -> None:
        """Name the package."""
        samples = len(package.samples)
        about = (
            f"{visible(package.slug)}, {package.format}, {samples} samples,"
            f" {len(package.tests) - samples} secret tests, {len(package.submissions)} submissions"
        )
        self._console.print(Text.assemble((visible(package.title), "bold"), " ", (about, "dim")))

    async def submission(self, report: SubmissionReport) -> None:
        """Tell of one submission as soon as it is judged."""
        await trio.lowlevel.checkpoint()
        path = visible(report.path)
        if report.skipped:
            self._console.print(Text.assemble("  ", ("–", "yellow"), f" {path}: {visible(report.skipped)}"))
            return
        mark = ("✓", "green") if report.is_as_expected else ("✗", "red")
        expected = "" if report.is_as_expected else f", expected {visible(' or '.join(report.expected))}"
        took = (f"{report.cpu_ms_max} ms", "dim")
        note = visible(report.note, lines=True)
        self._console.print(Text.assemble("  ", mark, f" {path}: {report.verdict}{expected} ", took, f" {note}"))

    def end(self, report: Report) -> None:
        """Tell what else was found, and whether the package keeps its promises."""
        for finding in report.findings:
            mark = ("✗", "red") if finding.level == "error" else ("!", "yellow")
            self._console.print(Text.assemble("  ", mark, f" {visible(finding.text, lines=True)}"))
        verdict = "[green]good[/]" if report.is_good else "[red]differs from its own annotations[/]"
        self._console.print(f"  {verdict}\n")


def judged_as_json(judged: Judged) -> dict[str, Any]:
    """Return what ``codewarz judge -o json`` prints."""
    return {
        "verdict": judged.verdict,
        "score": judged.score / 100,
        "tests": msgspec.to_builtins(judged.tests),
        "compile_output": judged.compile_output,
        "judge_error": judged.judge_error,
    }


def show_judged(judged: Judged) -> None:
    """Print a verdict with its tests."""
    console = Console()
    if judged.compile_output:
        console.print(Text(visible(judged.compile_output, lines=True), "dim"))
    table = Table(box=None, header_style="dim")
    for column in ("test", "verdict", "cpu ms", "wall ms", "memory KiB", ""):
        table.add_column(column, justify="left" if column in ("test", "verdict", "") else "right")
    for test in judged.tests:
        colour = COLOURS.get(test.verdict, "yellow")
        numbers = (str(test.cpu_ms), str(test.wall_ms), str(test.memory_kb))
        message = Text(visible(test.message, lines=True))
        table.add_row(Text(visible(test.name)), Text(test.verdict, colour), *numbers, message)
    if judged.tests:
        console.print(table)
    verdict = Verdict(judged.verdict)
    shown = (f"{verdict.value} {verdict.label}", f"bold {COLOURS.get(verdict, 'yellow')}")
    console.print(Text.assemble(shown, f" {visible(judged.judge_error, lines=True)}"))
