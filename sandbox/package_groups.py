"""Test groups of scoring packages: ``testdata.yaml`` (legacy) and ``test_group.yaml`` (2023-07) as the few numbers that ``scores`` needs."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import Any, Literal, cast

from contracts.errors import Invalid
from sandbox.package import Group
from sandbox.package_source import read_yaml

Join = Literal["sum", "min", "max", "avg"]

_JOINS = ("sum", "min", "max", "avg")
_POINT = 100  # hundredths
_FULL = 100 * _POINT
_SCORE_MAX = 1_000_000


class GroupTree:
    """Collects the groups that tests name, parents first, and works out their points when all tests are known."""

    def __init__(
        self, files: dict[str, bytes], form: str, *, is_scoring: bool, args: tuple[str, ...], warnings: list[str]
    ) -> None:
        self._files = files
        self._is_legacy = form == "legacy"
        self._is_scoring = is_scoring
        self._root_args = args
        self._warnings = warnings
        self._index: dict[str, int] = {}
        self._parents: list[int] = []
        self._settings: list[dict[str, Any]] = []
        self._tests: list[int] = []
        self._add("data")

    def _add(self, folder: str) -> int:
        if folder in self._index:
            return self._index[folder]
        parent = self._add(str(PurePosixPath(folder).parent)) if folder != "data" else -1
        name = f"{folder}/{'testdata' if self._is_legacy else 'test_group'}.yaml"
        settings = read_yaml(name, self._files.get(name, b""))
        if settings.get("grading") == "custom":
            raise Invalid(f"{name}: custom graders are not supported")
        self._index[folder] = len(self._parents)
        self._parents.append(parent)
        self._settings.append(settings)
        self._tests.append(0)
        return self._index[folder]

    def add_test(self, folder: str) -> int:
        """Count a test in ``folder`` and return the index of its group: the root's for packages without scores."""
        index = self._add(folder)
        self._tests[index] += 1
        return index if self._is_scoring else 0

    def args(self, folder: str) -> tuple[str, ...]:
        """Return the validator's arguments for a folder's tests: its own, else those of the nearest group above, else the problem's."""
        index = self._index[folder]
        while index >= 0:
            for key in ("output_validator_args", "output_validator_flags", "validator_flags"):
                if key in self._settings[index]:
                    value = self._settings[index][key]
                    try:
                        return (
                            tuple(map(str, value)) if isinstance(value, list) else tuple(shlex.split(str(value or "")))
                        )
                    except ValueError as problem:
                        raise Invalid(f"{folder}: {key}: {problem}") from problem
            index = self._parents[index]
        return self._root_args

    def groups(self) -> tuple[Group, ...]:
        """Return the groups; call it when every test was added."""
        if not self._is_scoring:
            return (Group(name="data"),)
        make = self._legacy if self._is_legacy else self._modern
        return tuple(make(folder, index) for folder, index in self._index.items())

    def _score(self, folder: str, key: str, value: object) -> float:
        try:
            points = float(str(value))
        except ValueError:
            points = -1.0
        if not 0 <= points <= _SCORE_MAX:
            raise Invalid(f"{folder}: {key} {value!r} is not a score from 0 to {_SCORE_MAX}")
        return points * _POINT

    def _legacy(self, folder: str, index: int) -> Group:
        settings = self._settings[index]
        flags = str(settings.get("grader_flags") or "").split()
        join = next((flag for flag in flags if flag in _JOINS), "sum")
        bounds = str(settings.get("range") or "").split()
        above = str(self._settings[0].get("grader_flags") or "").split()
        stops = str(settings.get("on_reject", "break" if join == "min" else "continue")) == "break"
        return Group(
            name=folder,
            parent=self._parents[index],
            join=cast("Join", join),
            accept=self._score(folder, "accept_score", settings.get("accept_score", 1)),
            reject=self._score(folder, "reject_score", settings.get("reject_score", 0)),
            most=self._score(folder, "range", bounds[1])
            if len(bounds) == 2 and bounds[1] not in ("inf", "+inf")
            else None,
            stops_at_failure=stops,
            is_counted=not (folder == "data/sample" and "ignore_sample" in above),
        )

    def _modern(self, folder: str, index: int) -> Group:
        settings = self._settings[index]
        scoring = settings.get("scoring") if isinstance(settings.get("scoring"), dict) else {}
        assert isinstance(scoring, dict)
        if settings.get("require_pass") or scoring.get("require_pass"):
            self._warnings.append(f"{folder}: require_pass is not supported and ignored")
        how = str(
            settings.get("score_aggregation")
            or scoring.get("aggregation")
            or ("sum" if folder in ("data", "data/secret") else "pass-fail")
        )
        if how not in ("sum", "min", "pass-fail"):
            raise Invalid(f"{folder}: score aggregation {how!r} is unknown")
        points = settings.get("max_score", scoring.get("score"))
        default = _FULL if folder == "data/secret" else 0.0
        most = default if points in (None, "unbounded") else self._score(folder, "max_score", points)
        tests = self._tests[index]
        accept = most / tests if how == "sum" and tests else most
        return Group(
            name=folder,
            parent=self._parents[index],
            join="sum" if how == "sum" else "min",
            accept=accept,
            most=most or None,
            stops_at_failure=how != "sum",
            is_counted=folder != "data/sample" or bool(most),
        )
