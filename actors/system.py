"""The tree of CodeWarz, described on ports: ``house`` puts concrete edges under it, a simulation would put others.

    codewarz            rest_for_one: what stands on an edge goes down after it, in order
    ├── edges           one_for_one   database · redis · broker · rpc · telemetry (gauges)
    ├── core            one_for_one   core · relay · outbox_listener · sweeper · administrator
    ├── leaderboard     one_for_one   projector · verdict_intake
    ├── judge           rest_for_one  sandboxes · workers (pool) · intake · verifier
    ├── demo            one_for_one   contest · contestants
    └── gateway         one_for_one   sse_hub · http

A role is a subtree: a process has the edges and the subtrees of its roles, all of them by default.

Start order is dependency order: the relay stands before the listener that wakes it, the workers before the intake that feeds them. What only meets over a
mailbox, which outlives both sides, does not go down together: a projector's crash that took its intake along would make each redelivery look like the first,
and the message that crashes it would never be set aside; a core's crash that took the relay along would hold up what the relay had claimed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import trio

from actors.boards import Boards
from actors.core.actor import Core, CoreService
from actors.demo.contest import DemoContest
from actors.demo.contestants import Contestants
from actors.first_start import Administrator
from actors.judge.intake import Intake
from actors.judge.verifier import Verifier
from actors.judge.worker import ProblemCache, Worker
from actors.outbox import QUEUES, Listener, Relay, Scan
from actors.patience import again_and_again
from actors.projector import Log, Projector, VerdictIntake
from actors.service import MailboxService
from actors.settings import Settings
from actors.sweeper import Sweeper
from contracts.ids import make_id
from contracts.messages import BoardEvent, JudgeRequested, Request
from contracts.ports import Broker, Database, Handler, Judging, Meter, Passwords, Redis, Rpc, WallClock
from supervisor import Actor, Backoff, Context, Intensity, Mailbox, Overflow, Pool, Restart, Strategy, Supervisor

CORE_MAILBOX = 1024
PROJECTOR_MAILBOX = 1024
VERIFIER_MAILBOX = 4
WORKER_GRACE_S = 4.0  # to finish the submission in hand; after that it goes back to the queue. With the streams before it, well below the promised 10
GAUGES_EVERY_S = 5.0

# How many crashes end what. A message that crashes its actor twice is set aside, and a neighbour that is away is waited for: what these limits must stop is a
# loop that neither explains. Where messages come from people the limits leave room for fifteen such messages (workers: fifty), because a supervisor that
# gives up takes good work along. Each window is as long as a slow loop needs to trip its limit (checked at the start, ``supervisor.spec``, Law 2); a quick
# one trips all the same: an edge that cannot start ends the process within a minute, anything else within a quarter of an hour.
BACKOFF = Backoff(cap_s=2.0, healthy_after_s=5.0)
FEW = Intensity(5, 400)  # edges, gateway: what cannot start at all shall say so soon
MANY = Intensity(30, 1_000)  # core, leaderboard
WORKERS = Intensity(100, 750)
JUDGE = Intensity(10, 7_600)
TELEMETRY = Intensity(2, 70)
HOUSE = Intensity(5, 38_100)

Run = Callable[[Context[Any]], Awaitable[None]]


class Role(StrEnum):
    """What a process of a cluster may be."""

    CORE = "core"
    LEADERBOARD = "leaderboard"
    JUDGE = "judge"
    GATEWAY = "gateway"


EVERY_ROLE = frozenset(Role)

# What each role touches. A process gets no other neighbour: a judge, which runs what strangers wrote, cannot reach the database.
NEEDS: dict[Role, frozenset[str]] = {
    Role.CORE: frozenset({"database", "redis", "broker", "rpc"}),
    Role.LEADERBOARD: frozenset({"database", "redis", "broker", "rpc"}),
    Role.JUDGE: frozenset({"redis", "broker", "rpc", "sandbox"}),
    Role.GATEWAY: frozenset({"database", "redis", "rpc"}),
}


def needs(roles: frozenset[Role]) -> frozenset[str]:
    """Return the neighbours that a process of these roles touches."""
    return frozenset[str]().union(*(NEEDS[role] for role in roles))


@dataclass(frozen=True)
class Neighbours:
    """One process's ports, and the sources of time and chance."""

    database: Database
    redis: Redis
    broker: Broker
    rpc: Rpc
    judging: Judging
    passwords: Passwords
    meter: Meter
    clock: WallClock
    rng: random.Random


@dataclass(frozen=True)
class Edge:
    """An edge's actor: ``run`` holds the neighbour open for as long as it lives."""

    name: str
    run: Run


class Mailboxes:
    """The mailboxes between the actors; they outlive every incarnation."""

    def __init__(self, workers: int) -> None:
        self.core: Mailbox[Request[Any]] = Mailbox("core", CORE_MAILBOX, Overflow.REFUSE)
        self.relay: Mailbox[Scan] = Mailbox("relay", 1, Overflow.CONFLATE, conflate_key=type)
        self.projector: Mailbox[Request[Any] | BoardEvent] = Mailbox("projector", PROJECTOR_MAILBOX)
        self.workers: Mailbox[JudgeRequested] = Mailbox("workers", workers)
        self.verifier: Mailbox[Request[Any]] = Mailbox("verifier", VERIFIER_MAILBOX, Overflow.REFUSE)


def build(
    settings: Settings,
    with_: Neighbours,
    *,
    edges: tuple[Edge, ...],
    sandboxes: Run | None,
    web: tuple[Actor, ...],
    tell: Callable[[str], None],
    node: str = "node",
    roles: frozenset[Role] = EVERY_ROLE,
    presence: Run | None = None,
) -> Supervisor:
    """Describe the whole tree for one process; ``node`` tells its judges from those of others: a later start under the same name
    takes over what an earlier one held. Nothing runs yet.

    ``sandboxes`` keeps the sandboxes of a judge. ``web`` are the actors of the gateway, or what answers for health and metrics in a process without one.
    ``presence`` tells the rest of a cluster of this process.
    """
    mailboxes = Mailboxes(settings.workers)
    parts = [_edges(with_, mailboxes, edges, roles, presence)]
    if Role.CORE in roles:
        parts.append(_core(settings, with_, mailboxes, tell))
    if Role.LEADERBOARD in roles:
        parts.append(_leaderboard(with_, mailboxes))
    if Role.JUDGE in roles:
        assert sandboxes is not None, "a judge needs sandboxes"
        parts.append(_judge(settings, with_, mailboxes, sandboxes, node))
    if Role.CORE in roles and settings.demo:
        parts.append(_demo(settings, with_))
    if web:
        parts.append(Supervisor("gateway" if Role.GATEWAY in roles else "monitor", web, intensity=FEW))
    return Supervisor("codewarz", tuple(parts), Strategy.REST_FOR_ONE, HOUSE)


def _edges(
    with_: Neighbours, mailboxes: Mailboxes, edges: tuple[Edge, ...], roles: frozenset[Role], presence: Run | None
) -> Supervisor:
    services: dict[Role, Handler] = {
        Role.CORE: CoreService(with_.database, mailboxes.core.address),
        Role.LEADERBOARD: MailboxService(mailboxes.projector.address),
        Role.JUDGE: MailboxService(mailboxes.verifier.address),
    }

    async def serve(ctx: Context[None]) -> None:
        async with AsyncExitStack() as stack:
            for role, handler in services.items():
                if role in roles:
                    await stack.enter_async_context(with_.rpc.serve(role, handler))
            ctx.ready()
            await ctx.draining.wait()

    held = [Actor(edge.name, edge.run, backoff=BACKOFF) for edge in edges]
    told = [Actor("gauges", _Gauges(with_, roles).run, grace_s=0, backoff=BACKOFF)]
    if presence is not None:
        told.append(Actor("presence", presence, grace_s=1.0, backoff=BACKOFF))
    # Temporary: when it has crashed too often it stays down, and the house goes on without it.
    telemetry = Supervisor("telemetry", tuple(told), intensity=TELEMETRY, restart=Restart.TEMPORARY)
    return Supervisor("edges", (*held, Actor("rpc", serve, backoff=BACKOFF), telemetry), intensity=FEW)


def _core(settings: Settings, with_: Neighbours, mailboxes: Mailboxes, tell: Callable[[str], None]) -> Supervisor:
    boards, log = Boards(with_.redis, with_.clock), Log(with_.database)
    core = Core(with_.database, with_.clock, with_.rng)
    relay = Relay(with_.database, with_.broker, with_.clock, with_.rng, with_.meter)
    listener = Listener(with_.database, mailboxes.relay.address)
    sweeper = Sweeper(
        with_.database, with_.broker, with_.redis, with_.rpc, boards, log, with_.clock, with_.rng, with_.meter
    )
    administrator = Administrator(
        settings.admin_username,
        settings.admin_password.get_secret_value(),
        with_.database,
        with_.redis,
        with_.passwords,
        with_.rpc,
        with_.clock,
        with_.rng,
        tell,
    )
    return Supervisor(
        "core",
        (
            Actor("core", core.run, mailboxes.core, backoff=BACKOFF),
            Actor("relay", relay.run, mailboxes.relay, backoff=BACKOFF),
            Actor("outbox_listener", listener.run, grace_s=0, backoff=BACKOFF),
            Actor("sweeper", sweeper.run, grace_s=0, backoff=BACKOFF),
            Actor("administrator", administrator.run, restart=Restart.TRANSIENT, backoff=BACKOFF),
        ),
        intensity=MANY,
    )


def _leaderboard(with_: Neighbours, mailboxes: Mailboxes) -> Supervisor:
    projector = Projector(
        Boards(with_.redis, with_.clock), Log(with_.database), with_.redis, with_.clock, with_.rng, with_.meter
    )
    intake = VerdictIntake(with_.broker, MailboxService(mailboxes.projector.address))
    return Supervisor(
        "leaderboard",
        (
            Actor("projector", projector.run, mailboxes.projector, backoff=BACKOFF),
            Actor("verdict_intake", intake.run, grace_s=0, backoff=BACKOFF),
        ),
        intensity=MANY,
    )


def _judge(settings: Settings, with_: Neighbours, mailboxes: Mailboxes, sandboxes: Run, node: str) -> Supervisor:
    # What an earlier start of the same node has left behind is nobody's (lease_acquire.lua): starts sort by their time.
    start = make_id(with_.clock.now_ms(), with_.rng)[:14]
    owner = f"{node.replace('/', '-')}/{start}/"
    worker = Worker(owner, with_.redis, with_.rpc, with_.judging, with_.meter, ProblemCache())
    intake = Intake(
        node,
        owner,
        with_.broker,
        with_.redis,
        with_.rpc,
        mailboxes.workers.address,
        prefetch=settings.workers,
        offers=with_.judging.offers(),
    )
    return Supervisor(
        "judge",
        (
            Actor("sandboxes", sandboxes, grace_s=0, backoff=BACKOFF),
            Pool(
                "workers",
                worker.run,
                size=settings.workers,
                most=settings.workers,
                mailbox=mailboxes.workers,
                grace_s=WORKER_GRACE_S,
                start_timeout_s=5.0,
                wedged_after_s=None,  # a judging may take minutes; what waits meanwhile is bounded by the prefetch
                backoff=BACKOFF,
                intensity=WORKERS,
            ),
            Actor("intake", intake.run, grace_s=0, backoff=BACKOFF),
            Actor(
                "verifier",
                Verifier(with_.judging).run,
                mailboxes.verifier,
                grace_s=0,
                wedged_after_s=None,
                backoff=BACKOFF,
            ),
        ),
        Strategy.REST_FOR_ONE,
        JUDGE,
    )


def _demo(settings: Settings, with_: Neighbours) -> Supervisor:
    """Each part is temporary: a demo that crashes is shown as failed and disturbs nobody."""
    contest = DemoContest(with_.database, with_.rpc, with_.clock, with_.rng)
    contestants = Contestants(settings.demo_contestants, with_.database, with_.redis, with_.rpc, with_.clock, with_.rng)
    return Supervisor(
        "demo",
        (
            Actor("contest", contest.run, restart=Restart.TEMPORARY),
            Actor("contestants", contestants.run, restart=Restart.TEMPORARY, grace_s=0),
        ),
    )


@dataclass(frozen=True)
class _Gauges:
    """Keeps the gauges that nobody can compute at the moment of a scrape."""

    with_: Neighbours
    roles: frozenset[Role]

    async def run(self, ctx: Context[None]) -> None:
        """Look at the queues (where core is) and the sandboxes (where judges are) every GAUGES_EVERY_S seconds."""
        await again_and_again(ctx, lambda: self._look(ctx), "gauges")

    async def _look(self, ctx: Context[None]) -> None:
        if Role.CORE in self.roles:
            await self.with_.broker.declare(QUEUES)
        ctx.ready()
        while True:
            if Role.CORE in self.roles:
                await self._look_at_queues()
            if Role.JUDGE in self.roles:
                for state, boxes in self.with_.judging.sandboxes().items():
                    self.with_.meter.gauge("sandboxes", boxes, state=state)
            await trio.sleep(GAUGES_EVERY_S)

    async def _look_at_queues(self) -> None:
        for queue in QUEUES:
            depth = await self.with_.broker.depth(queue.name)
            self.with_.meter.gauge("queue_ready", depth.ready, queue=queue.name)
            if depth.unacked is not None:
                self.with_.meter.gauge("queue_unacked", depth.unacked, queue=queue.name)
