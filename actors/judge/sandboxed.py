"""The ``Judging`` port on real sandboxes: a warm pool, the machine's languages, and problem setters' validators."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trio

from actors.problems import summarise
from contracts.life import State
from contracts.messages import Finding, Kind, Offer, ProblemBlob, Verification, Work
from contracts.ports import Judgement, Witness
from contracts.verdicts import Verdict
from sandbox.judging import Judged, Progress, RunOutput, judge
from sandbox.languages import Language
from sandbox.package import ProblemPackage
from sandbox.package_reader import package_from_zip
from sandbox.pool import Pool
from sandbox.validators import Validators
from sandbox.verify import Report, verify
from supervisor.context import Context

_PACKAGES_MOST = 32  # decoded packages kept: what a contest needs, bounded
_DECODE_INLINE = 1 << 20  # a larger package is decoded in a thread: the loop has other people to serve


@dataclass
class SandboxedJudging:
    """Judges with ``pool``; its actor is ``run``, and outside of that actor's life judging raises SandboxUnavailable."""

    pool: Pool
    validators: Validators
    languages: dict[str, Language]
    _packages: OrderedDict[str, ProblemPackage] = field(default_factory=OrderedDict)

    async def run(self, ctx: Context[None]) -> None:
        """Keep the boxes for as long as the actor lives."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.pool.run, name="sandbox pool")
            ctx.ready()

    def offers(self) -> Sequence[Offer]:
        """Return the languages found on this machine."""
        return [Offer(each.id, each.name, each.version) for each in self.languages.values()]

    def sandboxes(self) -> Mapping[str, int]:
        """Return the pool's counts."""
        now = self.pool.statistics()
        return {"starting": now.starting, "warm": now.warm, "busy": now.busy, "peak": now.peak}

    async def judge(self, work: Work, blob: ProblemBlob, witness: Witness) -> Judgement:
        """Judge one attempt; a language that has left this machine is a judge error, not the contestant's."""
        language = self.languages.get(work.language)
        if language is None:
            return Judgement(verdict=Verdict.JE, judge_error=f"this judge has no {work.language}")
        package = await self._unpack(blob)

        async def tell(step: Progress) -> None:
            await witness(State(step.state), step.test, step.tests_total)

        judged = await judge(
            self.pool,
            package,
            language,
            work.source,
            own_input=work.stdin if work.kind is Kind.RUN else None,
            samples_only=work.kind is Kind.RUN and work.stdin is None,
            validators=self.validators,
            on_progress=tell,
        )
        return _judgement(judged)

    async def verify(self, package: bytes) -> Verification:
        """Read a zipped package and judge its own submissions."""
        return await self.verify_package(await trio.to_thread.run_sync(package_from_zip, package))

    async def verify_package(self, package: ProblemPackage) -> Verification:
        """Judge a package's own submissions; it is clean when each came out as the package says."""
        report = await verify(package, self.pool, self.languages, validators=self.validators)
        return verification(package, findings(report))

    async def _unpack(self, blob: ProblemBlob) -> ProblemPackage:
        package = self._packages.get(blob.digest)
        if package is None:
            if len(blob.package) > _DECODE_INLINE:
                package = await trio.to_thread.run_sync(ProblemPackage.from_bytes, blob.package)
            else:
                package = ProblemPackage.from_bytes(blob.package)
            self._packages[blob.digest] = package
            while len(self._packages) > _PACKAGES_MOST:
                self._packages.popitem(last=False)
        else:
            self._packages.move_to_end(blob.digest)
        return package


def verification(package: ProblemPackage, findings: Sequence[Finding] = ()) -> Verification:
    """Return what core keeps of a package."""
    return Verification(
        slug=package.slug,
        title=package.title,
        digest=package.digest,
        package=package.to_bytes(),
        summary=summarise(package),
        findings=tuple(findings),
        is_clean=not any(each.level == "error" for each in findings),
    )


def findings(report: Report) -> list[Finding]:
    """Return a verification report as lines: one for each submission, then the remarks."""
    lines = [
        Finding(
            level="warning" if each.skipped else "ok" if each.is_as_expected else "error",
            subject=each.path,
            detail=each.skipped
            or f"{each.verdict}, expected {' or '.join(each.expected)}{each.note and f'; {each.note}'}",
        )
        for each in report.submissions
    ]
    return [*lines, *(Finding(each.level, report.slug, each.text) for each in report.findings)]


def _judgement(judged: Judged) -> Judgement:
    return Judgement(
        verdict=judged.verdict,
        score=judged.score,
        tests=judged.tests,
        compile_output=judged.compile_output,
        output=_text(judged.outputs),
        judge_error=judged.judge_error,
    )


def _text(outputs: Sequence[RunOutput]) -> str:
    """Return a run's outputs for people: each sample under a heading when there are several, errors after the output, and a word where it was cut."""
    parts = []
    for each in outputs:
        heading = [f"── sample {each.number} ──\n"] if len(outputs) > 1 else []
        cut = ["\n… (cut)"] if each.is_cut else []
        errors = ["\n── standard error ──\n", _decode(each.stderr)] if each.stderr else []
        parts.append("".join([*heading, _decode(each.stdout), *cut, *errors]))
    return "\n".join(parts)


def _decode(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
