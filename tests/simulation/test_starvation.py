"""Starvation: who waits while others are served that had no claim to go first, and what is said of where it waits."""

from __future__ import annotations

import re

import pytest

from actors import outbox
from chaos.simulation import run as runs
from chaos.simulation.run import run
from chaos.simulation.scenario import Stage, Staged, scenario
from chaos.starvation import MARGIN_S, NAMED_MOST, OVERTAKEN_MOST, TOGETHER_S, Wait, overtaken, starved

BETWEEN_S = 2 * MARGIN_S


def turn(who: str, since_s: float, served_s: float | None, priority: int = 2) -> Wait:
    return Wait(who=who, priority=priority, since_s=since_s, served_s=served_s)


def crowd(many: int, *, priority: int = 2) -> list[Wait]:
    """Return so many who come one after the other and are served one second later."""
    return [turn(f"later{n}", n * BETWEEN_S, n * BETWEEN_S + 1.0, priority) for n in range(1, many + 1)]


def test_whoever_is_overtaken_too_often_starves() -> None:
    (found,) = starved([turn("first", 0.0, None), *crowd(OVERTAKEN_MOST + 1)])
    assert found.wait.who == "first"
    assert [each.who for each in found.before] == [f"later{n}" for n in range(1, OVERTAKEN_MOST + 2)]


def test_a_few_are_a_hiccup() -> None:
    assert starved([turn("first", 0.0, None), *crowd(OVERTAKEN_MOST)]) == []


def test_it_starved_even_when_it_was_served_in_the_end() -> None:
    line = [turn("first", 0.0, 1000.0), *crowd(OVERTAKEN_MOST + 1)]
    assert [each.wait.who for each in starved(line)] == ["first"]


def test_whoever_has_the_higher_priority_goes_first_however_many_that_are() -> None:
    assert starved([turn("practice", 0.0, None, priority=1), *crowd(100, priority=2)]) == []


def test_who_has_a_lower_priority_has_no_claim_even_when_it_came_before() -> None:
    earlier = [turn(f"again{n}", 0.0, 10.0 + n, priority=0) for n in range(OVERTAKEN_MOST + 1)]
    (found,) = starved([turn("contest", 5.0, None), *earlier])
    assert found.wait.who == "contest"


def test_who_comes_first_within_the_margin_and_who_is_first_of_a_batch_nobody_can_say() -> None:
    together = [turn(f"with{n}", MARGIN_S / 2, 1.0 + n) for n in range(50)]
    assert starved([turn("first", 0.0, None), *together]) == []
    batch = [turn(f"batch{n}", 5.0, 9.0) for n in range(50)]
    assert starved([turn("first", 0.0, 9.0 + TOGETHER_S / 2), *batch]) == []


def test_those_who_were_served_before_it_came_did_not_overtake_it() -> None:
    assert overtaken(turn("last", 1000.0, None), crowd(50)).before == ()


def test_the_worst_comes_first() -> None:
    line = [turn("second", 3 * BETWEEN_S, None), turn("first", 0.0, None), *crowd(20)]
    assert [each.wait.who for each in starved(line)] == ["first", "second"]


def test_it_is_said_since_when_and_who_was_served_meanwhile() -> None:
    text = overtaken(turn("first", 0.0, None), crowd(NAMED_MOST + 3)).text()
    assert text.startswith("first (priority 2, since 0.000 s) waits; meanwhile 8 were served that had no claim")
    assert "later1 (priority 2, since 1.000 s) at 2.000 s, later2" in text
    assert text.endswith("and 3 more")
    assert "nobody who had no claim to go first was served" in overtaken(turn("first", 0.0, None), []).text()


# ---- in a run that does not come to rest -----------------------------------------------------------------------------


@pytest.fixture
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run have no time to come to rest."""
    monkeypatch.setattr(runs, "HEALED_S", 0.9)


def _said(staged: Staged) -> str:
    result, _ = run(staged.options(1), scenario=staged)
    (violation,) = result.violations
    assert violation.invariant == "I9"
    assert violation.detail.startswith("Starvation: not at rest 0.9 s after the healing: ")
    return violation.detail


@pytest.mark.usefixtures("is_impatient")
def test_a_run_that_does_not_come_to_rest_says_for_each_submission_where_it_is() -> None:
    @scenario(judges=1, workers=1)
    async def crowded(stage: Stage) -> None:
        for _ in range(6):
            await stage.submit()

    said = _said(crowded)
    assert re.search(r"submission\.queue has \d ready and 1 unacked", said)
    assert re.search(r"01\w+:1 \(priority 2, since [\d.]+ s\) waits; nobody who had no claim", said)
    assert "judge-1 has request 01" in said
    assert "and has not answered it; judge-1 has it in a sandbox, fencing 1; where judge-1 waits: " in said
    assert "judging.py:" in said
    assert re.search(r"its lease is held by judge-1/\S+ for \d+\.\d s more", said)
    assert re.search(r"copies of its request that the broker has: 1, number 1 of \d that no judge has begun with", said)


@pytest.mark.usefixtures("is_impatient")
def test_what_has_not_left_the_outbox_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "AWAY_PAUSE_S", 60.0)

    @scenario()
    async def without_a_broker(stage: Stage) -> None:
        stage.restart("broker", for_s=60.0)
        await stage.submit()
        await stage.sleep(5.0)

    said = _said(without_a_broker)
    assert re.search(r"message 01\w+ \(priority 2, since [\d.]+ s\) waits", said)
    assert re.search(
        r"message 01\w+ \(priority 2\) is in the outbox, due since [\d.]+ s and claimed by nobody.*broker is down", said
    )
