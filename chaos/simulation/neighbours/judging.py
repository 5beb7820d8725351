"""Judging without sandboxes: a source says its own verdict, and chance says how long it takes and what goes wrong on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import trio

from actors.judge.lease import RENEW_S, TTL_S
from chaos.simulation.faults import Fault
from chaos.simulation.world import World
from contracts.life import State
from contracts.messages import Offer, ProblemBlob, Verification, Work
from contracts.ports import Judgement, Witness
from contracts.verdicts import TestResult, Verdict
from sandbox.provider import SandboxUnavailable
from supervisor.context import Context

if TYPE_CHECKING:
    from chaos.simulation.machine import Machine

ATTEMPTS = 3
TESTS = 3
COMPILE_S = (0.05, 0.6)
TEST_S = (0.01, 0.4)
HANG_S = (5.0, 60.0)  # until the sandbox's own wall limit ends it
FULL = 100_00
STALE_S = TTL_S + RENEW_S + 2.0  # a lease that is lost is noticed within this time, whatever is away
GHOST_S = 0.1  # what was about to run when its process died may still do one step


class SimulatedJudging:
    """The ``Judging`` port of one process. A source begins with its verdict: ``AC …``, ``WA …``, ``WA>AC …``."""

    def __init__(self, world: World, machine: Machine, workers: int) -> None:
        self._world = world
        self._machine = machine
        self._workers = workers
        self._is_up = False
        self._boxes: list[Work] = []

    @property
    def open(self) -> int:
        """How many sandboxes are open."""
        return len(self._boxes)

    @property
    def judged(self) -> tuple[Work, ...]:
        """What is in them."""
        return tuple(self._boxes)

    async def run(self, ctx: Context[None]) -> None:
        """Be there."""
        self._is_up = True
        ctx.ready()
        try:
            await ctx.draining.wait()
        finally:
            self._is_up = False

    def offers(self) -> Sequence[Offer]:
        """Return one language."""
        return [Offer("python", "Python", "3.11")]

    def sandboxes(self) -> Mapping[str, int]:
        """Return the counts."""
        return {"busy": self.open}

    async def judge(self, work: Work, blob: ProblemBlob, witness: Witness) -> Judgement:
        """Judge in a box that may hang or die; three dead ones are a judge error."""
        if not self._is_up:
            raise SandboxUnavailable("the sandboxes are not up", retry_after_s=1.0)
        self._world.trace(self._machine.name, f"judges {work.submission_id}:{work.attempt} fencing {work.fencing}")
        self._machine.engines.handed_out(work, self._machine.name)
        for _ in range(ATTEMPTS):
            self._opened(work)
            try:
                judgement = await self._in_a_box(work, witness)
                self._is_no_ghost(work)
            finally:
                self._closed(work)
            if judgement is not None:
                return judgement
        return Judgement(verdict=Verdict.JE, judge_error="the sandbox broke three times")

    def _opened(self, work: Work) -> None:
        self._boxes.append(work)
        if self.open > self._workers:
            self._world.violated("I6", f"{self._machine.name} has {self.open} sandboxes for {self._workers} workers")

    def _closed(self, work: Work) -> None:
        """A judge whose verdict nobody needs any more finds out by its lease, and must stop then."""
        self._boxes.remove(work)
        world, judged_at_s = self._world, self._machine.engines.verdict_at_s
        known_s = judged_at_s.get((work.submission_id, work.attempt), math.inf)
        late_s = world.clock.elapsed_s - max(known_s, self._machine.went_on_s)  # who stands still finds out nothing
        if late_s > STALE_S:
            text = f"{self._machine.name} kept a sandbox for {work.submission_id}:{work.attempt} {late_s:.1f} s beyond its verdict"
            world.violated("I6", text)

    def _is_no_ghost(self, work: Work) -> None:
        """A sandbox ends with its process."""
        machine, world = self._machine, self._world
        if machine.is_dead and world.clock.elapsed_s > machine.died_s + GHOST_S:
            world.violated(
                "I6", f"{machine.name} is dead and still runs a sandbox for {work.submission_id}:{work.attempt}"
            )

    async def _in_a_box(self, work: Work, witness: Witness) -> Judgement | None:
        world, chance = self._world, self._world.chance
        verdict = verdict_of(work.source, work.attempt)
        dies_at = chance.randint(0, TESTS) if world.strikes(Fault.SANDBOX_DEATH, 0.15) else None
        hangs_at = chance.randint(0, TESTS) if world.strikes(Fault.SANDBOX_HANG, 0.08) else None
        await witness(State.COMPILING, None, TESTS)
        await world.clock.sleep(chance.uniform(*COMPILE_S))
        if verdict is Verdict.CE:
            return Judgement(verdict=verdict, compile_output="no")
        await witness(State.RUNNING, None, TESTS)
        results: list[TestResult] = []
        for number in range(1, TESTS + 1):
            if hangs_at == number - 1:
                hangs_s = chance.uniform(*HANG_S)
                world.hangs_until = max(world.hangs_until, trio.current_time() + hangs_s)
                await world.clock.sleep(hangs_s)
            if dies_at == number - 1:
                return None
            await world.clock.sleep(chance.uniform(*TEST_S))
            is_last = number == TESTS
            result = TestResult(number, verdict if is_last else Verdict.AC, 1, 1, 1)
            results.append(result)
            await witness(State.RUNNING, result, TESTS)
        if dies_at == TESTS:
            return None
        return Judgement(verdict=verdict, tests=tuple(results), score=FULL if verdict is Verdict.AC else 0)

    async def verify(self, package: bytes) -> Verification:
        """Nobody imports packages here."""
        raise NotImplementedError


def verdict_of(source: str, attempt: int) -> Verdict:
    """Return the verdict that a source says of itself: ``WA>AC …`` is wrong at first, and right when it is judged again."""
    verdicts = source.partition(" ")[0].split(">")
    return Verdict(verdicts[min(attempt, len(verdicts)) - 1])
