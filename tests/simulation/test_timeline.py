"""One submission's life, cut out of a trace."""

from __future__ import annotations

import pytest

from chaos.simulation.timeline import life_of, unjudged
from contracts.errors import Invalid

ONE, OTHER = "01MCC5RM9ANA26K24Z3PVVJFKN", "01MCC5RM9ANA26K24Z3PVVJFKP"
LETTER = "01MCC5RM9BMS6ADQ1XWB08MVPZ"

LINES = tuple(
    line.strip("|")
    for line in f"""
|     0.0000  run            knobs {{}}|
|     0.2983  gateway-1      → core-1 core.Submit {ONE}|
|     0.3068  database       submission {ONE}:1|
|     0.3070  database       submission {OTHER}:1|
|     0.3097  core-2         → database SELECT min(available_at_ms) AS next FROM outbox_|
|     0.4000  core-2         → broker publish submission {LETTER} about {ONE}|
|     0.5000  judge-3        ← broker {LETTER} (0 before)|
|     0.6000  judge-3        judges {ONE}:1 fencing 1|
|     0.7000  judge-1        process 1 killed: a power cut|
|     0.8000  judge-3        process 1 killed: a power cut|
|     0.8000  judge-3        codewarz/judge/workers#1 cancelled|
|     0.9000  network        cut judge-3 | database for 2.0 s|
|     0.9000  network        cut judge-3 | redis for 2.0 s|
|     0.9500  network        cut judge-1 | leaderboard-1 for 1.0 s|
|     1.0000  network        redis down for 1.0 s|
|     3.2000  network        healed|
|     9.2500  judge-2        judges {ONE}:1 fencing 2|
|     9.5000  database       verdict {ONE}:1 AC|
|    10.0000  judge-3        process 3 begins|
""".strip().splitlines()
)


def test_a_life_is_what_names_the_submission_or_its_messages() -> None:
    life = life_of(ONE, LINES)
    assert [f"{each.at_s} {each.who} {each.what}" for each in life.moments if each.is_about] == [
        "0.2983 gateway-1 → core-1 core.Submit ◆",
        "0.3068 database submission ◆:1",
        "0.4 core-2 → broker publish submission ✉1 about ◆",
        "0.5 judge-3 ← broker ✉1 (0 before)",
        "0.6 judge-3 judges ◆:1 fencing 1",
        "9.25 judge-2 judges ◆:1 fencing 2",
        "9.5 database verdict ◆:1 AC",
    ]
    assert (life.submission, life.messages) == (ONE, (LETTER,))


def test_around_it_is_what_befell_those_who_had_to_do_with_it() -> None:
    life = life_of(ONE, LINES)
    assert [f"{each.who} {each.what}" for each in life.moments if not each.is_about] == [
        "judge-3 process 1 killed: a power cut",
        "network cut judge-3 | database, redis for 2.0 s",
        "network redis down for 1.0 s",
        "network healed",
    ]


def test_gaps_are_since_the_moment_before() -> None:
    life = life_of(ONE, LINES)
    gaps = {each.at_s: each.gap_s for each in life.moments}
    assert gaps[0.2983] == 0.0
    assert gaps[0.3068] == 0.0085
    assert gaps[9.25] == 6.05


def test_what_repeats_itself_is_one_moment() -> None:
    asks = [f"   {9 + number / 100:8.4f}  judge-2        → redis script lease:{ONE}:1" for number in range(4)]
    (moment,) = [each for each in life_of(ONE, [*LINES[:-3], *asks, *LINES[-3:]]).moments if "script" in each.what]
    assert (moment.at_s, moment.times, moment.until_s) == (9.0, 4, 9.03)


def test_the_beginning_of_an_id_is_enough() -> None:
    assert life_of("01mcc5rm9ana26k24z3pvvjfkn", LINES).submission == ONE
    only_one = [line for line in LINES if OTHER not in line]
    assert life_of("01MCC", only_one).submission == ONE


def test_an_id_that_is_none_or_several_is_answered_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="no submission's id begins with 'zz'") as caught:
        life_of("zz", LINES)
    assert f"{ONE}  committed at 0.3068 s, AC at 9.5000 s" in caught.value.detail
    with pytest.raises(Invalid, match="2 submissions' ids begin with '01MCC'"):
        life_of("01MCC", LINES)
    with pytest.raises(Invalid, match="no submission was committed"):
        life_of("01MCC", LINES[:1])


def test_what_nobody_judged_is_known() -> None:
    assert unjudged(LINES) == [OTHER]
