"""Does a package keep its own promises? Judge its ``submissions/`` here and compare with what their folders or annotations expect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import trio

from contracts.verdicts import Verdict
from sandbox.judging import Judged, judge
from sandbox.languages import Language
from sandbox.package import JurySubmission, ProblemPackage
from sandbox.pool import Pool
from sandbox.validators import Validators

_SLOW_SHARE = (
    0.5  # of the time limit: an accepted submission slower than this leaves too little room for another machine
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One remark. Only an "error" makes a package differ from its promises."""

    level: Literal["error", "warning"]
    text: str


class SubmissionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One jury submission: what was expected and what it got. ``skipped`` says why it was not judged."""

    path: str
    language: str | None
    expected: tuple[str, ...]
    verdict: str = ""
    score: int = 0
    cpu_ms_max: int = 0
    memory_kb_max: int = 0
    is_as_expected: bool = True
    skipped: str = ""
    note: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything ``problem verify`` says. ``is_good`` when nothing differs from the package's own annotations."""

    slug: str
    title: str
    digest: str
    tests: int
    samples: int
    is_good: bool
    findings: tuple[Finding, ...]
    submissions: tuple[SubmissionReport, ...]


OnSubmission = Callable[[SubmissionReport], Awaitable[None]]


async def _silent(_report: SubmissionReport) -> None:
    await trio.lowlevel.checkpoint()


async def verify(
    package: ProblemPackage,
    pool: Pool,
    languages: dict[str, Language],
    *,
    validators: Validators | None = None,
    at_once: int = 1,
    on_submission: OnSubmission = _silent,
) -> Report:
    """Judge every submission of a package, ``at_once`` at a time (more than one makes times less sure), and report."""
    reports: dict[str, SubmissionReport] = {}
    free = trio.Semaphore(at_once)

    async def one(submission: JurySubmission) -> None:
        report = await _judge_one(package, pool, languages, submission, validators)
        reports[submission.path] = report
        await on_submission(report)
        free.release()

    async with trio.open_nursery() as nursery:
        for submission in package.submissions:
            await free.acquire()  # here and not in the task, so that they are begun in their order
            nursery.start_soon(one, submission)
    ordered = tuple(reports[submission.path] for submission in package.submissions)
    findings = (*_look(package), *_differences(ordered), *_time_limit(package, ordered, languages))
    return Report(
        slug=package.slug,
        title=package.title,
        digest=package.digest,
        tests=len(package.tests),
        samples=len(package.samples),
        is_good=not any(finding.level == "error" for finding in findings),
        findings=findings,
        submissions=ordered,
    )


def _look(package: ProblemPackage) -> list[Finding]:
    found = [Finding(level="warning", text=text) for text in package.warnings]
    if not package.statements:
        found.append(
            Finding(
                level="error",
                text="there is no statement: add statement/problem.en.md (legacy: problem_statement/problem.en.md)",
            )
        )
    if not package.samples:
        found.append(Finding(level="warning", text="there are no samples in data/sample"))
    if len(package.samples) == len(package.tests):
        found.append(Finding(level="error", text="there are no secret tests in data/secret"))
    if not any(submission.expected.verdicts == ("AC",) for submission in package.submissions):
        found.append(
            Finding(level="error", text="no submission in submissions/accepted shows that the problem can be solved")
        )
    return found


async def _judge_one(
    package: ProblemPackage,
    pool: Pool,
    languages: dict[str, Language],
    submission: JurySubmission,
    validators: Validators | None,
) -> SubmissionReport:
    expected = submission.expected.verdicts
    language = languages.get(submission.language or "")
    if language is None:
        why = (
            f"{submission.language} is not available on this machine"
            if submission.language
            else "its language is not known"
        )
        return SubmissionReport(path=submission.path, language=submission.language, expected=expected, skipped=why)
    programs = [source for source in submission.sources if source.name.endswith(language.extensions)]
    if len(programs) != 1:
        why = "submissions of several files are not supported"
        return SubmissionReport(path=submission.path, language=language.id, expected=expected, skipped=why)
    judged = await judge(pool, package, language, programs[0].content, validators=validators)
    is_right = _is_expected(submission, judged)
    return SubmissionReport(
        path=submission.path,
        language=language.id,
        expected=expected,
        verdict=judged.verdict.value,
        score=judged.score,
        cpu_ms_max=judged.cpu_ms_max,
        memory_kb_max=judged.memory_kb_max,
        is_as_expected=is_right,
        note="" if is_right else _explain(judged),
    )


def _is_expected(submission: JurySubmission, judged: Judged) -> bool:
    expected = submission.expected
    if judged.verdict.value not in expected.verdicts:
        return False
    low, high = expected.score_low, expected.score_high
    return (low is None or judged.score >= low) and (high is None or judged.score <= high)


def _explain(judged: Judged) -> str:
    if judged.verdict is Verdict.JE:
        return judged.judge_error
    if judged.verdict is Verdict.CE:
        return judged.compile_output[:400]
    failed = next((test for test in judged.tests if test.verdict is judged.verdict), None)
    return f"test {failed.name}: {failed.message}".rstrip(": ") if failed is not None else ""


def _differences(reports: tuple[SubmissionReport, ...]) -> list[Finding]:
    found = []
    for report in reports:
        if report.skipped:
            found.append(Finding(level="warning", text=f"submissions/{report.path} was not judged: {report.skipped}"))
        elif not report.is_as_expected:
            wanted = " or ".join(report.expected)
            text = f"submissions/{report.path} got {report.verdict} with score {report.score / 100:g}, expected {wanted}: {report.note}"
            found.append(Finding(level="error", text=text.rstrip(": ")))
    return found


def _time_limit(
    package: ProblemPackage, reports: tuple[SubmissionReport, ...], languages: dict[str, Language]
) -> list[Finding]:
    found = []
    for submission, report in zip(package.submissions, reports, strict=True):
        if not submission.expected.sets_time_limit or report.verdict != "AC" or report.language is None:
            continue
        limit = package.limits.time_ms * languages[report.language].time_factor
        if report.cpu_ms_max > _SLOW_SHARE * limit:
            text = f"submissions/{report.path} takes {report.cpu_ms_max} ms of {limit:g} ms: the time limit leaves little room"
            found.append(Finding(level="warning", text=text))
    return found
