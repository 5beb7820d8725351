"""The list of scenarios, the order they are played in, and one of them for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.engines import Missing, Postgres, RabbitMq, Redis
from chaos.run import rounds
from chaos.scenarios import SCENARIOS
from chaos.small_disk import CannotMount, fill, free, mount, unmount

CODEWARZ = Path(sys.executable).with_name("codewarz")
PAGE = Path(__file__).parent.parent.parent / "docs" / "chaos.md"


def test_every_scenario_says_in_a_sentence_what_happens_and_is_on_the_page() -> None:
    page = PAGE.read_text()
    for each in SCENARIOS.values():
        assert each.summary.endswith("."), each.name
        assert f"`{each.name}`" in page, each.name


def test_scenarios_on_a_small_disk_come_last_and_each_repetition_has_a_seed_of_its_own() -> None:
    chosen = [SCENARIOS["postgres-disk-full"], SCENARIOS["kill-core"]]
    played = rounds(chosen, 2, seed=5)
    assert [each.scenario.name for each in played] == ["kill-core"] * 2 + ["postgres-disk-full"] * 2
    assert played[0].seed == 5
    assert played[1].seed != 5
    assert rounds(chosen, 2, seed=5) == played


def test_an_unknown_scenario_is_a_mistake_of_usage() -> None:
    done = subprocess.run([CODEWARZ, "chaos", "run", "kill-everybody"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "kill-everybody" in done.stderr


def test_the_list_is_there_for_machines_too() -> None:
    done = subprocess.run([CODEWARZ, "chaos", "list", "-o", "json"], capture_output=True, text=True, check=True)
    assert [each["scenario"] for each in json.loads(done.stdout)["scenarios"]] == list(SCENARIOS)


def test_a_small_disk_can_be_filled_to_the_last_byte_and_freed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    try:
        mount(disk)
    except CannotMount as error:
        pytest.skip(str(error))
    try:
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            (disk / "more").write_bytes(b"x" * 5000)
        free(disk)
        (disk / "more").write_bytes(b"x" * 5000)
    finally:
        unmount(disk)


@pytest.mark.sandbox
def test_a_judge_that_is_killed_in_the_middle_of_a_test_loses_nothing(tmp_path: Path) -> None:
    try:
        for engine in (Postgres, Redis, RabbitMq):
            engine(tmp_path).command()
    except Missing as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [CODEWARZ, "chaos", "run", "kill-judge", "-o", "json"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout, done.stderr
    (outcome,) = json.loads(done.stdout)["scenarios"]
    assert outcome["violations"] == [], outcome
    assert done.returncode == 0
    assert outcome["accepted"] == outcome["judged"] > 10
    assert (outcome["lost"], outcome["judged_twice"]) == (0, 0)
    assert outcome["board_equal"]
    assert outcome["breakers_recovered"]
    assert outcome["recovered_s"] <= 10
    assert outcome["skipped"] is outcome["logs"] is None
