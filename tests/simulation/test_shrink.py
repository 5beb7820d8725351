"""The smallest options that still fail, found without a single simulation: what fails is a function of the options here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.simulation.faults import Fault, Options, options
from chaos.simulation.shrink import shrink


class Failing:
    """Stands in for the workers: says at once which candidate fails."""

    def __init__(self, fails: Callable[[Options], bool]) -> None:
        self._fails = fails
        self.tried: list[Options] = []

    async def first_failing(self, candidates: Iterable[Options]) -> Options | None:
        for each in candidates:
            self.tried.append(each)
            if self._fails(each):
                return each
        return None


async def test_only_the_faults_that_matter_are_left() -> None:
    needed = {Fault.LOST_ACK, Fault.PARTITION}
    before = Options(seed=9, faults=tuple(Fault), users=6, submissions=30)
    after = await shrink(before, Failing(lambda each: needed <= set(each.faults)).first_failing)
    assert set(after.faults) == needed
    assert (after.users, after.submissions, after.watchers) == (1, 0, 0)
    assert (after.gateways, after.cores, after.leaderboards, after.judges, after.workers) == (1, 1, 1, 1, 1)


async def test_a_number_goes_down_to_the_least_that_fails() -> None:
    before = Options(seed=9, submissions=30, judges=3)
    after = await shrink(before, Failing(lambda each: each.submissions >= 11 and each.judges >= 2).first_failing)
    assert (after.submissions, after.judges) == (11, 2)


async def test_the_seed_stays_where_it_can() -> None:
    after = await shrink(options(40), Failing(lambda each: True).first_failing)
    assert after.seed == 40


async def test_where_the_seed_is_unlucky_without_a_fault_another_one_is_tried() -> None:
    before = Options(seed=9, faults=(Fault.LOSS, Fault.REORDER))
    after = await shrink(before, Failing(lambda each: len(each.faults) == 2 or each.seed != 9).first_failing)
    assert after.faults == ()
    assert after.seed != 9


async def test_what_cannot_be_made_smaller_is_returned_as_it_is() -> None:
    before = options(12)
    assert await shrink(before, Failing(lambda each: each == before).first_failing) == before


async def test_each_step_is_told() -> None:
    steps: list[Options] = []
    after = await shrink(Options(seed=1, users=5), Failing(lambda each: each.users >= 3).first_failing, steps.append)
    assert steps[-1] == after
    assert all(each.users >= 3 for each in steps)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 500),
    faults=st.sets(st.sampled_from(list(Fault)), max_size=4),
    users=st.integers(1, 4),
    hurt_s=st.floats(1, 15),
)
def test_what_is_left_fails_and_nothing_of_it_can_be_left_out(
    seed: int, faults: set[Fault], users: int, hurt_s: float
) -> None:
    import trio

    def fails(each: Options) -> bool:
        return faults <= set(each.faults) and each.users >= users and each.hurt_s >= hurt_s

    before = Options(seed=seed, faults=tuple(Fault), users=6, hurt_s=45.0)
    tried = Failing(fails)
    after = trio.run(shrink, before, tried.first_failing)
    assert fails(after)
    assert (set(after.faults), after.users) == (faults, users)
    assert hurt_s <= after.hurt_s <= hurt_s / 0.75 + 0.1
    assert len(tried.tried) < 900
