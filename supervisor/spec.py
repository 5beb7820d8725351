"""A tree described as data. Nothing runs here; what cannot work is refused here, with what to change.

Law 1: start order is dependency order, and stopping reverses it.
Law 2: a crash loop always trips its supervisor. A limit like "3 in 5 s" never does once the backoff has grown to 5 s:
       the loop goes on quietly for ever. So a window must be longer than all allowed restarts at the longest backoff,
       each with the longest life that does not yet count as healthy (`Intensity`).
"""

import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from supervisor.errors import SpecError
from supervisor.mailbox import Mailbox

if TYPE_CHECKING:
    from supervisor.context import Context


DAY_S = 86_400
MILLISECOND_S = 0.001


class Restart(StrEnum):
    """When a child is started again after it ended by itself."""

    PERMANENT = "permanent"
    """Always: it is not supposed to end."""
    TRANSIENT = "transient"
    """After a crash; a normal return is the end of it."""
    TEMPORARY = "temporary"
    """Never."""


class Strategy(StrEnum):
    """Who else is restarted when a child crashes."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    """The child and those after it, which were started on top of it."""


@dataclass(frozen=True)
class Intensity:
    """At most `restarts` restarts within any `window_s` seconds; one more and the supervisor fails."""

    restarts: int
    window_s: float

    def __post_init__(self) -> None:
        if self.restarts < 0 or not 0 < self.window_s < math.inf:
            raise SpecError(f"an intensity needs restarts >= 0 and a finite window > 0, not {self}")


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the n-th restart in a row: first_s * factor**n up to cap_s, less up to `jitter` of it.

    After a life of `healthy_after_s` it begins again at `first_s`. Jitter only shortens, so cap_s is a true bound
    (the "equal jitter" of M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 5.0
    jitter: float = 0.2
    healthy_after_s: float = 10.0

    def __post_init__(self) -> None:
        if not (0 <= self.first_s <= self.cap_s <= DAY_S and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise SpecError(f"a backoff needs 0 <= first_s <= cap_s <= {DAY_S}, factor >= 1, jitter 0 to 1, not {self}")
        if 0 < self.first_s < MILLISECOND_S:
            raise SpecError(
                f"first_s is 0 or at least {MILLISECOND_S} s, so that no power overflows before cap_s: {self}"
            )
        if not 0 <= self.healthy_after_s < math.inf:
            raise SpecError(f"a backoff needs a finite healthy_after_s >= 0, not {self}")


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or any(c in "/ #" for c in name):
        raise SpecError(f"a child's name is printable, without '/', '#' and blanks: {name!r} is not")


def _check_times(spec: "Actor | Pool") -> None:
    if not (0 <= spec.grace_s < math.inf and 0 < spec.start_timeout_s < math.inf and spec.unwind_s > 0):
        raise SpecError(f"{spec.name}: grace_s >= 0, start_timeout_s > 0 and unwind_s > 0 must be finite seconds")
    if spec.wedged_after_s is not None and spec.wedged_after_s <= 0:
        raise SpecError(f"{spec.name}: wedged_after_s must be above 0 seconds, or None for never")


@dataclass(frozen=True)
class Actor:
    """One actor: `run` is called with a fresh `Context` for each incarnation, and returning or raising ends that.

    Being ready: the next sibling starts only then. An actor is ready when it says so (`ctx.ready()`), when it first
    receives, or at once with `ready_at_start`; not ready within `start_timeout_s` counts as a crash.

    Stopping: `ctx.draining` is set and the inbox ends; after `grace_s` seconds its scope is cancelled; when it is still
    there `unwind_s` seconds later it is reported as one that would not stop.

    Wedged: messages wait and none was received for `wedged_after_s`: an event, a mark in the status and, with
    `restart_when_wedged`, a crash.
    """

    name: str
    run: "Callable[[Context[Any]], Awaitable[None]]"
    mailbox: Mailbox[Any] | None = None
    restart: Restart = Restart.PERMANENT
    grace_s: float = 5.0
    start_timeout_s: float = 30.0
    wedged_after_s: float | None = 120.0
    backoff: Backoff = field(default_factory=Backoff)
    ready_at_start: bool = False
    restart_when_wedged: bool = False
    unwind_s: float = 2.0

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_times(self)

    @property
    def crash_cycle_s(self) -> float:
        """The longest time from one crash of a loop to the next: backoff and a life not yet healthy."""
        return self.backoff.cap_s + max(self.backoff.healthy_after_s, self.start_timeout_s)


@dataclass(frozen=True)
class Pool:
    """Workers of one kind, children "1".."N", that share a mailbox; N changes at run time, from 0 up to `most`.

    Scaling down drains the workers with the highest numbers: each finishes what it has in hand.
    """

    name: str
    worker: "Callable[[Context[Any]], Awaitable[None]]"
    size: int
    most: int
    mailbox: Mailbox[Any] | None = None
    restart: Restart = Restart.PERMANENT
    grace_s: float = 5.0
    start_timeout_s: float = 30.0
    wedged_after_s: float | None = 120.0
    backoff: Backoff = field(default_factory=Backoff)
    ready_at_start: bool = False
    restart_when_wedged: bool = False
    unwind_s: float = 2.0
    intensity: Intensity | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_times(self)
        if not 0 <= self.size <= self.most or self.most < 1:
            raise SpecError(f"pool {self.name}: 0 <= size <= most and most >= 1, not size={self.size} most={self.most}")
        if self.intensity is not None:
            _check_intensity(self.name, self.intensity, [self.actor(1)])

    def actor(self, number: int) -> Actor:
        """The worker of that number."""
        return Actor(
            name=str(number),
            run=self.worker,
            mailbox=self.mailbox,
            restart=self.restart,
            grace_s=self.grace_s,
            start_timeout_s=self.start_timeout_s,
            wedged_after_s=None,  # the mailbox is the pool's, and so is the question whether anybody reads it
            backoff=self.backoff,
            ready_at_start=self.ready_at_start,
            unwind_s=self.unwind_s,
        )

    @property
    def limit(self) -> Intensity:
        """The intensity in force: the declared one, else 5 restarts and one more for each worker there may be."""
        return self.intensity or _derived(5 + self.most, [self.actor(1)])

    @property
    def crash_cycle_s(self) -> float:
        """The longest time in which a crash loop inside makes this pool fail, and it is back in the loop."""
        return self.backoff.cap_s + self.limit.window_s


@dataclass(frozen=True)
class Supervisor:
    """Starts its children in order, each when the one before is ready, restarts them, and stops them in reverse.

    Without `intensity` it allows 5 restarts in the shortest window in which a crash loop of its slowest child trips.
    """

    name: str
    children: "tuple[Actor | Pool | Supervisor, ...]"
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity | None = None
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        _check_name(self.name)
        seen: list[str] = []
        for child in self.children:
            if child.name in seen:
                raise SpecError(f"supervisor {self.name}: two children are called {child.name!r}; names are addresses")
            seen.append(child.name)
        owned = list(mailboxes(self))
        for mailbox in owned:
            if sum(other is mailbox for other in owned) > 1:
                raise SpecError(f"mailbox {mailbox.name!r} is given to two actors: share one by a pool")
        if self.intensity is not None:
            _check_intensity(self.name, self.intensity, self.children)

    @property
    def limit(self) -> Intensity:
        """The intensity in force."""
        return self.intensity or _derived(5, self.children)

    @property
    def crash_cycle_s(self) -> float:
        """The longest time in which a crash loop inside makes this supervisor fail, and it is back in the loop."""
        return self.backoff.cap_s + self.limit.window_s


Child = Actor | Pool | Supervisor


def mailboxes(spec: Child) -> Iterator[Mailbox[Any]]:
    """All mailboxes of a described tree."""
    if isinstance(spec, Supervisor):
        for child in spec.children:
            yield from mailboxes(child)
    elif spec.mailbox is not None:
        yield spec.mailbox


def _derived(restarts: int, children: "tuple[Child, ...] | list[Actor]") -> Intensity:
    cycle_s = max((child.crash_cycle_s for child in children), default=1.0)
    return Intensity(restarts, math.ceil(restarts * cycle_s * 1.05))


def _check_intensity(name: str, intensity: Intensity, children: "tuple[Child, ...] | list[Actor]") -> None:
    for child in children:
        needed_s = intensity.restarts * child.crash_cycle_s
        if intensity.window_s <= needed_s:
            raise SpecError(
                f"supervisor {name}: {intensity.restarts} restarts in {intensity.window_s:g} s would never trip on a "
                f"crash loop of {child.name!r}, which crashes at least every {child.crash_cycle_s:g} s (backoff cap + "
                f"the longest life that is not healthy, or until its start times out). Use a window above "
                f"{needed_s:g} s, fewer restarts, or a smaller cap_s, healthy_after_s or start_timeout_s"
            )
