"""The demo packages keep the promises that verification does not check: sound inputs, reproducible data, a set that shows everything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import actors.demo
from sandbox.package_reader import load_package

PROBLEMS = Path(actors.demo.__file__).parent / "problems"
CONTEST = yaml.safe_load((PROBLEMS / "contest.yaml").read_text(encoding="utf-8"))
SLUGS = [problem["slug"] for problem in CONTEST["problems"]]
PACKAGE_BYTES_MAX, FILE_BYTES_MAX = 1_500_000, 600_000


def run(program: Path, *, stdin: bytes = b"") -> int:
    return subprocess.run([sys.executable, "-B", program], input=stdin, check=False, timeout=60).returncode


def test_the_contest_lists_every_package_once_under_its_own_label_and_colour() -> None:
    folders = sorted(path.parent.name for path in PROBLEMS.glob("*/problem.yaml"))
    assert sorted(SLUGS) == folders
    assert [problem["label"] for problem in CONTEST["problems"]] == list("ABCDEFG")
    colours = [problem["colour"] for problem in CONTEST["problems"]]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in colours)


def test_the_packages_show_both_formats_and_every_verdict() -> None:
    packages = [load_package(PROBLEMS / slug) for slug in SLUGS]
    assert {package.format for package in packages} == {"legacy", "2023-07"}
    assert any(package.validator is not None for package in packages)
    expected = {verdict for one in packages for jury in one.submissions for verdict in jury.expected.verdicts}
    assert expected == {"AC", "WA", "TLE", "MLE", "OLE", "RTE", "CE"}
    in_python = {
        verdict
        for one in packages
        for jury in one.submissions
        if jury.language == "python"
        for verdict in jury.expected.verdicts
    }
    assert in_python == expected  # a machine without compilers shows them all, too


@pytest.mark.parametrize("slug", SLUGS)
def test_a_package_loads_without_warnings_and_stays_small(slug: str) -> None:
    package = load_package(PROBLEMS / slug)
    assert package.warnings == ()
    assert 2 <= len(package.samples) <= 3
    sizes = [path.stat().st_size for path in (PROBLEMS / slug).rglob("*") if path.is_file()]
    assert max(sizes) < FILE_BYTES_MAX
    assert sum(sizes) < PACKAGE_BYTES_MAX


@pytest.mark.parametrize("slug", SLUGS)
def test_the_input_validator_accepts_every_input_and_nothing_shortened(slug: str) -> None:
    validator = PROBLEMS / slug / "input_validators" / "validate.py"
    for test in load_package(PROBLEMS / slug).tests:
        assert run(validator, stdin=test.input) == 42, test.name
    for spoilt in (b"", test.input[:-1], test.input + b"1\n"):
        done = subprocess.run([sys.executable, "-B", validator], input=spoilt, check=False, capture_output=True)
        assert done.returncode != 42


@pytest.mark.parametrize("slug", SLUGS)
def test_the_generator_makes_the_same_data_again(slug: str, tmp_path: Path) -> None:
    copy = tmp_path / slug
    shutil.copytree(PROBLEMS / slug, copy, ignore=shutil.ignore_patterns("secret"))
    (copy / "data" / "secret").mkdir()
    assert run(copy / "generators" / "generate.py") == 0
    made = {path.name: path.read_bytes() for path in (copy / "data" / "secret").iterdir()}
    kept = {path.name: path.read_bytes() for path in (PROBLEMS / slug / "data" / "secret").iterdir()}
    assert made.keys() == kept.keys()
    assert [name for name in kept if made[name] != kept[name]] == []
