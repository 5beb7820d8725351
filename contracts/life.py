"""The life of a submission as a table.

    queued ──start──▶ compiling ──compiled──▶ running ──verdict──▶ judged ──rejudge──▶ queued (next attempt)

Rule 1: only ``verdict`` makes a submission judged, and it is a compare-and-set on (submission, attempt): the first one wins, later ones change nothing.
Rule 2: an attempt number only rises; what belongs to an older attempt changes nothing.
Rule 3: a judge that dies leaves the submission where it was; a redelivery starts it again within the same attempt.
An illegal move raises and leaves the state unchanged.

Durable are only the ends of it: core's compare-and-set statements are the moves ``verdict`` and ``rejudge`` (a verdict that is there, or is not). What is
between them is told while it happens, by the worker, which holds every step it is to tell against this table.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a submission is, as the API shows it."""

    QUEUED = "queued"
    COMPILING = "compiling"
    RUNNING = "running"
    JUDGED = "judged"


class Step(StrEnum):
    """What happens to a submission."""

    START = "start"
    COMPILED = "compiled"
    VERDICT = "verdict"
    REJUDGE = "rejudge"


class IllegalStep(Exception):
    """The table has no such move: a bug of the caller, not of a contestant."""


TABLE: dict[tuple[State, Step], State] = {
    (State.QUEUED, Step.START): State.COMPILING,
    (State.COMPILING, Step.START): State.COMPILING,  # redelivered after a judge's death
    (State.RUNNING, Step.START): State.COMPILING,
    (State.COMPILING, Step.COMPILED): State.RUNNING,
    (State.COMPILING, Step.VERDICT): State.JUDGED,  # compile error
    (State.RUNNING, Step.VERDICT): State.JUDGED,
    (State.QUEUED, Step.VERDICT): State.JUDGED,  # dead-lettered before any judge could start: JE
    (State.JUDGED, Step.REJUDGE): State.QUEUED,
}


def advance(state: State, step: Step) -> State:
    """Return the state after ``step``; raise IllegalStep when the table has no such move."""
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalStep(f"a submission that is {state} cannot {step}") from None
