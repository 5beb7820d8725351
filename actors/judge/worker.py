"""A judge worker: one attempt at a time, under a lease, and nothing is said before it is durable.

    lease → GetWork (fencing number) → GetProblem → sandbox → PersistVerdict → UpdateLeaderboard

Whatever fails before PersistVerdict is judged again; whatever fails after it is repaired by the outbox's event of the same verdict.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import structlog
import trio

from actors import progress
from actors.judge.lease import LeaseHeld, LeaseLost, held
from contracts.errors import CodeWarzError, NotFound, SetAside, Unavailable
from contracts.life import State, Step, advance
from contracts.messages import (
    GetProblem,
    GetWork,
    Judged,
    JudgeRequested,
    PersistVerdict,
    ProblemBlob,
    Progress,
    Request,
    UpdateLeaderboard,
    Work,
)
from contracts.ports import Judgement, Judging, Meter, Redis, Rpc
from contracts.verdicts import TestResult, Verdict
from supervisor.context import Context

CORE_TIMEOUT_S = 10.0
CORE_PATIENCE_S = 30.0  # how long core may be away before the attempt goes back to the queue
# How long the sandboxes may be away. Giving the attempt back would only send it round: each round counts towards its being taken for poisonous.
SANDBOX_PATIENCE_S = 300.0
LEADERBOARD_TIMEOUT_S = 2.0
CACHED_BYTES_MOST = 128 << 20

_STEPS = {State.COMPILING: Step.START, State.RUNNING: Step.COMPILED}

R = TypeVar("R")

_log = structlog.get_logger("judge")


class Outcome(StrEnum):
    """What became of a request to judge."""

    SETTLED = "settled"  # durable, by us or by another: acknowledge
    HELD = "held"  # somebody else is at it: look again later
    FAILED = "failed"  # nothing durable happened: try again, here or elsewhere
    REFUSED = "refused"  # nothing durable happened, and asked again it would be the same: to the dead letters


@dataclass
class ProblemCache:
    """Packages by version, oldest use out first; bounded by bytes. Shared by the workers of a process."""

    bytes_most: int = CACHED_BYTES_MOST
    _blobs: OrderedDict[tuple[str, int], ProblemBlob] = field(default_factory=OrderedDict)
    _bytes: int = 0

    async def get(self, rpc: Rpc, problem_id: str, version: int) -> ProblemBlob:
        """Return a version, from the cache or from core."""
        key = (problem_id, version)
        if key in self._blobs:
            self._blobs.move_to_end(key)
            return self._blobs[key]
        blob = await rpc.call("core", GetProblem(problem_id=problem_id, version=version), timeout=CORE_TIMEOUT_S)
        if key not in self._blobs:
            self._blobs[key] = blob
            self._bytes += len(blob.package)
            while self._bytes > self.bytes_most and len(self._blobs) > 1:
                _, dropped = self._blobs.popitem(last=False)
                self._bytes -= len(dropped.package)
        return blob


@dataclass(frozen=True)
class Worker:
    """What every worker of the pool is made of; ``name`` begins the names of lease owners: node and start, each with a slash."""

    name: str
    redis: Redis
    rpc: Rpc
    judging: Judging
    meter: Meter
    problems: ProblemCache

    async def run(self, ctx: Context[JudgeRequested]) -> None:
        """Judge one request after the other; the reply is an Outcome."""
        ctx.ready()
        owner = f"{self.name}{ctx.path}#{ctx.incarnation}"
        async for delivery in ctx.inbox:
            if delivery.expired:
                continue
            delivery.reply(await self._judge(delivery.message, owner))

    async def _judge(self, request: JudgeRequested, owner: str) -> Outcome:
        try:
            async with held(self.redis, request.submission_id, request.attempt, owner):
                work = await ask_core(self.rpc, GetWork(submission_id=request.submission_id, attempt=request.attempt))
                if work is not None:
                    structlog.contextvars.bind_contextvars(correlation_id=work.correlation_id)
                    return await self._attempt(work, owner)
                return Outcome.SETTLED
        except LeaseHeld:
            return Outcome.HELD
        except (LeaseLost, Unavailable, SetAside) as error:  # core's own crashes are mostly not this request's doing
            _log.warning("judging_interrupted", submission=request.submission_id, error=repr(error))
            return Outcome.FAILED
        except CodeWarzError as error:  # no reason for a worker to end: the next request is somebody else's
            _log.error("judging_refused", submission=request.submission_id, error=repr(error))
            return Outcome.REFUSED
        finally:
            structlog.contextvars.unbind_contextvars("correlation_id")

    async def _attempt(self, work: Work, owner: str) -> Outcome:
        """Judge. HELD when somebody has a newer number: perhaps a judge that died since, so this request is not done with before a verdict is there."""
        started = trio.current_time()
        # buggify at judge.got_work
        judgement = await self._in_sandbox(work)
        # buggify at judge.judged
        verdict = PersistVerdict(
            submission_id=work.submission_id,
            attempt=work.attempt,
            fencing=work.fencing,
            verdict=judgement.verdict,
            score=judgement.score,
            tests=judgement.tests,
            compile_output=judgement.compile_output,
            output=judgement.output,
            judge=owner,
            judge_error=judgement.judge_error,
        )
        judged = await ask_core(self.rpc, verdict)
        # buggify at judge.persisted
        if judged is not None:
            await self._update_leaderboard(judged)
        took_s = trio.current_time() - started
        _log.info(
            "judged",
            submission=work.submission_id,
            attempt=work.attempt,
            verdict=judgement.verdict,
            counted=judged is not None,
            ms=round(took_s * 1000),
        )
        self.meter.observe("judging_seconds", took_s, verdict=judgement.verdict, language=work.language)
        return Outcome.HELD if judged is None else Outcome.SETTLED

    async def _update_leaderboard(self, judged: Judged) -> None:
        """Take the fast path to the board and to whoever watches; when it fails the outbox's event does the same a little later."""
        try:
            await self.rpc.call("leaderboard", UpdateLeaderboard(event=judged), timeout=LEADERBOARD_TIMEOUT_S)
        except CodeWarzError as error:
            _log.warning("fast_path_failed", submission=judged.submission_id, error=error.detail)

    async def _in_sandbox(self, work: Work) -> Judgement:
        try:
            blob = await self._patiently_problem(work)
        except NotFound as missing:
            return Judgement(verdict=Verdict.JE, judge_error=missing.detail)
        return await _again_until(
            SANDBOX_PATIENCE_S, lambda: self.judging.judge(work, blob, _Reporter(self.redis, work))
        )

    async def _patiently_problem(self, work: Work) -> ProblemBlob:
        return await _again_until(
            CORE_PATIENCE_S, lambda: self.problems.get(self.rpc, work.problem_id, work.problem_version)
        )


class _Reporter:
    """Tells whoever watches how far a judging is; a step that cannot be told is not worth failing for: the verdict will be."""

    def __init__(self, redis: Redis, work: Work) -> None:
        self._redis = redis
        self._work = work
        self._state = State.QUEUED
        self._seq = 0

    async def __call__(self, state: State, test: TestResult | None, tests_total: int) -> None:
        """Publish one step; IllegalStep when the life of a submission has no such move."""
        if state is not self._state:
            self._state = advance(self._state, _STEPS[state])
        self._seq += 1
        step = Progress(
            submission_id=self._work.submission_id,
            attempt=self._work.attempt,
            seq=self._seq,
            state=state,
            test=test,
            tests_total=tests_total,
        )
        try:
            await (progress.begin if self._seq == 1 else progress.report)(self._redis, step)
        except CodeWarzError as error:
            _log.warning("progress_untold", submission=step.submission_id, error=error.detail)


async def ask_core(rpc: Rpc, request: Request[R]) -> R:
    """Ask core, again while it is away or too busy: it may be restarting, and judging again would cost more than waiting."""
    return await _again_until(CORE_PATIENCE_S, lambda: rpc.call("core", request, timeout=CORE_TIMEOUT_S))


async def _again_until(patience_s: float, ask: Callable[[], Awaitable[R]]) -> R:
    """Repeat ``ask`` while it raises Unavailable, for up to ``patience_s`` seconds; then let it through."""
    give_up_at = trio.current_time() + patience_s
    pause_s = 0.1
    while True:
        try:
            return await ask()
        except Unavailable:
            if trio.current_time() + pause_s >= give_up_at:
                raise
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, 2.0)
