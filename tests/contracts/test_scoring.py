from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from contracts.scoring import BoardRules, Cell, Entry, Rules, Total, cell, fold, sort_key, total
from contracts.verdicts import Verdict

HOUR = 3_600_000
MINUTE = 60_000
RULES = BoardRules(Rules.ICPC, 0, 5 * HOUR)


def entry(
    at_ms: int, verdict: Verdict, *, number: int = 0, attempt: int = 1, user: str = "ada", problem: str = "A"
) -> Entry:
    return Entry(f"s{number or at_ms}", attempt, user, problem, at_ms, verdict, 100_00 if verdict is Verdict.AC else 0)


def entries() -> st.SearchStrategy[list[Entry]]:
    """Logs of a few users, problems and submissions; one submission keeps its user, problem and time through its attempts."""

    def submission(number: int) -> st.SearchStrategy[list[Entry]]:
        return st.builds(
            lambda user, problem, at, given: [
                Entry(f"s{number}", attempt, user, problem, at, verdict, score)
                for attempt, (verdict, score) in enumerate(given, 1)
            ],
            st.sampled_from(["ada", "bob", "cyd"]),
            st.sampled_from(["A", "B"]),
            st.integers(-HOUR, 6 * HOUR),
            st.lists(st.tuples(st.sampled_from(Verdict), st.integers(0, 100_00)), min_size=1, max_size=3),
        )

    return (
        st.integers(0, 8)
        .flatmap(lambda many: st.tuples(*(submission(n) for n in range(many))))
        .map(lambda groups: [each for group in groups for each in group])
    )


def boards() -> st.SearchStrategy[BoardRules]:
    return st.builds(
        BoardRules, st.sampled_from(Rules), st.just(0), st.just(5 * HOUR), st.none() | st.integers(0, 5 * HOUR)
    )


def test_penalty_counts_the_time_of_submission_and_twenty_minutes_for_each_rejected_attempt() -> None:
    log = [entry(10 * MINUTE, Verdict.WA), entry(20 * MINUTE, Verdict.TLE), entry(31 * MINUTE + 59_000, Verdict.AC)]
    each = cell(RULES, log)
    assert each == Cell(solved=True, attempts=3, pending=0, time_ms=31 * MINUTE + 59_000, score=0)
    assert total(Rules.ICPC, [each]) == Total(score=1, penalty=31 + 40, last_ms=31 * MINUTE + 59_000)


def test_compile_errors_and_judge_errors_are_not_attempts() -> None:
    log = [entry(1, Verdict.CE), entry(2, Verdict.JE), entry(3 * MINUTE, Verdict.AC)]
    assert cell(RULES, log).attempts == 1


def test_attempts_on_unsolved_problems_cost_nothing() -> None:
    assert total(Rules.ICPC, [cell(RULES, [entry(5, Verdict.WA), entry(6, Verdict.RTE)])]) == Total()


def test_what_comes_after_the_accepted_one_does_not_count() -> None:
    log = [entry(MINUTE, Verdict.AC), entry(2 * MINUTE, Verdict.WA), entry(3 * MINUTE, Verdict.AC)]
    assert cell(RULES, log) == Cell(solved=True, attempts=1, pending=0, time_ms=MINUTE, score=0)


def test_a_rejudging_replaces_the_verdict_of_the_attempt_before() -> None:
    log = [entry(MINUTE, Verdict.AC, number=1), entry(MINUTE, Verdict.WA, number=1, attempt=2)]
    assert not cell(RULES, log).solved


def test_after_the_freeze_only_the_number_of_submissions_shows() -> None:
    frozen = BoardRules(Rules.ICPC, 0, 5 * HOUR, 4 * HOUR)
    log = [entry(HOUR, Verdict.WA), entry(4 * HOUR, Verdict.AC), entry(4 * HOUR + 1, Verdict.WA)]
    assert cell(frozen, log) == Cell(solved=False, attempts=1, pending=2, time_ms=-1, score=0)


def test_submissions_outside_the_contest_do_not_count() -> None:
    assert cell(RULES, [entry(-1, Verdict.AC), entry(5 * HOUR, Verdict.AC)]) == Cell()


def test_equal_totals_share_a_rank_and_the_next_one_skips() -> None:
    log = [entry(MINUTE, Verdict.AC, number=n, user=user) for n, user in enumerate(["ada", "bob"], 1)]
    rows = fold(RULES, ["cyd", "bob", "ada"], log)
    assert [(row.rank, row.user_id) for row in rows] == [(1, "ada"), (1, "bob"), (3, "cyd")]


def test_ioi_sums_the_best_score_of_each_problem() -> None:
    rules = BoardRules(Rules.IOI, 0, 5 * HOUR)
    log = [
        Entry("s1", 1, "ada", "A", 10, Verdict.WA, 40_00),
        Entry("s2", 1, "ada", "A", 20, Verdict.WA, 30_00),
        Entry("s3", 1, "ada", "B", 30, Verdict.AC, 100_00),
    ]
    assert fold(rules, ["ada"], log)[0].total == Total(score=140_00)


@given(boards(), entries(), st.randoms(use_true_random=False))
def test_a_board_does_not_depend_on_order_or_repetition(
    board: BoardRules, log: Sequence[Entry], random: object
) -> None:
    shuffled = [*log, *log[: len(log) // 2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(board, ["ada", "bob"], log) == fold(board, ["bob", "ada"], shuffled)


@given(boards(), entries())
def test_ranks_say_how_many_are_strictly_better(board: BoardRules, log: Sequence[Entry]) -> None:
    rows = fold(board, ["ada", "bob", "cyd"], log)
    keys = [sort_key(board.rules, row.total) for row in rows]
    assert keys == sorted(keys, reverse=True)
    assert [row.rank for row in rows] == [1 + sum(other > key for other in keys) for key in keys]


totals = st.builds(Total, st.integers(0, 31), st.integers(0, 100_000), st.integers(0, 14 * 24 * HOUR))


@given(totals, totals)
def test_the_sort_key_orders_as_icpc_does_and_is_exact_in_a_double(one: Total, other: Total) -> None:
    def as_tuple(each: Total) -> tuple[int, int, int]:
        return (each.score, -each.penalty, -(each.last_ms // 1000))

    key, other_key = sort_key(Rules.ICPC, one), sort_key(Rules.ICPC, other)
    assert int(float(key)) == key < 1 << 53
    assert (key < other_key) == (as_tuple(one) < as_tuple(other))
