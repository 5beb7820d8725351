"""Points in our code: a comment outside of simulation, a call inside, and every line where it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.simulation import buggify

THING = '''"""A module of the house."""


async def work(happened):
    happened.append("before")
    # buggify at thing.middle
    happened.append("after")


async def fail():
    if True:
        # buggify at thing.inside
        raise ValueError("line 13")
'''

LOOK = """
import traceback, trio
from chaos.simulation import buggify
if {is_installed}:
    buggify.install()
import actors.thing as thing

happened = []
async def here(name):
    happened.append("at " + name)
before = buggify.set_world(here)
assert before is None
trio.run(thing.work, happened)
try:
    trio.run(thing.fail)
except ValueError as error:
    last = traceback.extract_tb(error.__traceback__)[-1]
    print(last.lineno, last.line)
print(happened)
print(sorted(buggify.found))
"""


def _python(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process where the house is a folder of ours."""
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"}
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors" / "__init__.py").write_text("")
    (tmp_path / "actors" / "thing.py").write_text(THING)
    return tmp_path


def test_inside_a_simulation_a_point_is_a_call_and_every_line_stays_where_it_was(house: Path) -> None:
    done = _python(house, LOOK.format(is_installed=True))
    assert done.stdout.splitlines() == [
        '13 raise ValueError("line 13")',
        "['before', 'at thing.middle', 'after', 'at thing.inside']",
        "['thing.inside', 'thing.middle']",
    ], done.stderr


def test_outside_of_a_simulation_a_point_is_a_comment(house: Path) -> None:
    done = _python(house, LOOK.format(is_installed=False))
    assert done.stdout.splitlines() == ['13 raise ValueError("line 13")', "['before', 'after']", "[]"], done.stderr


def test_a_cached_bytecode_without_points_is_not_used(house: Path) -> None:
    _python(house, LOOK.format(is_installed=False))
    done = _python(house, LOOK.format(is_installed=True))
    assert "'at thing.middle'" in done.stdout, done.stderr
    again = _python(house, LOOK.format(is_installed=False))
    assert "at thing" not in again.stdout, again.stderr


def test_two_points_of_one_name_in_two_modules_are_refused(house: Path) -> None:
    (house / "actors" / "other.py").write_text(THING)
    done = _python(house, "from chaos.simulation import buggify\nbuggify.install()\nimport actors.thing, actors.other")
    assert "'thing.middle' is in actors.thing and in actors.other: names tell points apart" in done.stderr


def test_points_come_too_late_once_the_house_was_imported(house: Path) -> None:
    done = _python(house, "import actors.thing\nfrom chaos.simulation import buggify\nbuggify.install()")
    assert "imported before the points were installed: actors" in done.stderr


def test_all_points_of_the_house_are_named_once_and_in_coroutines() -> None:
    """The comment alone says nothing about where it is: a point in a plain function would not compile, in a worker only."""
    root = Path(__file__).parents[2]
    names: list[str] = []
    for package in buggify.PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            source = path.read_text()
            if "# buggify at " in source:
                names += [line.split("# buggify at ")[1] for line in source.splitlines() if "# buggify at " in line]
                compile(source.replace("# buggify at ", "await point() #"), str(path), "exec")
    assert len(names) >= 15
    assert len(set(names)) == len(names)
