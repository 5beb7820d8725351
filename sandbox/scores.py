"""Scores of scoring (IOI) packages: tests give points to their groups, groups to their parents. Pure; all in hundredths of a point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sandbox.package import FULL_SCORE, Group, ProblemPackage

_JOIN: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "avg": lambda points: sum(points) / len(points),
}


def total(package: ProblemPackage, verdicts: Sequence[str], fractions: Sequence[float | None] = ()) -> int:
    """Return the score of a submission whose tests gave ``verdicts`` ("" for a test that was not run, which gives nothing).

    ``fractions`` are what a validator gave for accepted tests: a share of the test's points, None for all of them.
    """
    groups = package.groups
    given: list[list[float]] = [[] for _ in groups]
    for number, test in enumerate(package.tests):
        fraction = fractions[number] if number < len(fractions) else None
        given[test.group].append(_points(groups[test.group], verdicts[number], fraction))
    for index in range(len(groups) - 1, 0, -1):
        group = groups[index]
        if group.is_counted and given[index]:
            given[group.parent].append(_joined(group, given[index]))
    return round(_joined(groups[0], given[0])) if given[0] else 0


def max_score(package: ProblemPackage) -> int:
    """Return the score of an accepted submission."""
    return total(package, ["AC"] * len(package.tests)) if package.is_scoring else FULL_SCORE


def _points(group: Group, verdict: str, fraction: float | None) -> float:
    if verdict == "AC":
        return group.accept * (1.0 if fraction is None else fraction)
    return group.reject if verdict else 0.0


def _joined(group: Group, points: Sequence[float]) -> float:
    joined = _JOIN[group.join](points)
    return joined if group.most is None else min(joined, group.most)
