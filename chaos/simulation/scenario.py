"""A tester's own story in a simulated cluster: who dies when, who cannot reach whom, what must be true in the end.

    from chaos.simulation.scenario import Stage, scenario

    @scenario(judges=1)
    async def a_judge_dies_with_a_verdict_in_its_hands(stage: Stage) -> None:
        async with stage.stopped_at("judge.judged") as process:
            sent = await stage.submit("WA")
            ...

A scenario takes the place of the faults by chance. When it has returned, everything heals, and the cluster is held to all its promises as after any run.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Protocol, TypeVar

import trio

from chaos.simulation import buggify
from chaos.simulation.cluster import Cluster
from chaos.simulation.faults import Options
from chaos.simulation.job import make_options
from chaos.simulation.machine import Machine
from chaos.simulation.nemesis import ENGINES
from chaos.simulation.workload import Sent, Workload
from chaos.simulation.world import here
from contracts.errors import Invalid
from contracts.verdicts import Verdict

T = TypeVar("T")

WITHIN_S = 60.0  # simulated, until what a scenario waits for is given up
LOOK_S = 0.02


class NeverCame(AssertionError):
    """What a scenario waited for did not come."""


class Stage:
    """What a scenario has in its hands. Processes are named gateway-1, core-1, leaderboard-1, judge-1 and so on, engines database, redis and broker."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self.cluster = cluster
        self.workload = workload
        self.world = cluster.world
        self._sent = 0

    # ---- people ------------------------------------------------------------------------------------------------------

    async def submit(self, verdict: str = "AC", *, user: str = "user1", problem: str = "pa") -> Sent:
        """Submit a program that deserves ``verdict``, and press again until it is accepted."""
        if user not in self.workload.people:
            raise Invalid(f"there is no {user!r} on the stage: there are {', '.join(self.workload.people)}")
        self._sent += 1
        sent = Sent(f"{user}-stage-{self._sent}", user, f"{Verdict(verdict)} {user} stage {self._sent}")
        self.workload.sent.append(sent)
        await self.workload.submit(self.workload.browser(user), sent, problem)
        return sent

    def verdict_of(self, sent: Sent) -> str | None:
        """Return the verdict that is committed for its newest attempt, None while there is none."""
        engines = self.cluster.engines
        attempt = engines.attempts.get(sent.submission_id)
        return None if attempt is None else engines.verdicts.get((sent.submission_id, attempt))

    async def judged(self, sent: Sent, *, within_s: float = WITHIN_S) -> str:
        """Wait for its verdict and return it."""
        return await self.until(lambda: self.verdict_of(sent), f"a verdict for {sent.key}", within_s=within_s)

    # ---- faults ------------------------------------------------------------------------------------------------------

    def process(self, name: str) -> Machine:
        """Return a process by its name."""
        machine = self.cluster.machines.get(name)
        if machine is None:
            raise Invalid(f"there is no process {name!r}: there are {', '.join(self.cluster.machines)}")
        return machine

    def kill(self, name: str) -> None:
        """Let a process die as in a power cut. It begins anew within some seconds."""
        self.process(name).kill("the scenario wants it")

    def judging(self, sent: Sent) -> str | None:
        """Return the judge that has it in a sandbox, None while there is none."""
        for name, machine in self.cluster.machines.items():
            if machine.judging and any(work.submission_id == sent.submission_id for work in machine.judging.judged):
                return name
        return None

    def freeze(self, name: str) -> None:
        """Let a process stand still as by SIGSTOP until ``thaw``, or until the scenario has ended."""
        self.process(name).stand_still()

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.process(name).go_on()

    def cut(self, one: str, other: str, *, for_s: float) -> None:
        """Let nothing pass between a process and an engine, or two processes, for a while. A broker notices at once, and gives its messages to others."""
        for name in (one, other):
            if name not in ENGINES and name not in self.cluster.machines:
                raise Invalid(f"there is no {name!r}: there are {', '.join((*ENGINES, *self.cluster.machines))}")
        self.world.cut(one, other, for_s)
        for name, neighbour in ((one, other), (other, one)):
            if neighbour == "broker":
                self.process(name).break_connections()

    def restart(self, engine: str, *, for_s: float = 1.0, loses_its_data: bool = False) -> None:
        """Restart an engine, which is away for a while. Only Redis may lose its data."""
        engines = self.cluster.engines
        ways: dict[tuple[str, bool], Callable[[], None]] = {
            ("database", False): engines.restart_database,
            ("broker", False): engines.broker.restart,
            ("redis", False): engines.redis.restart,
            ("redis", True): engines.redis.reset,
        }
        if (engine, loses_its_data) not in ways:
            raise Invalid(
                f"{engine!r} cannot be restarted so: database, broker and redis can, and redis loses its data"
            )
        self.world.take_down(engine, for_s)
        ways[engine, loses_its_data]()

    def alarm(self, *, for_s: float) -> None:
        """Let the broker take no message from anybody for a while, as when its memory is low; it hands out and counts what it has."""
        self.world.alarm(for_s)

    @asynccontextmanager
    async def stopped_at(self, point: str, *, within_s: float = WITHIN_S) -> AsyncIterator[Arrival]:
        """Hold the first task that comes to a point in our code until the block ends; ``await arrival`` says in which process.

        Points are there in workers only (``codewarz simulate``), not in a test's own process.
        """
        if point not in buggify.found:
            raise Invalid(f"there is no point {point!r} in our code: there are {', '.join(sorted(buggify.found))}")
        arrival = Arrival(self, point, within_s)
        usual = buggify.set_world(None)

        async def come(name: str) -> None:
            machine = here.get()
            if name == point and machine is not None and arrival.is_expected:
                await arrival.hold(machine.name)
            elif usual is not None:
                await usual(name)

        buggify.set_world(come)
        try:
            yield arrival
        finally:
            buggify.set_world(usual)
            arrival.let_go()

    # ---- time --------------------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        await self.world.clock.sleep(seconds)

    async def until(self, condition: Callable[[], T | None], what: str, *, within_s: float = WITHIN_S) -> T:
        """Wait until ``condition()`` is true and return what it returned; a violation when it does not come in time."""
        with trio.move_on_after(within_s):
            while True:
                found = condition()
                if found:
                    return found
                await self.world.clock.sleep(LOOK_S)
        raise NeverCame(f"{what} did not come within {within_s:g} s")


class Arrival:
    """Somebody at a point, held there. Await it for the process's name."""

    def __init__(self, stage: Stage, point: str, within_s: float) -> None:
        self._stage = stage
        self._point = point
        self._within_s = within_s
        self._process = ""
        self._may_go = trio.Event()

    def __await__(self) -> Any:
        return self._wait().__await__()

    @property
    def is_expected(self) -> bool:
        """Whether nobody has come yet."""
        return not self._process and not self._may_go.is_set()

    async def hold(self, process: str) -> None:
        """Arrive, and wait until one may go on."""
        self._process = process
        self._stage.world.trace(process, f"is held at {self._point}")
        await self._may_go.wait()

    def let_go(self) -> None:
        """Let whoever was held go on."""
        self._may_go.set()

    async def _wait(self) -> str:
        return await self._stage.until(lambda: self._process, f"somebody at {self._point}", within_s=self._within_s)


class Play(Protocol):
    """A story."""

    __name__: str
    __code__: CodeType

    def __call__(self, stage: Stage, /) -> Awaitable[None]:
        """Play it."""
        ...


Plain = Callable[[Cluster, Workload], Awaitable[None]]


class Staged:
    """A scenario that can be run: a story, and the options that it wants. What it asserts in vain is a violation."""

    def __init__(self, play: Plain, name: str, path: str, fields: dict[str, Any]) -> None:
        self.name = name
        self._play = play
        self._path = path
        self._fields = fields

    def options(self, seed: int) -> Options:
        """Return the options that it wants; Invalid when there are none such."""
        return make_options({"submissions": 0, "users": 2, "watchers": 1} | self._fields | {"seed": seed})

    async def __call__(self, cluster: Cluster, workload: Workload) -> None:
        """Play it."""
        try:
            await self._play(cluster, workload)
        except* AssertionError as group:
            for error in _leaves(group):
                cluster.world.violated("scenario", self._words(error))

    def refusal(self, error: BaseException) -> str:
        """Return the sentence of a scenario that asks for what is not there, such as a process of another name; "" for any other error."""
        return next((self._words(each) for each in _leaves(error) if isinstance(each, Invalid)), "")

    def _words(self, error: BaseException) -> str:
        """Say what did not hold, and in which line of the scenario."""
        frames = traceback.extract_tb(error.__traceback__)
        last = next((each for each in reversed(frames) if each.filename == self._path), frames[-1])
        return f"{str(error) or last.line} ({Path(last.filename).name}, line {last.lineno})"


def scenario(**options: Any) -> Callable[[Play], Staged]:
    """Make a scenario of ``async def …(stage)``. Without options: two users, one who watches the board, nobody who submits, no faults by chance."""

    def staged(play: Play) -> Staged:
        async def plain(cluster: Cluster, workload: Workload) -> None:
            await play(Stage(cluster, workload))

        return Staged(plain, play.__name__, play.__code__.co_filename, options)

    return staged


@cache
def load(reference: str) -> Staged:
    """Load ``path.py``, which holds one scenario, or ``path.py:name``; Invalid when it cannot be had.

    A plain ``async def scenario(cluster, workload)`` is one too.
    """
    path, _, name = reference.partition(":")
    module = _module(Path(path))
    found = {key: each for key, each in vars(module).items() if isinstance(each, Staged)}
    plain = getattr(module, name or "scenario", None)
    if (name or "scenario") not in found and plain is not scenario and callable(plain):
        found[name or "scenario"] = Staged(plain, name or "scenario", path, {})
    if name and name in found:
        return found[name]
    if not name and len(found) == 1:
        return next(iter(found.values()))
    there = f"it has {', '.join(found)}" if found else "it has no scenario"
    raise Invalid(
        f"{path}: {there}" + (f", and not {name!r}" if name else f": say which, as {path}:name" if found else "")
    )


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise Invalid(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"scenario_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Invalid(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise Invalid(f"{path} cannot be loaded: {type(error).__name__}: {error} (line {where.lineno})") from error
    return module


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
