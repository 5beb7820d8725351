"""What must always hold, by name: the same checks for the simulation and for scenarios on real processes.

Each check is a function of evidence (rows, what clients were told) and returns violations; none needs to know where the evidence came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from actors.boards import Boards, BoardView
from actors.projector import Log
from contracts.ports import Row
from contracts.verdicts import Verdict

INVARIANTS = {
    "I1": "an acknowledged submission is never lost: it reaches exactly one final verdict per attempt",
    "I2": "a committed outbox row is published at least once; an uncommitted one never",
    "I3": "a stale judge (lost lease, old attempt) can change nothing",
    "I4": "every board equals the fold of the verdict log, after quiescence, on every replica",
    "I5": "board versions seen by any SSE client only rise, and it ends on the last one",
    "I6": "never more than N sandboxes at once; no sandbox outlives its submission",
    "I7": "never two incarnations of one actor; every exit has an event; no exception is lost",
    "I8": "no queue above its bound; overload is answered with 429 or 503",
    "I9": "after the faults heal all queues drain, within a stated time",
}


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken: which one, how, and when (seconds since the run's start)."""

    invariant: str
    detail: str
    at_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_s:.3f} s: {self.detail}"


def submissions_judged(
    acknowledged: Mapping[str, Verdict], submissions: Iterable[Row], verdicts: Iterable[Row], *, may_err: bool
) -> list[Violation]:
    """I1: every acknowledged submission is there, once, with one verdict for its newest attempt, and the right one.

    ``may_err`` allows a judge error in its place: where judges are crashed on purpose, one may be the last resort.
    """
    rows = {row["id"]: row for row in submissions}
    given: dict[str, dict[int, str]] = {}
    found: list[Violation] = []
    for row in verdicts:
        attempts = given.setdefault(row["submission_id"], {})
        if row["attempt"] in attempts:
            found.append(Violation("I1", f"{row['submission_id']}:{row['attempt']} has two verdicts"))
        attempts[row["attempt"]] = row["verdict"]
    for submission_id, expected in acknowledged.items():
        submission = rows.get(submission_id)
        if submission is None:
            found.append(Violation("I1", f"{submission_id} was acknowledged and is lost"))
            continue
        verdict = given.get(submission_id, {}).get(submission["attempt"])
        if verdict is None or submission["verdict"] != verdict:
            text = (
                f"{submission_id}:{submission['attempt']} has the verdict {submission['verdict']} and the log {verdict}"
            )
            found.append(Violation("I1", text))
        elif verdict != expected and not (may_err and verdict == Verdict.JE):
            found.append(Violation("I1", f"{submission_id} got {verdict} and deserves {expected}"))
    found += [Violation("I1", f"{each} was submitted by nobody") for each in rows.keys() - acknowledged.keys()]
    return found


def outbox_published(outbox: Mapping[str, bool]) -> list[Violation]:
    """I2: every committed row was published; by message, whether it was."""
    return [
        Violation("I2", f"{each} was committed and never published") for each, is_out in outbox.items() if not is_out
    ]


async def boards_are_the_fold(boards: Boards, log: Log, contest_id: str) -> list[Violation]:
    """I4: both views of a contest's board, as stored, equal the fold of the verdict log."""
    contest = await log.contest(contest_id)
    if contest is None:
        return [Violation("I4", f"there is no contest {contest_id}")]
    names, entries = await log.names(contest_id), await log.entries(contest_id)
    found = []
    for view in BoardView:
        users = await boards.differences(contest, view, names, entries)
        if users:
            found.append(Violation("I4", f"the {view} board differs from the verdict log for {', '.join(users)}"))
    return found


class Onlooker(msgspec.Struct):
    """A board as a browser keeps it, from snapshots and updates; with each event it says what I5 has against it."""

    epoch: str = ""
    version: int = 0
    rows: dict[str, Mapping[str, object]] = msgspec.field(default_factory=dict)
    event_id: str = ""
    is_back: bool = False  # with an event's identifier, and nothing has come since

    def sees(self, client: str, name: str, event_id: str, data: Mapping[str, Any]) -> list[Violation]:
        """Take in one event."""
        if name == "reset":
            self.is_back = False
            return []
        found = []
        epoch, _, text = event_id.rpartition(":")
        version = int(text)
        if data["version"] != version:
            found.append(f"event {event_id} carries version {data['version']}")
        if version < self.version or (version == self.version and name == "update" and epoch == self.epoch):
            found.append(f"{name} {event_id} came after version {self.version}")
        if name == "snapshot":
            if self.is_back:
                found.append(
                    f"back with {self.event_id} it got a snapshot, and no word of what became of the events since"
                )
            self.rows = {row["user_id"]: row for row in data["rows"]}
        else:
            if epoch != self.epoch or version != self.version + 1:
                found.append(f"update {event_id} came upon {self.epoch}:{self.version}, a gap that nobody told of")
            self.rows[data["row"]["user_id"]] = data["row"]
        self.is_back = False
        self.epoch, self.version, self.event_id = epoch, version, event_id
        return [Violation("I5", f"{client}: {each}") for each in found]


def streams_are_current(
    seen: Mapping[str, tuple[int, Mapping[str, object]]], version: int, rows: Sequence[Mapping[str, object]]
) -> list[Violation]:
    """I5: everybody who watches has seen the last version, and has the board's rows; by client, its last version and rows by user."""
    wanted = {str(row["user_id"]): _score(row) for row in rows}
    found = []
    for client, (last, kept) in seen.items():
        if last != version:
            found.append(Violation("I5", f"{client} ended on version {last}, the board has {version}"))
        elif {user: _score(row) for user, row in kept.items()} != wanted:  # type: ignore[arg-type]
            found.append(Violation("I5", f"{client} is on version {version} and its rows are not the board's"))
    return found


def _score(row: Mapping[str, object]) -> tuple[object, ...]:
    """What updates keep right; ranks of others follow from the order."""
    return row["score"], row["penalty"], row["last_ms"]
