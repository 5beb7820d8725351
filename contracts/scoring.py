"""ICPC and IOI scoring as pure functions: the one definition that boards, rebuilds, checks and tests share.

A board is the fold of the *verdict log*: for each submission the verdict of its highest attempt. The fold sorts by time of submission, so it
does not matter in which order verdicts arrived, or how often. ``contracts/lua/board_apply.lua`` computes the same cell inside Redis; a property
test holds it against this module.

ICPC: problems solved, then penalty (minutes from the contest's start to the accepted submission, plus 20 for each rejected attempt before it, on
solved problems only), then the time of the last accepted submission. IOI: the best score per problem, summed; ties share a rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from contracts.verdicts import Verdict

PENALTY_MINUTES = 20
_MINUTE_MS = 60_000

# A ZSET score is a double, exact to 2^53: solved (5 bits), inverted penalty in minutes (23), inverted second of the last accepted (24) make 52.
SOLVED_MAX = (1 << 5) - 1
PENALTY_SPAN = 1 << 23
LAST_SPAN = 1 << 24


class Rules(StrEnum):
    """How a contest is scored."""

    ICPC = "icpc"
    IOI = "ioi"


class Entry(msgspec.Struct, frozen=True):
    """One line of the verdict log, as scoring sees it. ``score`` is in hundredths of a point."""

    submission_id: str
    attempt: int
    user_id: str
    problem_id: str
    submitted_at_ms: int
    verdict: Verdict
    score: int = 0


class BoardRules(msgspec.Struct, frozen=True):
    """What of a contest matters to its board. Times in Unix milliseconds; ``freeze_ms`` None means never frozen.

    A board with a freeze is a public projection: what was submitted at or after it is only shown as pending.
    """

    rules: Rules
    start_ms: int
    end_ms: int
    freeze_ms: int | None = None


class Cell(msgspec.Struct, frozen=True):
    """One contestant on one problem. ``score`` in hundredths; ``time_ms`` from the contest's start to the accepted (IOI: best) submission, -1 without one."""

    solved: bool = False
    attempts: int = 0
    pending: int = 0
    time_ms: int = -1
    score: int = 0


class Total(msgspec.Struct, frozen=True):
    """A contestant's total. ICPC: ``score`` counts problems, ``penalty`` is in minutes, ``last_ms`` from the start. IOI: ``score`` in hundredths."""

    score: int = 0
    penalty: int = 0
    last_ms: int = 0


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """Return one entry per submission, that of the highest attempt, in order of submission (ties by identifier)."""
    newest: dict[str, Entry] = {}
    for entry in entries:
        seen = newest.get(entry.submission_id)
        if seen is None or entry.attempt > seen.attempt:
            newest[entry.submission_id] = entry
    return sorted(newest.values(), key=lambda entry: (entry.submitted_at_ms, entry.submission_id))


def cell(board: BoardRules, entries: Iterable[Entry]) -> Cell:
    """Fold one contestant's entries on one problem. What lies outside the contest's time does not count."""
    solved, attempts, pending, time_ms, score = False, 0, 0, -1, 0
    for entry in latest(entries):
        if not board.start_ms <= entry.submitted_at_ms < board.end_ms:
            continue
        if board.freeze_ms is not None and entry.submitted_at_ms >= board.freeze_ms:
            pending += 1
            continue
        if board.rules is Rules.IOI:
            attempts += entry.verdict not in (Verdict.CE, Verdict.JE)
            if entry.score > score:
                score, time_ms = entry.score, entry.submitted_at_ms - board.start_ms
            solved = solved or entry.verdict is Verdict.AC
        elif solved:
            continue
        elif entry.verdict is Verdict.AC:
            solved, time_ms, attempts = True, entry.submitted_at_ms - board.start_ms, attempts + 1
        elif entry.verdict.is_rejected_attempt:
            attempts += 1
    if board.rules is Rules.ICPC and solved:
        pending = 0  # an accepted problem cannot change any more
    return Cell(solved, attempts, pending, time_ms, score)


def total(rules: Rules, cells: Iterable[Cell]) -> Total:
    """Sum a contestant's cells."""
    score, penalty, last_ms = 0, 0, 0
    for each in cells:
        if rules is Rules.IOI:
            score += each.score
        elif each.solved:
            score += 1
            penalty += each.time_ms // _MINUTE_MS + PENALTY_MINUTES * (each.attempts - 1)
            last_ms = max(last_ms, each.time_ms)
    return Total(score, penalty, last_ms)


def sort_key(rules: Rules, each: Total) -> int:
    """Return the total as one number, greater is better, exact in a double; out-of-range parts are clamped."""
    if rules is Rules.IOI:
        return each.score
    penalty = PENALTY_SPAN - 1 - min(each.penalty, PENALTY_SPAN - 1)
    last = LAST_SPAN - 1 - min(each.last_ms // 1000, LAST_SPAN - 1)
    return (min(each.score, SOLVED_MAX) * PENALTY_SPAN + penalty) * LAST_SPAN + last


def standing(board: BoardRules, log: Iterable[Entry]) -> tuple[Total, dict[str, Cell]]:
    """Fold all the entries of one contestant: the total, and the cells with something in them."""
    problems: dict[str, list[Entry]] = {}
    for entry in log:
        problems.setdefault(entry.problem_id, []).append(entry)
    cells = {problem: cell(board, entries) for problem, entries in sorted(problems.items())}
    cells = {problem: each for problem, each in cells.items() if each != Cell()}
    return total(board.rules, cells.values()), cells


class Row(msgspec.Struct, frozen=True):
    """One contestant of a folded board. ``cells`` holds only problems with something in them."""

    rank: int
    user_id: str
    total: Total
    cells: Mapping[str, Cell]


def fold(board: BoardRules, participants: Iterable[str], log: Iterable[Entry]) -> list[Row]:
    """Return the whole board: every participant, best first; equal totals share a rank (number strictly better + 1), then by identifier.

    Entries of somebody who is not a participant are left out.
    """
    by_user: dict[str, list[Entry]] = {user: [] for user in participants}
    for entry in log:
        if entry.user_id in by_user:
            by_user[entry.user_id].append(entry)
    scored = []
    for user, entries in by_user.items():
        each_total, cells = standing(board, entries)
        scored.append((sort_key(board.rules, each_total), user, each_total, cells))
    scored.sort(key=lambda item: (-item[0], item[1]))
    rows: list[Row] = []
    rank = 0
    for position, (key, user, each_total, cells) in enumerate(scored):
        if position == 0 or key != scored[position - 1][0]:
            rank = position + 1
        rows.append(Row(rank, user, each_total, cells))
    return rows
