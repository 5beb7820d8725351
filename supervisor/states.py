"""What the restart policy reads and writes: the phases of a life, what may happen, what may be done, and the state.

All frozen: a decision gives a new state and leaves the old one as it was.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from supervisor.spec import Backoff, Intensity, Restart, Strategy


class Phase(StrEnum):
    """Where a child is in its life, as shown in the status."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"
    FAILED = "failed"


ALIVE = (Phase.STARTING, Phase.RUNNING, Phase.DRAINING, Phase.STOPPING)
WAITING = (Phase.QUEUED, Phase.BACKING_OFF)
ENDED = (Phase.STOPPED, Phase.FAILED)


class Doom(StrEnum):
    """How a living child is to be ended."""

    DRAIN = "drain"
    CANCEL = "cancel"


class What(StrEnum):
    """What happened to a child, or what an operator wants of it."""

    READY = "ready"
    RETURNED = "returned"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    STUCK_BELOW = "stuck_below"
    WEDGED = "wedged"
    START = "start"
    STOP = "stop"
    DRAIN = "drain"
    RESTART = "restart"


@dataclass(frozen=True)
class Happened:
    """Something about one child."""

    what: What
    child: str


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True)
class Add:
    """The pool gets these workers, or keeps them after all."""

    children: "tuple[ChildState, ...]"


@dataclass(frozen=True)
class Remove:
    """The pool gives these workers up: drain, then forget them."""

    children: tuple[str, ...]


@dataclass(frozen=True)
class Shutdown:
    """Everything is to end, in reverse order."""


PolicyEvent = Happened | Tick | Add | Remove | Shutdown


class Do(StrEnum):
    """What the tree is to do with a child."""

    START = "start"
    DRAIN = "drain"
    CANCEL = "cancel"
    REPORT_STUCK = "report_stuck"
    ESCALATE = "escalate"
    FINISH = "finish"
    """All children are gone: the supervisor itself may return."""


@dataclass(frozen=True)
class Action:
    """One thing to do; `reason` is given with a cancel that is the child's own fault, and with an escalation."""

    do: Do
    child: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class ChildState:
    """What the policy knows of a child. All times are on the clock of `now`."""

    name: str
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)
    grace_s: float = 5.0
    start_timeout_s: float = 30.0
    unwind_s: float = 2.0
    phase: Phase = Phase.QUEUED
    attempt: int = 0
    """Restarts in a row without a healthy life between."""
    not_before: float = -math.inf
    in_order: bool = True
    """It may start only when all siblings before it are at rest."""
    wanted: bool = True
    """Once gone, it is to come up again."""
    leaving: bool = False
    """Once gone, it is forgotten (a worker that was scaled away)."""
    doom: Doom | None = None
    fault: str | None = None
    deadline: float = math.inf
    """When the present phase has lasted too long."""
    running_since: float = math.inf
    stuck: bool = False
    """It was cancelled and is still there."""


@dataclass(frozen=True)
class State:
    """A supervisor as the policy sees it."""

    children: tuple[ChildState, ...]
    strategy: Strategy
    intensity: Intensity
    ordered: bool = True
    """Children build on those before them. Workers of a pool do not: they start and stop all at once."""
    restarts: tuple[float, ...] = ()
    """When the restarts within the window were decided."""
    shutting_down: bool = False
    over: bool = False
    """Escalated or finished: it decides nothing more."""

    def child(self, name: str) -> ChildState | None:
        """The child of that name, if it is (still) there."""
        return next((child for child in self.children if child.name == name), None)

    def at_rest(self) -> bool:
        """Nothing is on its way up."""
        return not any(child.phase in WAITING or child.phase is Phase.STARTING for child in self.children)

    def leaving(self) -> bool:
        """A worker that was scaled away is still finishing."""
        return any(child.leaving and child.phase in ALIVE and not child.stuck for child in self.children)

    def put(self, child: ChildState) -> "State":
        """The same with one child changed."""
        return replace(self, children=tuple(child if c.name == child.name else c for c in self.children))
