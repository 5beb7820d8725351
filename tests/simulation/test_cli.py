"""``codewarz simulate`` as people and programs call it, with real runs in real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chaos.simulation.cli import app
from chaos.simulation.faults import parse_seeds
from chaos.simulation.report import Report
from contracts.errors import Invalid

SCENARIOS = Path(__file__).parent / "scenarios"
QUICK = '{"seed": 7, "users": 1, "submissions": 2, "watchers": 1, "hurt_s": 2}'


def simulate(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], env={"COLUMNS": "150", "TERM": "dumb"})


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


# ---- what to run -----------------------------------------------------------------------------------------------------


def test_seeds_are_a_number_or_a_range() -> None:
    assert parse_seeds("7") == range(7, 8)
    assert parse_seeds("0..299") == range(300)
    assert parse_seeds("5..5") == range(5, 6)


@pytest.mark.parametrize("text", ["", "x", "1..", "..3", "3..1", "-1..2", "1...3", "1..2..3", "1,2"])
def test_anything_else_names_no_seeds(text: str) -> None:
    with pytest.raises(Invalid, match="names no seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to run: --seeds 0..299"),
        (["--seeds", "9..1"], "'9..1' names no seeds: they begin at 0 and rise"),
        (["--seeds", "0..1", "--replay", "7"], "--seeds and --replay do not go together"),
        (["--replay", "7", "--options", "{}"], "--replay and --options do not go together"),
        (["--options", '{"seed": 7, "user": 3}'], "there is no option 'user'"),
        (["--seeds", "0..1", "--timeline", "01M"], "--timeline shows a submission of one run"),
        (["--scenario", "nowhere.py"], "there is no file 'nowhere.py' with a scenario"),
    ],
)
def test_what_cannot_be_run_is_answered_with_a_sentence(words: list[str], said: str) -> None:
    result = simulate(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    told = simulate(*words, "-o", "json")
    assert told.exit_code == 2
    assert said in as_json(told)["message"]


# ---- batches ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch() -> dict[str, Any]:
    """Two seeds, of which 0 is run twice."""
    result = simulate("--seeds", "0..1", "--jobs", "2", "-o", "json")
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = as_json(result)
    return report


def test_a_batch_as_json(batch: dict[str, Any]) -> None:
    assert tuple(batch) == Report.__struct_fields__
    assert batch["seeds"] == "0..1"
    assert batch["violations"] == []
    assert sorted(batch["traces"]) == ["0", "1"]
    assert batch["submissions"] > 0
    assert batch["simulated_s"] > 0
    assert batch["wall_s"] > 0
    assert batch["submissions_per_s"] == pytest.approx(batch["submissions"] / batch["wall_s"], rel=0.01)
    assert all(isinstance(many, int) for many in (batch["faults"] | batch["sometimes"]).values())


def test_a_replay_in_another_process_is_the_same_run(batch: dict[str, Any]) -> None:
    replayed = as_json(simulate("--replay", "1", "-o", "json"))
    assert replayed["traces"]["1"] == batch["traces"]["1"]
    assert replayed["submissions"] > 0


def test_options_that_say_what_a_seed_says_are_the_same_run(batch: dict[str, Any]) -> None:
    from chaos.simulation.faults import options
    from chaos.simulation.job import brief

    replayed = as_json(simulate("--options", brief(options(1)), "-o", "json"))
    assert replayed["traces"]["1"] == batch["traces"]["1"]


def test_a_batch_for_people() -> None:
    result = simulate("--scenario", str(SCENARIOS / "last_words.py"), "--seeds", "1..2", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "✓ 2 seeds: no violation" in result.output
    assert "submissions/s" in result.output
    assert "redelivered" in result.output


def test_ctrl_c_ends_all_and_tells_what_there_is() -> None:
    program = "from actors.cli import main; main()"
    command = [sys.executable, "-c", program, "simulate", "--seeds", "1..9999", "-o", "json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while len(_children(running.pid)) < 2:
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the workers get it as well
        said, wrong = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 130, wrong
    assert json.loads(said)["violations"] == []
    assert wrong == b""
    until = time.monotonic() + 5.0
    while (left := _alive(running.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def _alive(group: int) -> list[str]:
    """Return what runs in a process group. What somebody has started and left, such as a library's ldconfig, is dead and stays until init has looked."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            text = path.read_text()
            state, _, its_group, *_ = text.rpartition(")")[2].split()
            if int(its_group) == group and state not in "ZX":
                found.append(text)
    return found


def _children(pid: int) -> list[str]:
    return [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


# ---- one run ---------------------------------------------------------------------------------------------------------


def test_a_replay_prints_the_whole_trace() -> None:
    result = simulate("--options", QUICK)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["0.0000", "run", "knobs", "{}"]
    assert any("at rest" in line for line in lines)
    assert "✓ seed 7: no violation" in result.stderr
    assert "4 submissions" in result.stderr  # two, the one at the healing, and the one in calm


def test_a_timeline_is_the_life_of_one_submission() -> None:
    unknown = simulate("--options", QUICK, "--timeline", "nobody")
    assert unknown.exit_code == 2
    assert "no submission's id begins with 'nobody'. There are:" in unknown.stderr
    submission = unknown.stderr.splitlines()[1].split()[0]
    told = simulate("--options", QUICK, "--timeline", submission[:24])
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith(f"◆ {submission}  in seed 7")
    assert "submission ◆:1" in told.stdout
    assert "verdict ◆:1" in told.stdout
    life = as_json(simulate("--options", QUICK, "--timeline", submission, "-o", "json"))
    assert (life["seed"], life["submission"]) == (7, submission)
    assert set(life["moments"][0]) == {"at_s", "gap_s", "who", "what", "is_about", "times", "until_s"}


def test_what_is_printed_in_a_run_comes_out_beside_the_trace(tmp_path: Path) -> None:
    body = "async def scenario(cluster, workload):\n    print('here at', cluster.world.clock.elapsed_s)\n"
    (tmp_path / "talks.py").write_text(body)
    result = simulate("--scenario", str(tmp_path / "talks.py"), "--replay", "1", "-o", "json")
    assert result.exit_code == 0
    assert "here at 0." in result.stderr
    assert as_json(result)["violations"] == []


# ---- failures --------------------------------------------------------------------------------------------------------

CROWDED = """
from chaos.simulation.scenario import Stage, scenario

@scenario(users=5, submissions=4, hurt_s=4.0)
async def crowded(stage: Stage) -> None:
    sent = await stage.submit("AC", user="user2")
    assert len(stage.workload.people) < 3, f"{sent.submission_id} is one too many for core-1"
"""


@pytest.fixture
def crowded(tmp_path: Path) -> str:
    """A scenario that fails with three people and more."""
    (tmp_path / "crowded.py").write_text(CROWDED)
    return str(tmp_path / "crowded.py")


def test_a_failure_tells_all_and_is_shrunk(crowded: str) -> None:
    result = simulate("--scenario", crowded, "--seeds", "3..4", "--shrink", "--jobs", "2")
    assert result.exit_code == 1
    said = result.output
    assert "✗ seed 3  scenario at " in said
    assert "is one too many for core-1 (crowded.py, line 7)" in said
    assert f"replay   codewarz simulate --scenario {crowded} --replay 3" in said
    assert "✗ 2 seeds: 2 failed" in said
    assert "users 5 → 3" in said
    assert "submissions 4 → 0" in said
    assert f"""codewarz simulate --scenario {crowded} --options '{{"seed":3,"users":3,"submissions":0""" in said


def test_a_failure_as_json(crowded: str) -> None:
    result = simulate("--scenario", crowded, "--replay", "3", "-o", "json")
    assert result.exit_code == 1
    (found,) = as_json(result)["violations"]
    assert (found["seed"], found["invariant"], found["options"]["users"]) == (3, "scenario", 5)
    assert found["replay"] == f"codewarz simulate --scenario {crowded} --replay 3"
    again = as_json(simulate(*found["replay"].split()[2:], "-o", "json"))
    assert again["traces"] == as_json(result)["traces"]


def test_the_verb_is_found_by_the_command_line() -> None:
    program = "from actors.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "simulate", "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert "--replay" in done.stdout
    assert "deterministic simulation" in done.stdout
