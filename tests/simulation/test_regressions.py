"""Every bug that the simulation has found stays mended."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import trio

from chaos.simulation import job
from chaos.simulation.batch import Worker, workers
from chaos.simulation.job import Done
from tests.simulation.regressions import REGRESSIONS, Regression

WORKERS = 2


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Done]:
    """All of them, run once, by as few workers as there are cores: a worker costs as much as some runs."""
    found: dict[str, Done] = {}
    left = iter(REGRESSIONS)

    async def lane(worker: Worker) -> None:
        for each in left:
            found[each.name] = await worker.do(each.job)

    async def run() -> None:
        async with workers(WORKERS) as usual, trio.open_nursery() as nursery:
            for worker in usual:
                nursery.start_soon(lane, worker)

    trio.run(run)
    return found


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda each: each.name)
def test_what_was_mended_stays_so(regression: Regression, outcomes: dict[str, Done]) -> None:
    done = outcomes[regression.name]
    assert not done.refused
    assert not done.violations, (
        f"{regression.wrong}\n\nIt is back, or something else breaks in the same run: {done.violations[0]}\n"
        f"See it with: {job.command(regression.job)}"
    )


def test_each_has_a_name_of_its_own_and_a_story() -> None:
    assert [name for name, many in Counter(each.name for each in REGRESSIONS).items() if many > 1] == []
    for each in REGRESSIONS:
        assert re.fullmatch(r"[a-z0-9_]+", each.name)
        assert re.fullmatch(r"I\d|replay|worker|error", each.broke)
        assert len(each.wrong) > 20
        assert (each.seed is None) != (each.options is None), each.name
