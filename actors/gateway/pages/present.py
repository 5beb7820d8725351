"""From views to what people read: durations, sizes, and what a cell of the standings shows. ``static/js/board.js`` says the same for live rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from actors.gateway.views import CellView, RowView, RunView, SubmissionView
from contracts.scoring import Rules
from contracts.verdicts import Verdict

_S_MS = 1000
_MARK_LENGTH = 4


class CellText(msgspec.Struct, frozen=True):
    """A cell of the standings: its look (``kind``), two short texts, and the whole in words."""

    kind: str
    main: str
    sub: str
    words: str


def at_ms(time: str) -> int:
    """Return an API time as Unix milliseconds."""
    return round(datetime.fromisoformat(time).timestamp() * _S_MS)


def moment(time: str) -> str:
    """Return an API time in UTC for people ("23 Nov 2026, 14:05 UTC"); the page's script shows it in the reader's own zone."""
    at = datetime.fromisoformat(time).astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def countdown(left_ms: float) -> str:
    """Return "2d 03:04:05", "3:04:05" or "04:05", as the page's script does; never negative."""
    left_s = max(0, -(-int(left_ms) // _S_MS))
    days, rest = divmod(left_s, 86400)
    hours, rest = divmod(rest, 3600)
    tail = f"{rest // 60:02}:{rest % 60:02}"
    if days:
        return f"{days}d {hours:02}:{tail}"
    return f"{hours}:{tail}" if hours else tail


def length(start: str, end: str) -> str:
    """Return how long a contest lasts: "5 h", "1 h 30 min", "3 days"."""
    minutes = (at_ms(end) - at_ms(start)) // 60_000
    if minutes >= 2 * 1440 and minutes % 1440 == 0:
        return f"{minutes // 1440} days"
    hours, rest = divmod(minutes, 60)
    return " ".join(
        part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if part
    )


def memory(kb: int) -> str:
    """Return KiB for people."""
    return f"{kb / 1024:.1f} MB" if kb >= 1024 else f"{kb} KB"


def limit_time(ms: int) -> str:
    """Return a time limit: "2 s", "1.5 s", "250 ms"."""
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms} ms"


def limit_memory(kb: int) -> str:
    """Return a memory limit in whole units."""
    return f"{kb / 1024:g} MB" if kb >= 1024 else f"{kb} KB"


def contest_time(ms: int) -> str:
    """Return a contest time as hours and minutes: "1:07"."""
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02}"


def mark_of(version: int) -> str:
    """Return a board's version as a short mark ("#k3f9"): its last four digits to base 36. Versions are 13 digits long, and nobody compares those by eye."""
    digits = []
    for _ in range(_MARK_LENGTH):
        version, digit = divmod(version, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return "#" + "".join(reversed(digits))


def points(score: float) -> str:
    """Return points with at most two decimals: "100", "33.5"."""
    return f"{round(score, 2):g}" if abs(score) < 100_000 else f"{score:.0f}"


def first_solvers(rows: Iterable[RowView]) -> dict[str, str]:
    """Return who solved each problem first; only meaningful with every row at hand."""
    best: dict[str, tuple[int, str]] = {}
    for row in rows:
        for problem, cell in row.cells.items():
            if cell.solved and cell.time_ms >= 0 and (problem not in best or cell.time_ms < best[problem][0]):
                best[problem] = (cell.time_ms, row.user_id)
    return {problem: user for problem, (_, user) in best.items()}


def cell_text(rules: Rules, cell: CellView | None, *, is_first: bool = False, full: float = 100) -> CellText | None:
    """Return what a cell shows, or None when there is nothing in it."""
    if cell is None or not (cell.attempts or cell.pending):
        return None
    tries = f"{cell.attempts} {'try' if cell.attempts == 1 else 'tries'}"
    if rules is Rules.IOI:
        return _points_cell(cell, tries, full)
    if cell.solved:
        wrong = cell.attempts - 1
        words = f"Solved at {contest_time(cell.time_ms)} with {tries}{', first to solve' if is_first else ''}"
        return CellText(
            "first" if is_first else "solved", contest_time(cell.time_ms), f"+{wrong}" if wrong else "", words
        )
    if cell.pending:
        sub = f"{cell.attempts}+{cell.pending}" if cell.attempts else str(cell.pending) if cell.pending > 1 else ""
        return CellText("pending", "?", sub, f"{cell.pending} waiting, {tries} before")
    return CellText("tried", f"\u2212{cell.attempts}", "", f"{tries}, not solved")


def _points_cell(cell: CellView, tries: str, full: float) -> CellText:
    if not cell.attempts:
        return CellText("pending", "?", "", f"{cell.pending} waiting")
    kind = "solved" if cell.solved or cell.score >= full else "partial" if cell.score > 0 else "tried"
    sub, pending = (f"+{cell.pending}?", f", {cell.pending} waiting") if cell.pending else ("", "")
    return CellText(kind, points(cell.score), sub, f"{points(cell.score)} points, {tries}{pending}")


def judging_summary(view: SubmissionView | RunView) -> str:
    """Return the line under the verdict: where it failed, the most time and memory of any test."""
    if view.verdict is None:
        return "The result appears here by itself"
    if view.verdict is Verdict.CE:
        return "It does not count as an attempt"
    if view.verdict is Verdict.JE:
        return "Our fault, never yours: it will be judged again"
    if not view.tests:
        return ""
    failed = next((test for test in view.tests if test.verdict is not Verdict.AC), None)
    count = len(view.tests)
    where = f"on test {failed.number}" if failed else "1 test" if count == 1 else f"all {count} tests"
    return " · ".join(
        [where, f"{max(test.cpu_ms for test in view.tests)} ms", memory(max(test.memory_kb for test in view.tests))]
    )
