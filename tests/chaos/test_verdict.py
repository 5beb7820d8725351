"""What the checks find: each of them is shown evidence of its own kind of failure, and calm evidence, on which it is silent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaos.evidence import Logs, troubles
from chaos.invariants import Onlooker
from chaos.show import line
from chaos.verdict import Outcome, Report, Rows, judge_boxes, judge_logs, judge_pages, judge_rows
from contracts.verdicts import Verdict

BY = {"judge": "judge-1/1", "tests": b"[]", "judge_error": ""}
ACKNOWLEDGED = {"s1": Verdict.AC, "s2": Verdict.WA}


def _rows(**changes: Any) -> Rows:
    calm: dict[str, Any] = {
        "submissions": [
            {"id": "s1", "attempt": 1, "verdict": "AC", "fencing": 2},
            {"id": "s2", "attempt": 1, "verdict": "WA", "fencing": 1},
        ],
        "verdicts": [
            {"submission_id": "s1", "attempt": 1, "verdict": "AC", "fencing": 2, **BY},
            {"submission_id": "s2", "attempt": 1, "verdict": "WA", "fencing": 1, **BY},
        ],
        "effects": [("s1", 1), ("s2", 1), ("of another contest", 1), ("of another contest", 1)],
        "outbox": {"m1": True},
    }
    return Rows(**{**calm, **changes})


def _judged(**changes: Any) -> tuple[Outcome, list[str]]:
    outcome = Outcome(scenario="kill-judge", seed=7)
    return outcome, [str(each) for each in judge_rows(outcome, ACKNOWLEDGED, _rows(**changes))]


def test_calm_rows_are_counted_and_nothing_is_wrong_with_them() -> None:
    outcome, found = _judged()
    assert found == []
    assert (outcome.accepted, outcome.judged, outcome.lost, outcome.judged_twice) == (2, 2, 0, 0)


def test_a_lost_submission_is_counted_and_named() -> None:
    outcome, found = _judged(submissions=_rows().submissions[:1])
    assert outcome.lost == 1
    assert any("s2 was acknowledged and is lost" in each for each in found)


def test_a_wrong_verdict_is_no_verdict() -> None:
    wrong = [{**row, "verdict": "AC"} for row in _rows().submissions]
    _, found = _judged(submissions=wrong, verdicts=[{**row, "verdict": "AC"} for row in _rows().verdicts])
    assert any("s2 got AC and deserves WA" in each for each in found)
    assert any("s2 was judged by judge-1/1: []" in each for each in found), "what the judge saw is shown"


def test_what_was_accepted_twice_by_one_key_is_somebody_nobody_sent() -> None:
    more = [*_rows().submissions, {"id": "s3", "attempt": 1, "verdict": "AC", "fencing": 1}]
    _, found = _judged(submissions=more)
    assert any("s3 was submitted by nobody" in each for each in found)


@pytest.mark.parametrize(
    "changes",
    [
        {"effects": [("s1", 1), ("s1", 1), ("s2", 1)]},
        {"verdicts": [*_rows().verdicts, _rows().verdicts[0]]},
    ],
    ids=["announced twice", "written twice"],
)
def test_a_second_effect_is_counted(changes: dict[str, Any]) -> None:
    outcome, found = _judged(**changes)
    assert outcome.judged_twice == 1
    assert any("s1 was judged twice" in each for each in found)


def test_a_verdict_without_its_message_and_a_message_that_was_never_sent_are_found() -> None:
    assert any("s2:1 has a verdict that nobody was told of" in each for each in _judged(effects=[("s1", 1)])[1])
    assert any(each.startswith("I2") and "m2" in each for each in _judged(outbox={"m1": True, "m2": False})[1])


def test_a_stale_judge_that_had_an_effect_is_found() -> None:
    stale = [{**row, "fencing": row["fencing"] - 1} for row in _rows().verdicts]
    assert any(each.startswith("I3") for each in _judged(verdicts=stale)[1])


def test_gateways_that_differ_and_readers_that_stayed_behind_are_found() -> None:
    row = {"user_id": "u1", "score": 1, "penalty": 3, "last_ms": 9}
    page = {"version": 5, "rows": [row]}
    seen = {"reader1": (5, {"u1": row})}
    assert judge_pages({"gateway-1": page, "gateway-2": page}, seen) == []
    old = {"version": 4, "rows": [row]}
    assert [each.invariant for each in judge_pages({"gateway-1": page, "gateway-2": old}, seen)] == ["I4"]
    assert [each.invariant for each in judge_pages({"gateway-1": page}, {"reader1": (4, {"u1": row})})] == ["I5"]


def test_errors_and_tracebacks_in_a_log_are_troubles_and_standing_still_is_not() -> None:
    calm = [
        '{"event":"judged","level":"info"}',
        '{"event":"loop_blocked","level":"error"}',
        "  open http://…",
        '{"half a li',
    ]
    assert troubles(calm) == []
    assert len(troubles(['{"event":"x","level":"error"}', '{"event":"y","level":"warning","exception":"…"}'])) == 2
    assert troubles(["Traceback (most recent call last):", '  File "x"']) == ["a traceback beside the log"]
    assert [each.invariant for each in judge_logs({"core-1": calm, "core-2": ['{"level":"critical"}']})] == ["I7"]


def test_a_log_is_read_once(tmp_path: Any) -> None:
    logs = Logs({"core-1": tmp_path, "core-2": tmp_path / "nowhere"})
    (tmp_path / "log").write_text("one\n")
    assert logs.new() == {"core-1": ["one"]}
    with (tmp_path / "log").open("a") as file:
        file.write("two\n")
    assert logs.new() == {"core-1": ["two"]}


def test_more_sandboxes_than_workers_and_orphans_are_found() -> None:
    assert judge_boxes({"judge-1": 2}, 2, []) == []
    assert [each.invariant for each in judge_boxes({"judge-1": 3}, 2, [77])] == ["I6", "I6"]
    assert [each.detail for each in judge_boxes({}, 2, [])] == ["no sandbox was ever seen"]


def test_an_onlooker_complains_of_versions_that_fall_of_gaps_and_of_silence_about_them() -> None:
    def event(name: str, version: int, epoch: str = "e") -> list[str]:
        data = {"version": version, "rows": [], "row": {"user_id": "u"}}
        return [each.detail for each in board.sees("reader", name, f"{epoch}:{version}", data)]

    board = Onlooker()
    assert event("snapshot", 5) == []
    assert event("update", 6) == []
    assert "after version 6" in event("update", 6)[0]
    assert "a gap" in event("update", 8)[0]
    assert "after version 8" in event("snapshot", 7)[0]
    board = Onlooker(epoch="e", version=5, event_id="e:5", is_back=True)
    assert "no word" in event("snapshot", 9)[0]
    board = Onlooker(epoch="e", version=5, event_id="e:5", is_back=True)
    assert board.sees("reader", "reset", "", {}) == []
    assert event("snapshot", 9, "f") == []


def test_the_report_says_no_when_anything_broke_and_what_was_left_out_has_not_passed() -> None:
    good = Outcome(scenario="a", seed=1, recovered_s=2.0)
    bad = Outcome(scenario="b", seed=1, violations=["I1 …"])
    skipped = Outcome(scenario="c", seed=1, skipped="no room")
    assert Report([good, skipped]).is_good
    assert not Report([good, bad]).is_good
    assert not Report([good], broke_off="interrupted").is_good
    assert "left out: no room" in line(skipped)
    assert "recovered in 2.0 s" in line(good)
    assert "recovered in never" in line(bad)
    shown = msgspec.to_builtins(Report([good]))["scenarios"][0]
    assert {
        "scenario",
        "accepted",
        "judged",
        "lost",
        "judged_twice",
        "board_equal",
        "recovered_s",
        "breakers_recovered",
        "violations",
    } <= shown.keys()
