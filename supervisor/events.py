"""What happened in a tree, as one frozen type with a text and a map form: log lines, CLI and JSON all come from it."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

KEPT_EVENTS = 256


class Kind(StrEnum):
    """What kind of thing happened."""

    STARTED = "started"
    READY = "ready"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKING_OFF = "backing_off"
    FAILED = "failed"
    """Ended for good, by a crash."""
    ESCALATED = "escalated"
    WOULD_NOT_STOP = "would_not_stop"
    QUARANTINED = "quarantined"
    WEDGED = "wedged"
    LOOP_BLOCKED = "loop_blocked"
    SCALED = "scaled"
    OPERATOR = "operator"
    SHUTDOWN = "shutdown"


WORRYING = (
    Kind.CRASHED,
    Kind.FAILED,
    Kind.ESCALATED,
    Kind.WOULD_NOT_STOP,
    Kind.QUARANTINED,
    Kind.WEDGED,
    Kind.LOOP_BLOCKED,
)


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened to one child. `at` is wall time in seconds since the epoch, `seq` counts from 1."""

    seq: int
    at: float
    kind: Kind
    path: str
    incarnation: int = 0
    detail: str = ""
    traceback: str | None = None

    def text(self) -> str:
        """One line for people; the traceback stays in its field."""
        which = f"#{self.incarnation}" if self.incarnation else ""
        return f"{self.path}{which} {self.kind.value.replace('_', ' ')}" + (f": {self.detail}" if self.detail else "")

    def as_map(self) -> dict[str, Any]:
        """The same for structured logs; `at` as ISO 8601 in UTC with milliseconds."""
        stamp = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {"seq": self.seq, "at": stamp, "kind": self.kind.value, "path": self.path}
        if self.incarnation:
            fields["incarnation"] = self.incarnation
        if self.detail:
            fields["detail"] = self.detail
        if self.traceback is not None:
            fields["traceback"] = self.traceback
        return fields

    @property
    def worrying(self) -> bool:
        """Somebody should look at it."""
        return self.kind in WORRYING


class EventLog:
    """Stamps events, keeps the newest `KEPT_EVENTS`, and hands each to `on_event`, which must not raise."""

    def __init__(self, wall_clock: Callable[[], float], on_event: Callable[[Event], None] | None = None) -> None:
        self.wall_clock = wall_clock
        self._on_event = on_event
        self._ring: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._seq = 0

    def emit(
        self, kind: Kind, path: str, *, incarnation: int = 0, detail: str = "", traceback: str | None = None
    ) -> None:
        """Record that something happened now."""
        self._seq += 1
        event = Event(self._seq, self.wall_clock(), kind, path, incarnation, detail, traceback)
        self._ring.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def newest(self, most: int) -> tuple[Event, ...]:
        """The newest events, oldest first."""
        return tuple(self._ring)[-most:]
