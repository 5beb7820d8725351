"""The page for testers says what is there: each fault, counter, promise and option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.invariants import INVARIANTS
from chaos.simulation import scenario, sometimes
from chaos.simulation.report import OTHERS, Report

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()


@pytest.mark.parametrize("table", ["FAULTS", "RECOVERIES", "RARE"])
def test_each_counter_is_in_a_table_with_its_words(table: str) -> None:
    for name, words in getattr(sometimes, table).items():
        assert f"| `{name}` | {words} |" in PAGE


def test_each_promise_is_there() -> None:
    promises = re.findall(r"^\| (I\d|[a-z]+) \|", PAGE.split("## What is promised")[1].split("##")[0], re.MULTILINE)
    assert promises == [*INVARIANTS, *OTHERS]


def test_the_json_is_described_field_by_field() -> None:
    assert f"{{{', '.join(Report.__struct_fields__)}}}" in " ".join(PAGE.split())


def test_numbers_are_those_of_the_code() -> None:
    assert f"a batch of {sometimes.SEEDS_ENOUGH} seeds or more" in PAGE
    assert f"from {sometimes.SEEDS_ENOUGH_FOR_RARE:,} seeds on" in PAGE


def test_what_a_stage_can_do_is_there() -> None:
    public = {name for name in vars(scenario.Stage) if not name.startswith("_")}
    assert public - set(re.findall(r"stage\.(\w+)", PAGE)) == {"process"}
