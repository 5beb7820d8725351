"""Scenarios one after the other, on as few clusters as possible: one that held hands its cluster on, one that failed leaves its logs and takes it down."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from chaos import small_disk
from chaos.cluster import Cluster, Shape
from chaos.engines import Where
from chaos.evidence import gathered
from chaos.play import House, Play
from chaos.proxy import Proxy
from chaos.scenarios import Scenario
from chaos.verdict import Outcome

FOLDER = "codewarz-chaos-"
DISK = "disk"

Say = Callable[[str, str], None]
"""Hears, of the scenario by name, what is being done."""


@dataclass(frozen=True)
class Round:
    """A scenario and the seed that chooses in it."""

    scenario: Scenario
    seed: int


def rounds(scenarios: Sequence[Scenario], times: int, seed: int) -> list[Round]:
    """Return what to play, in order: all once, then all again, each time with another seed. Those with a disk of their own come together."""
    rng = random.Random(seed)
    shared = [each for each in scenarios if not each.needs_small_disk]
    alone = [each for each in scenarios if each.needs_small_disk]
    seeds = [seed if number == 0 else rng.getrandbits(31) for number in range(times)]
    return [Round(each, one) for one in seeds for each in shared] + [
        Round(each, one) for one in seeds for each in alone
    ]


@dataclass
class Runner:
    """Plays rounds; ``done`` hears of each outcome as it comes. ``shape`` is the cluster's, ``where`` its engines run."""

    say: Say
    done: Callable[[Outcome], None]
    shape: Shape = field(default_factory=Shape)
    where: Where = Where.AUTO  # the engines run
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self, todo: Sequence[Round]) -> None:
        """Play all of them, into ``outcomes``. RuntimeError or Missing when not even a cluster can be started."""
        left = list(todo)
        while left:
            first = left[0].scenario
            if first.needs_small_disk and (why := await trio.to_thread.run_sync(_no_disk)):
                skipped = left.pop(0)
                self._note(Outcome(scenario=first.name, seed=skipped.seed, skipped=why))
                continue
            async with self._house(first) as house:
                while left and left[0].scenario.needs_small_disk == first.needs_small_disk:
                    outcome = await self._play(house, left.pop(0))
                    self._note(outcome)
                    if not outcome.is_good:
                        break  # what it left behind must not be held against the next

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.done(outcome)

    async def _play(self, house: House, this: Round) -> Outcome:
        play = Play(house, this.scenario, this.seed, lambda text: self.say(this.scenario.name, text))
        outcome = await play.run()
        if not outcome.is_good:
            outcome.logs = str(await trio.to_thread.run_sync(keep_logs, house.cluster, this.scenario.name))
        return outcome

    @asynccontextmanager
    async def _house(self, first: Scenario) -> AsyncIterator[House]:
        """A fresh cluster for the length of the block, with nothing left of it afterwards."""
        proxy = Proxy()
        cluster = Cluster(_folder(), self.shape, settings={"DEMO": "false"}, route=proxy.route, where=self.where)
        try:
            if first.needs_small_disk:
                await trio.to_thread.run_sync(small_disk.mount, cluster.folder / DISK)
                cluster.postgres.folder = cluster.folder / DISK / "postgres"
            self.say(first.name, "starting a cluster")
            async with trio.open_nursery() as nursery:
                await nursery.start(proxy.run)
                await trio.to_thread.run_sync(cluster.start)
                async with gathered(cluster) as evidence:
                    self.say(first.name, "people arrive")
                    yield await House.furnish(cluster, proxy, evidence)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_take_down, cluster)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    folder.chmod(0o711)  # the engines have users of their own, which must get through
    return folder


def _take_down(cluster: Cluster) -> None:
    for child in (*cluster.nodes.values(), *cluster.engines.values()):
        child.kill()  # in good order it would take seconds, and is what the rolling restart looks at
    cluster.end()
    if (cluster.folder / DISK).is_mount():
        small_disk.unmount(cluster.folder / DISK)
    shutil.rmtree(cluster.folder, ignore_errors=True)


def keep_logs(cluster: Cluster, name: str) -> Path:
    """Copy every log to a place of its own and return that."""
    kept = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{name}-"))
    children = {**cluster.nodes, **cluster.engines}
    for each, child in children.items():
        with suppress(OSError):
            shutil.copyfile(child.folder / "log", kept / f"{each}.log")
    return kept


def _no_disk() -> str:
    """Say why there is no small disk here; "" when there is one."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    try:
        small_disk.mount(folder / DISK)
    except small_disk.CannotMount as error:
        return str(error)
    else:
        small_disk.unmount(folder / DISK)
        return ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)
