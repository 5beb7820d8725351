"""The checkers bite: each mutation of the product is noticed, by the promise that it breaks, within two hundred seeds.

The seed that is known to notice is tried first, so the usual cost is a run or two for each. ``python -m tests.simulation.test_mutations`` searches without the
hints, and prints the table of first seeds.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.mutations.table import MUTATIONS
from tests.simulation.mutations.trial import PACKAGES, ROOT, SEEDS, Mutation, Stale, Trial, hinted, on_trial, patched

AT_ONCE = 2
LEAST = 12  # that the project promises to have

Order = Callable[[Mutation], Sequence[int]]


def trials(folder: Path, order: Order, said: Callable[[Trial], None] = lambda _: None) -> dict[str, Trial]:
    """Put every mutation on trial, two at a time."""

    def one(mutation: Mutation) -> Trial:
        trial = on_trial(mutation, folder, order(mutation))
        said(trial)
        return trial

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {trial.mutation.name: trial for trial in pool.map(one, MUTATIONS)}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    return trials(tmp_path_factory.mktemp("mutations"), lambda mutation: hinted(mutation.caught_by))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_a_broken_product_is_caught(mutation: Mutation, tried: dict[str, Trial]) -> None:
    trial = tried[mutation.name]
    assert trial.is_caught, f"{mutation.breaks}\n{trial.verdict()}"


def test_there_is_a_mutation_for_each_promise() -> None:
    assert len(MUTATIONS) >= LEAST
    assert [name for name, many in Counter(each.name for each in MUTATIONS).items() if many > 1] == []
    assert {f"I{number}" for number in range(1, 10)} <= {invariant for each in MUTATIONS for invariant in each.by}


def test_a_mutation_that_no_longer_applies_is_told() -> None:
    replace = MUTATIONS[0].patch[0]
    with pytest.raises(Stale, match="has 0 times what it replaces"):
        patched("something else", replace, "a")
    with pytest.raises(Stale, match="has 2 times"):
        patched(replace.old * 2, replace, "a")


def test_the_house_as_it_is_is_not_complained_of(tmp_path: Path) -> None:
    unharmed = Mutation(name="unharmed", breaks="nothing", by=("I1",), patch=(), caught_by=0)
    trial = on_trial(unharmed, tmp_path, range(3))
    assert not trial.is_caught
    assert trial.verdict() == "unharmed: NOT caught in 3 seeds"
    assert list(tmp_path.iterdir()) == []
    assert all((ROOT / package).is_dir() for package in PACKAGES)


def main() -> None:
    """Search without hints, and print what was found as it is found."""

    def say(trial: Trial) -> None:
        sys.stdout.write(f"{len(trial.ran):4} seeds  {trial.verdict()[:150]}\n")
        sys.stdout.flush()

    folder = Path(tempfile.mkdtemp(prefix="mutations-"))
    try:
        found = trials(folder, lambda _: SEEDS, say)
    finally:
        shutil.rmtree(folder)
    caught = [trial for trial in found.values() if trial.is_caught]
    sys.stdout.write(f"{len(caught)} of {len(found)} caught within {len(SEEDS)} seeds\n")


if __name__ == "__main__":
    main()
