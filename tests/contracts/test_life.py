from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import is_id, make_id
from contracts.life import TABLE, IllegalStep, State, Step, advance
from contracts.verdicts import Verdict, overall


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_every_move_is_in_the_table_or_illegal(state: State, step: Step) -> None:
    if (state, step) in TABLE:
        assert advance(state, step) is TABLE[state, step]
    else:
        with pytest.raises(IllegalStep, match=f"a submission that is {state} cannot {step}"):
            advance(state, step)


@given(st.lists(st.sampled_from(Step)))
def test_only_a_verdict_makes_a_submission_judged(steps: list[Step]) -> None:
    state = State.QUEUED
    for step in steps:
        try:
            after = advance(state, step)
        except IllegalStep:
            continue
        assert (after is State.JUDGED) == (step is Step.VERDICT)
        state = after


@given(st.lists(st.sampled_from(Verdict)))
def test_the_first_test_that_is_not_accepted_decides(verdicts: list[Verdict]) -> None:
    rejected = [verdict for verdict in verdicts if verdict is not Verdict.AC]
    expected = rejected[0] if rejected else Verdict.AC if verdicts else Verdict.JE
    assert overall(verdicts) is expected


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 48) - 1), st.integers())
def test_identifiers_sort_by_time_and_have_their_shape(one_ms: int, other_ms: int, seed: int) -> None:
    rng = random.Random(seed)
    one, other = make_id(one_ms, rng), make_id(other_ms, rng)
    assert is_id(one)
    assert is_id(other)
    if one_ms != other_ms:
        assert (one < other) == (one_ms < other_ms)
