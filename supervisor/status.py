"""The state of a tree as data: one frozen snapshot that the CLI, metrics and logs all read."""

import msgspec

from supervisor.events import Event
from supervisor.mailbox import MailboxStatistics


class IntensityUse(msgspec.Struct, frozen=True):
    """How much of its restart intensity a supervisor has used within the window that ends now."""

    used: int
    restarts: int
    window_s: float


class QuarantinedRow(msgspec.Struct, frozen=True):
    """A message that was set aside, in words."""

    message: str
    crashes: int
    error: str


class Row(msgspec.Struct, frozen=True):
    """One actor, pool or supervisor. Rows come in tree order, so `level` is enough to draw the tree."""

    path: str
    name: str
    level: int
    kind: str
    """actor, worker, pool or supervisor."""
    state: str
    """queued, starting, running, draining, stopping, backing_off, finished (returned by itself), stopped or failed."""
    since: float
    """Wall time, seconds since the epoch, of the last change of state."""
    incarnation: int
    restarts: int
    """How often it was started again, for whatever reason."""
    mailbox: MailboxStatistics | None = None
    quarantined: tuple[QuarantinedRow, ...] = ()
    waits_at: str | None = None
    """The actor's own innermost frame right now."""
    last_error: str | None = None
    next_start_in_s: float | None = None
    """While backing off."""
    wedged: bool = False
    stuck: bool = False
    """It was cancelled and is still there."""
    strategy: str | None = None
    intensity: IntensityUse | None = None
    size: int | None = None
    most: int | None = None


class TreeStatus(msgspec.Struct, frozen=True):
    """A tree at one moment of wall time (`at`, seconds since the epoch)."""

    name: str
    state: str
    at: float
    rows: tuple[Row, ...]
    events: tuple[Event, ...]

    def row(self, path: str) -> Row:
        """The row of a path, written with or without the root's name. Raises `KeyError`."""
        for row in self.rows:
            if path in (row.path, row.path.partition("/")[2]):
                return row
        raise KeyError(path)


class Stuck(msgspec.Struct, frozen=True):
    """One that would not stop, and where it waits."""

    path: str
    waits_at: str | None


class StopReport(msgspec.Struct, frozen=True):
    """How a shutdown went. When it is not clean, `Tree.run` cannot return: whoever owns the process must end it."""

    clean: bool
    took_s: float
    stuck: tuple[Stuck, ...] = ()

    def text(self) -> str:
        """For people."""
        if self.clean:
            return f"stopped cleanly in {self.took_s:.1f} s"
        lines = [
            f"{stuck.path} would not stop; it waits at {stuck.waits_at or 'an unknown place'}" for stuck in self.stuck
        ]
        return "\n".join([f"not everything stopped within {self.took_s:.1f} s:", *lines])
