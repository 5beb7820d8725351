"""The results of a submission's tests as they are written down: which tests need not run any more, and what verdict and score come of them."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.verdicts import TestResult, Verdict, overall
from sandbox import scores
from sandbox.package import FULL_SCORE, ProblemPackage, Test
from sandbox.validators import Ruling


class Sheet:
    """Results in the order of the tests. ``is_run`` counts nothing and stops at nothing but a judge error."""

    def __init__(
        self, package: ProblemPackage, tests: Sequence[Test], *, is_run: bool, stop_at_first_failure: bool
    ) -> None:
        self.results: list[TestResult] = []
        self.errors: list[str] = []  # for staff
        self.is_over = False
        self._package = package
        self._is_run = is_run
        self._stops = stop_at_first_failure and not package.is_scoring and not is_run
        self._fractions: list[float | None] = [None] * len(tests)
        self._closed: set[int] = set()  # groups that stop at their first failure, and had it

    def fork(self) -> Sheet:
        """Return a sheet that starts where this one is, to try out what follows from failures that are not yet written down."""
        other = Sheet(self._package, (), is_run=self._is_run, stop_at_first_failure=self._stops)
        other.is_over = self.is_over
        other._closed = set(self._closed)
        return other

    def is_skipped(self, test: Test) -> bool:
        """Whether a failure before it closed the test's group."""
        if not self._package.is_scoring or self._is_run:
            return False
        group = test.group
        while group >= 0:
            if group in self._closed:
                return True
            group = self._package.groups[group].parent
        return False

    def enter(self, test: Test, result: TestResult, ruling: Ruling | None) -> None:
        """Write down a test's result, with the ruling it came from, if one was needed."""
        self.results.append(result)
        if ruling is not None:
            self._fractions[result.number - 1] = ruling.fraction
            if result.verdict is Verdict.JE:
                self.errors.append(f"{test.name}: {ruling.message}")
        if result.verdict is not Verdict.AC:
            self.fail(test, result.verdict)

    def fail(self, test: Test, verdict: Verdict) -> None:
        """Draw the consequences of a failed test."""
        group = test.group
        while group >= 0:
            if self._package.groups[group].stops_at_failure:
                self._closed.add(group)
            group = self._package.groups[group].parent
        self.is_over = self.is_over or self._stops or verdict is Verdict.JE

    @property
    def verdict(self) -> Verdict:
        """What all results come to."""
        return overall([result.verdict for result in self.results])

    def score(self) -> int:
        """Return hundredths of a point; nothing for runs and judge errors."""
        verdict = self.verdict
        if self._is_run or verdict is Verdict.JE:
            return 0
        if self._package.is_scoring:
            verdicts = {result.number: result.verdict for result in self.results}
            given = [verdicts.get(number, "") for number in range(1, len(self._fractions) + 1)]
            return scores.total(self._package, given, self._fractions)
        return FULL_SCORE if verdict is Verdict.AC else 0
