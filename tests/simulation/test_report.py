"""What a batch is told as: figures, what must have been seen, and what led to a failure."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chaos.invariants import INVARIANTS, Violation
from chaos.simulation import sometimes
from chaos.simulation.batch import Tally
from chaos.simulation.faults import Fault, Options, options
from chaos.simulation.job import Done, Job, brief, command, make_options, read_options
from chaos.simulation.report import OTHERS, Report, last_events, make_report, suspects
from chaos.simulation.show import Sayer
from contracts.errors import Invalid
from supervisor import Kind

ROOT = Path(__file__).parents[2]
ID = "01MCC5RM9ANA26K24Z3PVVJFKN"


def _tally(many: int, **counts: int) -> Tally:
    tally = Tally()
    for seed in range(many):
        fields = Done(job=Job(seed=seed), trace=f"t{seed}", submissions=2, simulated_s=10.0, points=("core.committed",))
        tally.add(fields)
    tally.counts.update(counts)
    return tally


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_the_report_has_these_fields_and_no_others() -> None:
    assert Report.__struct_fields__ == (
        "seeds", "violations", "submissions", "faults", "sometimes", "simulated_s", "wall_s", "submissions_per_s", "simulated_per_wall_s", "traces",
    )  # fmt: skip


def test_every_fault_has_its_count_and_the_highest_is_first() -> None:
    report = make_report("0..4", _tally(5, loss=3, latency=9, redelivered=4, submitted=10))
    assert set(report.faults) == {str(fault) for fault in Fault}
    assert list(report.faults)[:2] == ["latency", "loss"]
    assert next(iter(report.sometimes)) == "redelivered"
    assert report.sometimes["at core.committed"] == 0
    assert "submitted" not in report.sometimes
    assert (report.submissions, report.simulated_s) == (10, 50.0)
    assert report.traces == {seed: f"t{seed}" for seed in range(5)}


def test_a_violation_tells_how_to_see_it_again() -> None:
    tally = _tally(1)
    tally.failures.append(Done(job=Job(seed=0), options=options(0), violations=(Violation("I1", "lost", 2.5),)))
    written = msgspec.json.decode(msgspec.json.encode(make_report("0", tally)))
    assert written["violations"] == [
        {
            "seed": 0,
            "invariant": "I1",
            "detail": "lost",
            "at_s": 2.5,
            "options": json.loads(msgspec.json.encode(options(0))),
            "replay": "codewarz simulate --replay 0",
        }
    ]


# ---- sometimes -------------------------------------------------------------------------------------------------------


def test_a_large_batch_in_which_something_never_happened_has_failed() -> None:
    everything = dict.fromkeys(sometimes.required(["core.committed"]), 1)
    assert make_report("", _tally(sometimes.SEEDS_ENOUGH, **everything), is_complete=True).violations == []
    del everything["at core.committed"], everything["redelivered"]
    found = make_report("", _tally(sometimes.SEEDS_ENOUGH, **everything), is_complete=True).violations
    assert [each.detail for each in found] == [
        "redelivered never happened in 300 seeds: the broker gave a message to somebody a second time",
        "at core.committed never happened in 300 seeds: something went wrong at this point in our code",
    ]
    assert {(each.seed, each.invariant, each.replay) for each in found} == {(None, "sometimes", None)}


def test_what_is_rare_must_be_seen_in_a_very_large_batch_only() -> None:
    usual = dict.fromkeys(sometimes.required(["core.committed"], sometimes.SEEDS_ENOUGH), 1)
    assert not sometimes.never_fired(usual, ["core.committed"], sometimes.SEEDS_ENOUGH_FOR_RARE - 1)
    assert set(sometimes.never_fired(usual, [], sometimes.SEEDS_ENOUGH_FOR_RARE)) == set(sometimes.RARE)


def test_a_point_that_is_hardly_passed_is_rare() -> None:
    (point,) = sometimes.RARE_POINTS
    assert point in (ROOT / "actors/sweeper.py").read_text(), "there is no such point any more"
    assert f"at {point}" not in sometimes.required([point], sometimes.SEEDS_ENOUGH)
    assert f"at {point}" in sometimes.required([point], sometimes.SEEDS_ENOUGH_FOR_RARE)


def test_a_small_batch_or_one_that_was_interrupted_need_not_have_seen_anything() -> None:
    assert make_report("", _tally(sometimes.SEEDS_ENOUGH - 1), is_complete=True).violations == []
    assert make_report("", _tally(sometimes.SEEDS_ENOUGH), is_complete=False).violations == []


def test_every_counter_that_the_simulation_raises_is_explained() -> None:
    named: set[str] = set()
    for path in sorted((ROOT / "chaos").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "saw":
                (argument,) = node.args
                if isinstance(argument, ast.Constant):
                    named.add(str(argument.value))
    assert named, "where is World.saw?"
    explained = sometimes.FAULTS | sometimes.RECOVERIES | sometimes.RARE | sometimes.POSSIBLE
    assert not named - set(explained), "these want a line in chaos/simulation/sometimes.py"
    assert set(sometimes.FAULTS) == {str(fault) for fault in Fault}
    of_the_supervisor = {kind.value for kind in Kind}
    assert set(sometimes.POSSIBLE) - named <= of_the_supervisor
    raised_otherwise = {"judge_error"}
    assert set(sometimes.RECOVERIES | sometimes.RARE) - named <= of_the_supervisor | raised_otherwise


# ---- failures --------------------------------------------------------------------------------------------------------

LINES = (
    "     1.0000  core-1         one",
    f"     2.0000  judge-1        judges {ID}:1 fencing 1",
    "     3.0000  core-2         two",
    f"     4.0000  user1          GET /api/v1/submissions/{ID}/stream opened",
    "     5.0000  gateway-1      three",
    "     6.0000  check          I1 VIOLATED: core-1 did it",
    "     7.0000  core-1         what came after it",
)


def test_the_last_events_are_those_of_the_actors_involved() -> None:
    assert last_events(["core-1", ID], LINES, most=3) == [LINES[0], LINES[1], LINES[5]]


def test_where_they_are_few_the_newest_of_all_are_beside_them() -> None:
    assert last_events(["judge-1"], LINES, most=3) == [LINES[1], LINES[4], LINES[5]]
    assert last_events([], LINES, most=2) == [LINES[4], LINES[5]]
    assert last_events([], []) == []


def test_suspects_are_named_or_have_not_been_judged() -> None:
    assert suspects([Violation("I9", f"core-1 kept {ID} and not core-10")], LINES) == ["core-1", ID]
    waiting = (*LINES, f"     0.3068  database       submission {ID}:1")
    assert suspects([Violation("I9", "not at rest")], waiting) == [ID]


def test_a_failure_prints_all_that_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    done = Done(
        job=Job(seed=7),
        options=options(7),
        violations=(Violation("I1", f"core-1 lost {ID}\nand more", 6.0),),
        lines=LINES,
    )
    Sayer(Console(width=80)).failure(done)
    said = capsys.readouterr().out
    assert f"seed 7  I1 at 6.0000 s  {INVARIANTS['I1']}" in said
    assert "  and more\n" in said
    assert f"  the last events around core-1, {ID}\n" in said
    assert LINES[1] in said
    assert LINES[6] not in said
    assert msgspec.json.encode(options(7)).decode() in said
    assert "replay   codewarz simulate --replay 7\n" in said
    assert f"timeline codewarz simulate --replay 7 --timeline {ID}\n" in said
    assert "shrink   codewarz simulate --replay 7 --shrink\n" in said


def test_after_the_first_few_a_failure_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    sayer = Sayer(Console(width=80))
    for seed in range(7):
        sayer.failure(
            Done(job=Job(seed=seed), options=options(seed), violations=(Violation("I1", "lost"),), lines=LINES)
        )
    said = capsys.readouterr().out
    assert said.count("the last events") == 5
    assert "--replay 6" in said


def test_everything_that_can_be_violated_says_what_it_promises() -> None:
    assert set(OTHERS) == {"replay", "worker", "error", "scenario", "sometimes"}
    used = set()
    for path in sorted((ROOT / "chaos").rglob("*.py")):
        used |= set(re.findall(r'(?:Violation|violated)\(\s*"(\w+)"', path.read_text()))
    assert used - {"worker", "replay", "error", "scenario"} <= set(INVARIANTS)


# ---- options as people write them ------------------------------------------------------------------------------------


def test_options_are_read_as_they_are_written() -> None:
    for seed in range(60):
        assert read_options(brief(options(seed))) == options(seed)
        assert read_options(msgspec.json.encode(options(seed)).decode()) == options(seed)


def test_a_command_leaves_out_what_is_as_usual() -> None:
    small = Options(seed=7, faults=(Fault.LOST_ACK,), users=1)
    assert command(Job(seed=7, options=small)) == (
        """codewarz simulate --options '{"seed":7,"faults":["lost_ack"],"users":1}'"""
    )
    assert command(Job(seed=7)) == "codewarz simulate --replay 7"
    assert command(Job(seed=7, scenario="a b.py:c")) == "codewarz simulate --scenario 'a b.py:c' --replay 7"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "are not JSON"),
        ("[7]", "are an object, for example"),
        ("{}", "missing required field `seed`"),
        ('{"seed": 7, "user": 3}', "there is no option 'user': there are seed, faults"),
        ('{"seed": 7, "users": "x"}', r"Expected `int`, got `str` - at `\$.users`"),
        ('{"seed": 7, "faults": ["flood"]}', "Invalid enum value 'flood'"),
        ('{"seed": 7, "users": 0}', "users is 0: it goes from 1 to 1000"),
        ('{"seed": -7}', "the seed is -7: seeds begin at 0"),
        ('{"seed": 7, "hurt_s": 0}', "hurt_s is 0: it is above 0 and at most 600"),
        ('{"seed": 7, "intensity": 0}', "intensity is 0: it is above 0"),
        ('{"seed": 7, "rules": "chess"}', "rules is 'chess': it is icpc or ioi"),
    ],
)
def test_bad_options_are_answered_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read_options(text)


def test_the_least_of_everything_can_be_run() -> None:
    assert make_options({"seed": 0, "submissions": 0, "watchers": 0, "users": 1}).users == 1
