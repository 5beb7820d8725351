"""The world of one run: time, chance, the engines that all processes share, and the network between them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec
import trio

from chaos.invariants import Violation
from chaos.simulation.determinism import DiscreteClock
from chaos.simulation.faults import Fault, Options
from chaos.simulation.trace import Trace
from contracts.errors import EdgeLost

if TYPE_CHECKING:
    from chaos.simulation.machine import Machine

EPOCH_MS = 1_800_000_000_000  # the wall clock's reading at the start
LAN_S = (0.0001, 0.0012)  # one way, undisturbed
DETECT_S = (0.5, 6.0)  # until one side of a broken connection learns of it
SLOW_S = (0.05, 4.0)
SHUFFLE_S = 0.08
SKEW_MS = 2_000  # how wrong the clock of a process may be, either way

here: ContextVar[Machine | None] = ContextVar("machine", default=None)
"""The process in which a task runs."""


@contextmanager
def at(machine: Machine) -> Iterator[None]:
    """Have the tasks that are started in the block run in a process: whoever starts them may belong to another, or to none."""
    before = here.set(machine)
    try:
        yield
    finally:
        here.reset(before)


class Wall:
    """A process's idea of civil time."""

    def __init__(self, clock: DiscreteClock, skew_ms: int = 0) -> None:
        self._clock = clock
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Return Unix time in milliseconds, wrong by ``skew_ms``."""
        return EPOCH_MS + round(self._clock.elapsed_s * 1000) + self.skew_ms


class World:
    """What all parts of a run share."""

    def __init__(self, options: Options, clock: DiscreteClock, *, is_kept: bool = False) -> None:
        self.options = options
        self.clock = clock
        self.wall = Wall(clock)
        self.trace = Trace(lambda: clock.elapsed_s, is_kept=is_kept)
        self.chance = random.Random(f"faults {options.seed}")
        self.work = random.Random(f"workload {options.seed}")
        self.is_hurting = False
        self.has_healed = False
        self.turned: set[str] = set()  # constants of the product
        self.hangs_until = 0.0  # the last of the sandboxes that hang
        self.ended = trio.Event()
        self.sometimes: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.broken = trio.Event()
        self._cuts: dict[frozenset[str], float] = {}
        self._down: dict[str, float] = {}
        self._alarmed_until = 0.0
        self._faults = frozenset(options.faults)

    # ---- what was seen -----------------------------------------------------------------------------------------------

    def saw(self, what: str) -> None:
        """Count something that must happen in some run of a batch."""
        self.sometimes[what] += 1

    def violated(self, invariant: str, detail: str) -> None:
        """Note that a promise was broken; the first one ends the run."""
        self.note(Violation(invariant, detail))

    def say_nothing(self, text: str) -> None:
        """Take what a process would print."""

    def note(self, violation: Violation) -> None:
        """Note a violation that a check found."""
        self.violations.append(msgspec.structs.replace(violation, at_s=round(self.clock.elapsed_s, 4)))
        self.trace("check", f"{violation.invariant} VIOLATED: {violation.detail}")
        self.broken.set()

    # ---- chance ------------------------------------------------------------------------------------------------------

    def has(self, fault: Fault) -> bool:
        """Whether this kind of fault may happen now."""
        return self.is_hurting and fault in self._faults

    def strikes(self, fault: Fault, probability: float) -> bool:
        """Decide whether a fault happens here and now, and count it."""
        if not self.is_hurting or fault not in self._faults:
            return False
        if self.chance.random() >= probability * self.options.intensity:
            return False
        self.saw(fault)
        return True

    def rng(self, name: str) -> random.Random:
        """Return a source of chance of its own, so that what one part draws does not move another's."""
        return random.Random(f"{name} {self.options.seed}")

    # ---- the network -------------------------------------------------------------------------------------------------

    def cut(self, one: str, other: str, for_s: float) -> None:
        """Let nothing pass between the two for a while."""
        self._cuts[frozenset((one, other))] = trio.current_time() + for_s
        self.trace("network", f"cut {one} | {other} for {for_s:.1f} s")

    def take_down(self, engine: str, for_s: float) -> None:
        """Let nobody reach an engine for a while."""
        self._down[engine] = trio.current_time() + for_s
        self.trace("network", f"{engine} down for {for_s:.1f} s")

    def alarm(self, for_s: float) -> None:
        """Let the broker take no message from anybody for a while, as when its memory or its disk is low; all else that it does goes on."""
        self._alarmed_until = trio.current_time() + for_s
        self.trace("broker", f"alarm for {for_s:.1f} s")

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.is_hurting = False
        self.has_healed = True
        self._cuts.clear()
        self._down.clear()
        self._alarmed_until = 0.0
        self.trace("network", "healed")

    def is_cut(self, one: str, other: str) -> bool:
        """Whether nothing passes between the two."""
        if not self._cuts:
            return False
        key = frozenset((one, other))
        until = self._cuts.get(key)
        if until is None:
            return False
        if until <= trio.current_time():
            del self._cuts[key]
            return False
        return True

    def is_down(self, engine: str) -> bool:
        """Whether nobody can reach it."""
        return bool(self._down) and self._down.get(engine, 0.0) > trio.current_time()

    def is_alarmed(self) -> bool:
        """Whether the broker takes no message."""
        return self._alarmed_until > trio.current_time()

    def latency_s(self) -> float:
        """Return how long a message takes."""
        took_s = self.chance.uniform(*LAN_S)
        if self.is_hurting:
            if self.strikes(Fault.LATENCY, 0.01):
                took_s += self.chance.uniform(*SLOW_S)
            if Fault.REORDER in self._faults:
                self.saw(Fault.REORDER)
                took_s += self.chance.random() * SHUFFLE_S
        return took_s


class Link:
    """The way of one process to one neighbour. A call is ``there``, the effect, ``back``; each way may fail."""

    def __init__(self, world: World, machine: Machine, neighbour: str) -> None:
        self.world = world
        self.machine = machine
        self.neighbour = neighbour

    async def there(
        self, what: str, *, error: float = 0.01, loss: float = 0.0, after: trio.Event | None = None
    ) -> None:
        """Bring a request to the neighbour, not before ``after`` is set; raises EdgeLost when it does not arrive: nothing happened then."""
        world = self.world
        self._live(what)
        await world.clock.sleep(world.latency_s())
        if after is not None and not after.is_set():
            await after.wait()
        self._live(what)
        if world.is_cut(self.machine.name, self.neighbour):
            await self._stall(what)
        if world.is_down(self.neighbour):
            self._fail(f"{what}: {self.neighbour} is down")
        if world.strikes(Fault.ERROR, error):
            self._fail(f"{what}: the connection broke on the way there")
        if loss and world.strikes(Fault.LOSS, loss):
            world.trace(self.machine.name, f"→ {self.neighbour} {what}: lost on the way there")
            await trio.sleep_forever()
        world.trace(self.machine.name, f"→ {self.neighbour} {what}")

    async def back(self, what: str, *, ambiguous: float = 0.01, loss: float = 0.0) -> None:
        """Bring the answer back; raises EdgeLost when it is lost: the effect is there, and nobody knows."""
        world = self.world
        await world.clock.sleep(world.latency_s())
        self._live(what)
        if world.is_cut(self.machine.name, self.neighbour):
            await self._stall(what)
        if world.strikes(Fault.AMBIGUOUS, ambiguous):
            self._fail(f"{what}: the answer was lost")
        if loss and world.strikes(Fault.LOSS, loss):
            world.trace(self.machine.name, f"← {self.neighbour} {what}: lost on the way back")
            await trio.sleep_forever()

    async def _stall(self, what: str) -> None:
        """Nothing passes: go on when the cut heals in time, else learn that the connection is gone."""
        world = self.world
        with trio.move_on_after(world.chance.uniform(*DETECT_S)):
            while world.is_cut(self.machine.name, self.neighbour):
                await world.clock.sleep(0.1)
            return
        self._fail(f"{what}: {self.neighbour} cannot be reached")

    def _live(self, what: str) -> None:
        if self.machine.is_dead:
            raise EdgeLost(f"{what}: the process is dead")

    def _fail(self, why: str) -> None:
        self.world.trace(self.machine.name, f"✗ {why}")
        raise EdgeLost(why)
