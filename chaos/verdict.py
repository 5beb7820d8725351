"""What a scenario came to: its checks, by the invariants' own code, and its line in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from chaos.evidence import troubles
from chaos.invariants import Violation, outbox_published, streams_are_current, submissions_judged
from contracts.ports import Row
from contracts.verdicts import Verdict

RECOVERY_MOST_S = 10.0  # from the heal; what the platform promises


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=False):
    """One scenario's line. ``recovered_s``: from the heal to the first moment at which something new was accepted, judged and seen by every
    reader, and everything older was judged; None: never while anybody waited."""

    scenario: str
    seed: int
    accepted: int = 0
    judged: int = 0
    lost: int = 0
    judged_twice: int = 0
    board_equal: bool = False
    recovered_s: float | None = None
    breakers_recovered: bool = False
    violations: list[str] = msgspec.field(default_factory=list)
    skipped: str | None = None
    lasted_s: float = 0.0
    readers_came_back: int = 0
    logs: str | None = None  # where they are kept, when it failed

    @property
    def is_good(self) -> bool:
        """Whether everything held. What was left out has not failed, and has not passed either."""
        return self.skipped is not None or not self.violations


class Report(msgspec.Struct, frozen=True):
    """Everything that was run, and what kept the rest from it."""

    scenarios: list[Outcome]
    broke_off: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether every scenario held, and none is missing."""
        return self.broke_off is None and all(outcome.is_good for outcome in self.scenarios)


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What the database has of a scenario, at rest: ``effects`` are the verdicts that were announced, (submission, attempt) each."""

    submissions: Sequence[Row]
    verdicts: Sequence[Row]
    effects: Sequence[tuple[str, int]]
    outbox: Mapping[str, bool]


def judge_rows(outcome: Outcome, acknowledged: Mapping[str, Verdict], rows: Rows) -> list[Violation]:
    """Count into ``outcome``, and return what is wrong: I1, I2, I3."""
    known = {row["id"]: row for row in rows.submissions}
    effects = Counter(effect for effect in rows.effects if effect[0] in known)
    twice = {submission_id for (submission_id, _), many in effects.items() if many > 1}
    lines = Counter(row["submission_id"] for row in rows.verdicts)
    twice |= {submission_id for submission_id, many in lines.items() if many > 1}
    outcome.accepted = len(acknowledged)
    outcome.judged = sum(1 for each in acknowledged if each in known and known[each]["verdict"] is not None)
    outcome.lost = outcome.accepted - outcome.judged
    outcome.judged_twice = len(twice)
    found = submissions_judged(acknowledged, rows.submissions, rows.verdicts, may_err=False)
    found += [
        Violation(
            "I1", f"{row['submission_id']} was judged by {row['judge']}: {row['judge_error'] or _text(row['tests'])}"
        )
        for row in rows.verdicts
        if row["verdict"] != acknowledged.get(row["submission_id"], row["verdict"])
    ]
    found += [Violation("I1", f"{each} was judged twice, with effect") for each in sorted(twice)]
    found += [
        Violation("I1", f"{each}:{attempt} has a verdict that nobody was told of")
        for each, attempt in {(row["submission_id"], row["attempt"]) for row in rows.verdicts} - effects.keys()
    ]
    found += outbox_published(rows.outbox)
    for row in rows.verdicts:
        newest = known.get(row["submission_id"], row)["fencing"]
        if row["fencing"] != newest:
            text = f"{row['submission_id']} has the verdict of number {row['fencing']}, and the newest is {newest}"
            found.append(Violation("I3", text))
    return found


def judge_pages(
    pages: Mapping[str, Mapping[str, object]], seen: Mapping[str, tuple[int, Mapping[str, object]]]
) -> list[Violation]:
    """I4, I5: every gateway shows the same board, and everybody who watches has it; pages by gateway."""
    found: list[Violation] = []
    first = next(iter(pages.values()))
    for gateway, page in pages.items():
        if page["version"] != first["version"] or page["rows"] != first["rows"]:
            found.append(Violation("I4", f"{gateway} shows version {page['version']}, another {first['version']}"))
    rows: Sequence[Mapping[str, object]] = first["rows"]  # type: ignore[assignment]
    version: int = first["version"]  # type: ignore[assignment]
    return found + streams_are_current(seen, version, rows)


def judge_logs(lines: Mapping[str, Sequence[str]]) -> list[Violation]:
    """I7: no process's log has an error that nobody expects."""
    return [Violation("I7", f"{name}: {each}") for name, some in lines.items() for each in troubles(some)]


def judge_boxes(most: Mapping[str, int], workers: int, orphans: Sequence[int]) -> list[Violation]:
    """I6: never more sandboxes than workers, and none without its judge. That none was seen at all says that nobody looked in the right place."""
    found = [] if most else [Violation("I6", "no sandbox was ever seen")]
    found += [
        Violation("I6", f"{name} had {many} sandboxes at once, and {workers} workers")
        for name, many in most.items()
        if many > workers
    ]
    return found + [Violation("I6", f"the sandbox with process {pid} outlived its judge") for pid in orphans]


def _text(tests: bytes) -> str:
    return tests.decode(errors="replace")[:1000]
