"""How soon a cluster is well again: from the healing until whoever submits then is accepted, judged and seen on the board, and everything older is judged.

Chaos holds real processes to the same. What is left out of the ten seconds here, because the platform does not promise it:

- A program may hang in its sandbox for as long as its limit allows: the time begins when the last of them has ended.
- A request that nobody has any more (the broker lost its queue, or it lies among the dead letters) is found by the sweeper, ``SWEPT_S``.
- A call that vanished without a word is known to be lost only by its own deadline, and a judge that failed again and again pauses: ``PATIENT_S`` for what a
  judge had in its hands at the healing.
- Who has others before them waits for those: ``JUDGED_S`` for each, shared by all workers.
- A browser that hardly reads sees the board when it reads, and one whose subscription died in silence when that is found out: ``SHOWN_S`` from the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.boards import Boards, BoardView
from chaos.simulation.faults import Fault
from chaos.simulation.whereabouts import is_lost, places_of, requested
from chaos.simulation.workload import CONTEST

if TYPE_CHECKING:
    from chaos.simulation.cluster import Cluster
    from chaos.simulation.lines import Key
    from chaos.simulation.workload import Workload

# Numbers of their own: taken from the product they would grow with the mistake that they are to find.
WELL_S = 10.0
PATIENT_S = 20.0
SWEPT_S = 50.0
JUDGED_S = 3.0  # a judging in the simulated sandbox, at most
SHOWN_S = 15.0  # a subscription is asked for a sign of life, and then the hub compares its boards with the truth
LOOK_S = 0.1
PATIENT = (Fault.LOSS, Fault.ACTOR_CRASH, Fault.BUGGIFY, Fault.PARTITION)


class Recovery:
    """Looks at one healing. ``prepare`` at its moment, then ``run`` beside everything else."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self._cluster = cluster
        self._workload = workload
        self._world = cluster.world
        self._began = trio.current_time()
        self._due: dict[Key, float] = {}
        self._well_s = WELL_S

    async def prepare(self) -> None:
        """Note what is not judged yet, and until when each must be."""
        engines, options = self._cluster.engines, self._world.options
        held = {
            (work.submission_id, work.attempt)
            for machine in self._cluster.machines.values()
            if machine.judging is not None
            for work in machine.judging.judged
        } | {key for machine in self._cluster.machines.values() for key in requested(machine)}
        waiting = [key for key in engines.attempts.items() if key not in engines.verdicts]
        self._well_s = WELL_S + JUDGED_S * len(waiting) / (options.judges * options.workers)
        may_be_patient = any(options.has(fault) for fault in PATIENT)
        for key in waiting:
            if await is_lost(self._cluster, key):
                self._world.saw("swept")
                self._due[key] = SWEPT_S
            else:
                self._due[key] = PATIENT_S if may_be_patient and key in held else self._well_s

    async def run(self) -> None:
        """Submit once, and look until everything is well; what is not in time is a violation."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fresh, name="recovery fresh")
            nursery.start_soon(self._older, name="recovery older")

    @property
    def _passed_s(self) -> float:
        """Seconds since the healing, or since the last sandbox that hung has ended."""
        return trio.current_time() - max(self._began, self._world.hangs_until)

    async def _fresh(self) -> None:
        engines = self._cluster.engines
        with trio.CancelScope() as scope:
            sent = self._workload.fresh()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._workload.send, sent, name="fresh")
                while (sent.submission_id, 1) not in engines.verdicts:
                    if self._passed_s > self._well_s:
                        what = sent.pressing() if not sent.submission_id else await self._told((sent.submission_id, 1))
                        self._late(f"who submitted at the healing is not judged: {what}")
                        scope.cancel()
                    await self._world.clock.sleep(LOOK_S)
        if scope.cancelled_caught or self._world.options.has(Fault.SLOW_CONSUMER):
            return
        began = trio.current_time()
        await self._world.clock.sleep(1.0)
        page = await Boards(engines.redis, self._world.wall).page(CONTEST, BoardView.PUBLIC, limit=1)
        version = 0 if page is None else page.version
        while behind := [name for name, board in self._workload.boards.items() if board.version < version]:
            if trio.current_time() - began > SHOWN_S:
                self._late(f"{', '.join(behind)} did not see version {version} within {SHOWN_S:g} s")
                return
            await self._world.clock.sleep(LOOK_S)

    async def _older(self) -> None:
        engines = self._cluster.engines
        while self._due:
            await self._world.clock.sleep(LOOK_S)
            for key, due_s in list(self._due.items()):
                if key in engines.verdicts or engines.attempts[key[0]] != key[1]:
                    del self._due[key]
                elif self._passed_s > due_s:
                    self._late(
                        f"{key[0]}:{key[1]} is older, and not judged within {due_s:g} s: {await self._told(key)}"
                    )
                    return
        self._world.saw("recovered")

    async def _told(self, key: Key) -> str:
        return f"{key[0]}:{key[1]} now: {'; '.join(await places_of(self._cluster, key))}"

    def _late(self, why: str) -> None:
        self._world.violated("I9", f"recovery took more than is promised: {why}")
