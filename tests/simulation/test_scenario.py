"""Scenarios: a tester's own story, the example in the page among them, and what is said of one that cannot be played."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chaos.simulation.cli import app
from chaos.simulation.report import OTHERS
from chaos.simulation.run import run
from chaos.simulation.scenario import Stage, load, scenario
from contracts.errors import Invalid
from tests.simulation.mutations.trial import Mutation, Replace, apply, copy_house

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "simulation.md"
LINES_MOST = 20


def simulate(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], env={"COLUMNS": "150", "TERM": "dumb"})


def _examples_of_the_page() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("path", sorted((HERE / "scenarios").glob("*.py")), ids=lambda path: path.stem)
def test_the_cluster_holds_what_it_promises_in_every_scenario(path: Path) -> None:
    result = simulate("--scenario", str(path), "--seeds", "1..4")
    assert result.exit_code == 0, result.output
    assert "✓ 4 seeds: no violation" in result.output


SWEEPER = "actors/sweeper.py"
MUTATED = [
    pytest.param(
        "folded_before_a_loss",
        "I4",
        (
            Replace("contracts/lua/board_state.lua", "redis.call('SET', KEYS[2], ARGV[1], 'NX')\n", ""),
            Replace("contracts/lua/board_state.lua", "return redis.call('GET', KEYS[2])", "return ''"),
        ),
        id="a board without a word for its absence",
    ),
    pytest.param(
        "told_by_the_outbox",
        "scenario",
        (Replace(SWEEPER, "            differing -= await self._untold(differing)\n", "            pass\n"),),
        id="a board that has yet to be told is made afresh",
    ),
    pytest.param(
        "told_by_the_outbox",
        "scenario",
        (Replace(SWEEPER, "            rows = await self._sent(rows)\n", ""),),
        id="what the outbox has is published again",
    ),
]


@pytest.mark.parametrize(("tale", "invariant", "patch"), MUTATED)
def test_a_scenario_notices_what_it_is_there_for(
    tale: str, invariant: str, patch: tuple[Replace, ...], tmp_path: Path
) -> None:
    """Seeds by chance do not come to these, so scenarios are held to them here, as the mutations are to their seeds."""
    house = copy_house(tmp_path / "house")
    apply(Mutation(name="of_a_scenario", breaks="", by=(invariant,), patch=patch, caught_by=0), house)
    command = "from chaos.simulation.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", command, "--scenario", HERE / "scenarios" / f"{tale}.py", "--seeds", "1"],
        env={**os.environ, "PYTHONPATH": str(house)},
        cwd=house,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"✗ seed 1  {invariant}" in done.stdout, done.stdout


def test_the_example_in_the_page_runs_and_has_twenty_lines(tmp_path: Path) -> None:
    (example,) = [text for text in _examples_of_the_page() if "@scenario" in text]
    assert len([line for line in example.splitlines() if line.strip()]) <= LINES_MOST
    (tmp_path / "example.py").write_text(example)
    result = simulate("--scenario", str(tmp_path / "example.py"), "--seeds", "1..3")
    assert result.exit_code == 0, result.output


def _written(folder: Path, body: str) -> str:
    path = folder / "tale.py"
    path.write_text(f"from chaos.simulation.scenario import Stage, scenario\n\n{body}")
    return str(path)


SAD = """
@scenario()
async def sad(stage: Stage) -> None:
    sent = await stage.submit("WA")
    assert await stage.judged(sent) == "AC"
"""
ENDLESS = """
@scenario()
async def endless(stage: Stage) -> None:
    await stage.until(lambda: stage.process("core-1").lives > 1, "a second life", within_s=5)
"""


def test_what_a_scenario_asserts_in_vain_is_a_violation(tmp_path: Path) -> None:
    result = simulate("--scenario", _written(tmp_path, SAD), "--seeds", "1")
    assert result.exit_code == 1
    assert 'assert await stage.judged(sent) == "AC" (tale.py, line 7)' in result.output
    assert f"  {OTHERS['scenario']}" in result.output


def test_what_never_comes_is_a_violation(tmp_path: Path) -> None:
    result = simulate("--scenario", _written(tmp_path, ENDLESS), "--seeds", "1")
    assert result.exit_code == 1
    assert "a second life did not come within 5 s (tale.py, line 6)" in result.output


def test_what_is_not_there_is_said_and_where(tmp_path: Path) -> None:
    body = '@scenario()\nasync def wrong(stage: Stage) -> None:\n    stage.kill("core-9")\n'
    result = simulate("--scenario", _written(tmp_path, body), "--seeds", "1..99", "--jobs", "1")
    assert result.exit_code == 2
    assert "there is no process 'core-9': there are core-1, core-2, leaderboard-1" in result.stderr
    assert "(tale.py, line 5)" in result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('stage.cut("core-1", "mars", for_s=1)', "there is no 'mars': there are database, redis, broker, core-1"),
        ('stage.restart("core-1")', "'core-1' cannot be restarted so: database, broker and redis can"),
        ('stage.restart("broker", loses_its_data=True)', "'broker' cannot be restarted so"),
        ('await stage.submit("AC", user="eve")', "there is no 'eve' on the stage: there are user1, user2"),
        ('await stage.stopped_at("nowhere").__aenter__()', "there is no point 'nowhere' in our code"),
    ],
)
def test_whatever_is_not_there_is_said(tmp_path: Path, line: str, said: str) -> None:
    """In this process, which costs less: what is wrong is wrong here too."""
    staged = load(_written(tmp_path, f"@scenario()\nasync def wrong(stage: Stage) -> None:\n    {line}\n"))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group of groups, around what is looked for
        run(staged.options(1), scenario=staged)
    assert said in staged.refusal(caught.value)
    assert "(tale.py, line 5)" in staged.refusal(caught.value)


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("tale.py", "", "it has no scenario"),
        ("tale.py:other", SAD, "it has sad, and not 'other'"),
        ("tale.py", SAD + ENDLESS, "it has sad, endless: say which, as .*tale.py:name"),
        ("tale.py", "import nothing_of_this_name", "cannot be loaded: ModuleNotFoundError: .* \\(line 3\\)"),
        ("other.py", SAD, "there is no file .*other.py"),
    ],
)
def test_a_scenario_that_cannot_be_had_is_answered_with_a_sentence(
    tmp_path: Path, name: str, body: str, said: str
) -> None:
    _written(tmp_path, body)
    with pytest.raises(Invalid, match=said):
        load(str(tmp_path / name))


def test_one_of_several_is_chosen_by_its_name(tmp_path: Path) -> None:
    assert load(f"{_written(tmp_path, SAD + ENDLESS)}:endless").name == "endless"


def test_a_plain_function_of_the_cluster_and_the_workload_is_a_scenario_too(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        "async def scenario(cluster, workload):\n    await cluster.world.clock.sleep(3)\n"
    )
    result = simulate("--scenario", str(tmp_path / "plain.py"), "--seeds", "1")
    assert result.exit_code == 0, result.output


def test_options_of_a_scenario_are_those_it_declares() -> None:
    @scenario(judges=1, faults=("lost_ack",))
    async def tale(stage: Stage) -> None: ...

    assert (tale.options(7).seed, tale.options(7).judges, tale.options(7).faults) == (7, 1, ("lost_ack",))
    assert tale.options(7).submissions == 0, "nobody submits but the scenario"

    @scenario(judge=1)
    async def typo(stage: Stage) -> None: ...

    with pytest.raises(Invalid, match="there is no option 'judge'"):
        typo.options(7)
