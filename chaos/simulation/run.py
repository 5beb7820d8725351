"""One run: a cluster is set up, hurt, healed, and held to its promises."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

import msgspec
import trio

from actors.boards import Boards, BoardView
from actors.outbox import QUEUES
from actors.projector import Log
from actors.system import Role
from chaos.invariants import Violation, boards_are_the_fold, outbox_published, streams_are_current, submissions_judged
from chaos.simulation import buggify, knobs
from chaos.simulation.cluster import Cluster, running, template
from chaos.simulation.determinism import Deadlock, DiscreteClock, Livelock, Overdue, simulate
from chaos.simulation.faults import Fault, Options
from chaos.simulation.front import ConnectionFailed
from chaos.simulation.machine import SimulatedCrash
from chaos.simulation.nemesis import Nemesis
from chaos.simulation.recovery import Recovery
from chaos.simulation.sometimes import RARE_POINTS
from chaos.simulation.whereabouts import has_dead_events, not_running, out_of_turn, stuck, unfair
from chaos.simulation.workload import CONTEST, Workload
from chaos.simulation.world import World, here
from supervisor.errors import SupervisorError

# How long a board may differ from the log once all queues are empty (what is left then is left to the sweeper), and how long those who watch may be behind: a
# subscription that died in silence is found out within 8 seconds, and the hub looks every 5.
FOLDED_S = 3.0
SHOWN_S = 30.0
# The same where an event of a board lies among the dead letters, because it crashed its projector again and again: the sweeper rebuilds what differs twice.
SWEPT_S = 70.0
# So long after the healing nobody is left who waits for a dead connection, and what is new goes the fast way.
CALM_S = 15.0
PROBE_S = 8.0  # from a submission to its verdict, in calm: below the sweeper's patience
SEEN_S = 6.0  # from there to everybody's screen: below the hub's second look
DEAF = 0.5
CHANGED = 0.5  # of the runs, in how many staff has the boards made afresh at the moment of the healing
RUSHES = 0.05  # of the runs, how many end with a rush
TURNED_RUSHES = 0.5  # of those in which the limits of our own lines may be turned (knobs.py): there it has most to show
OUTBOX_KNOBS = {"actors.outbox.BATCH_MOST", "actors.outbox.CROWDED"}
OUTBOX_RUSHES = 0.95  # of those in which both of these are turned: only then do many wait in the outbox itself
BACKLOGS = 0.08  # of the runs, how many end with a backlog in the outbox
BACKLOG_S = (
    6.0  # for which the broker is away then: much longer than the margin within which nobody can say who came first
)
HEALED_S = 180.0  # how long everything may take to come to rest once nothing is wrong any more (I9)
MOST_S = 900.0
LOOK_S = 0.5
MAY_ERR = (Fault.PROCESS_CRASH, Fault.ACTOR_CRASH, Fault.BUGGIFY, Fault.SANDBOX_DEATH)
BUGGIFIED = 0.02
BUGGIFIED_RARE = 0.5  # at a point that is hardly passed
# A large board takes its time to fold, which is no fault: verdicts go on to come in meanwhile, by both ways.
LARGE_BOARDS = 0.4  # of the runs
LARGE_FOLDS = 2  # in each of them, after the healing: both views once, and not each time that a rebuild begins again
LARGE_FOLD_S = (1.0, 5.0)
FAVOURED = 0.3  # at a point that a run favours
FAVOUR = 0.12  # of the points
DEATHS = 0.1  # of what happens at a point, how much is the death of the process
CRASHES = 0.4

Scenario = Callable[[Cluster, Workload], Awaitable[None]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    options: Options
    violations: tuple[Violation, ...]
    submissions: int
    sometimes: dict[str, int]
    simulated_s: float
    wall_s: float
    healed_s: float  # from the healing to rest
    lines: int
    trace: str
    tail: tuple[str, ...] = ()  # of a failure: the last lines of the trace


def run(options: Options, *, is_kept: bool = False, scenario: Scenario | None = None) -> tuple[Result, World]:
    """Run the options; the same ones give the same trace. ``scenario`` takes the place of the usual faults."""
    began = time.perf_counter()
    worlds: list[World] = []
    healed: list[float] = []

    async def main(clock: DiscreteClock) -> None:
        world = World(options, clock, is_kept=is_kept)
        worlds.append(world)
        world.turned = set(turned)
        world.trace("run", f"knobs {turned}")
        if any("MAILBOX" in name for name in turned):
            world.saw(Fault.FULL_MAILBOX)
        buggify.set_world(_Points(world).come)
        try:
            await _live(world, healed, scenario)
        finally:
            buggify.set_world(None)

    error: Exception | None = None
    try:
        template()  # made in a run of its own, the first time
        with knobs.turned(options) as turned:
            simulate(main, seed=options.seed, most_s=MOST_S)
    except (Deadlock, Livelock, Overdue) as stopped:
        error = stopped
    world = worlds[0]
    if error is not None:
        notes = "\n".join(getattr(error, "__notes__", ()))
        world.note(Violation("I9", f"{type(error).__name__}: {error}\n{notes}"))
    result = Result(
        options=options,
        violations=tuple(world.violations),
        submissions=world.sometimes["submitted"],
        sometimes=dict(world.sometimes),
        simulated_s=round(world.clock.elapsed_s, 3),
        wall_s=round(time.perf_counter() - began, 4),
        healed_s=round(healed[0], 3) if healed else 0.0,
        lines=world.trace.count,
        trace=world.trace.digest,
        tail=tuple(world.trace.tail()) if world.violations else (),
    )
    return result, world


class _Points:
    """What happens at the points in our code."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._favour = world.rng("points")
        self._rates: dict[str, float] = {}
        self._folds_left = LARGE_FOLDS if world.rng("folds").random() < LARGE_BOARDS else 0

    def _rate(self, name: str) -> float:
        """Return how often something happens at a point: some are favoured in some runs, or those that are passed once would hardly be struck."""
        if name in RARE_POINTS:
            return BUGGIFIED_RARE
        if name not in self._rates:
            self._rates[name] = FAVOURED if self._favour.random() < FAVOUR else BUGGIFIED
        return self._rates[name]

    async def come(self, name: str) -> None:
        """Pause, crash or die, or nothing."""
        world = self._world
        machine = here.get()
        if name == "projector.folded" and world.has_healed and self._folds_left:
            self._folds_left -= 1
            world.saw("slow_fold")
            await world.clock.sleep(world.chance.uniform(*LARGE_FOLD_S))
            return
        if machine is None or not world.strikes(Fault.BUGGIFY, self._rate(name)):
            return
        world.saw(f"at {name}")
        luck = world.chance.random()
        if luck < DEATHS:
            machine.kill(f"at {name}")
            await trio.lowlevel.checkpoint()
        elif luck < CRASHES:
            world.trace(machine.name, f"crashes at {name}")
            raise SimulatedCrash(name)
        else:
            world.trace(machine.name, f"pauses at {name}")
            await world.clock.sleep(world.chance.expovariate(1.0))


async def _live(world: World, healed: list[float], scenario: Scenario | None) -> None:
    async with running(world) as cluster:
        workload = Workload(world, cluster)
        await workload.set_up()
        world.trace("run", "set up")
        async with trio.open_nursery() as everybody:
            everybody.start_soon(workload.watch, name="watchers")
            everybody.start_soon(workload.run, name="workload")
            await _hurt(world, cluster, workload, scenario)
            if not world.violations:
                await _recover(world, cluster, workload, healed)
            everybody.cancel_scope.cancel()
        world.sometimes["submitted"] = sum(1 for each in workload.sent if each.submission_id)
        if not world.violations:
            await cluster.stop()


async def _hurt(world: World, cluster: Cluster, workload: Workload, scenario: Scenario | None) -> None:
    world.is_hurting = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_broken, world, nursery.cancel_scope, name="until broken")
        if scenario is not None:
            await scenario(cluster, workload)
        else:
            nursery.start_soon(Nemesis(world, cluster).run, name="nemesis")
            await world.clock.sleep(world.options.hurt_s)
        nursery.cancel_scope.cancel()
    for machine in cluster.machines.values():
        machine.go_on()


async def _until_broken(world: World, scope: trio.CancelScope) -> None:
    await world.broken.wait()
    scope.cancel()


async def _recover(world: World, cluster: Cluster, workload: Workload, healed: list[float]) -> None:
    """Heal everything, wait for rest, and look."""
    world.heal()
    async with trio.open_nursery() as nursery:
        if world.options.submissions:  # a scenario in which nobody submits by chance has its own
            recovery = Recovery(cluster, workload)
            await recovery.prepare()
            nursery.start_soon(recovery.run, name="recovery")
            if world.rng("changed").random() < CHANGED:
                nursery.start_soon(workload.change_the_contest, name="changes the contest at the healing")
        healed.append(await _rest(world, cluster, workload, "the healing"))
        if world.violations:
            nursery.cancel_scope.cancel()
    if not world.violations and world.options.submissions:
        await world.clock.sleep(max(0.0, CALM_S - healed[0]))
        rushes = TURNED_RUSHES if world.options.has(Fault.BUGGIFY) else RUSHES
        if world.turned >= OUTBOX_KNOBS:
            rushes = OUTBOX_RUSHES
        if world.rng("rush").random() < rushes:
            await _rush(world, cluster, workload)
        elif world.rng("backlog").random() < BACKLOGS:
            await _backlog(world, cluster, workload)
    if not world.violations and world.options.submissions:
        await _probe(world, cluster, workload)


async def _rest(world: World, cluster: Cluster, workload: Workload, after: str) -> float:
    """Wait for rest, and look whether all is as it must be then; return the seconds that it took."""
    began = trio.current_time()
    reasons: list[str] = ["nobody has looked yet"]
    quiet_since = math.inf
    while reasons and not world.violations:
        if trio.current_time() - began > HEALED_S:
            told = "".join(f"\n  {each}" for each in await stuck(cluster))
            world.violated("I9", f"Starvation: not at rest {HEALED_S:g} s after {after}: {'; '.join(reasons)}{told}")
            break
        await world.clock.sleep(LOOK_S)
        await _as_it_was(world, cluster)
        reasons = await _unrest(cluster, workload)
        quiet_since = math.inf if reasons else min(quiet_since, trio.current_time())
        if not reasons:
            reasons = await _wrong(cluster, workload, trio.current_time() - quiet_since)
    if not world.violations:
        world.trace("run", "at rest")
        await _check(world, cluster, workload)
    return trio.current_time() - began


async def _rush(world: World, cluster: Cluster, workload: Workload) -> None:
    """In calm more comes at once than judges can take: every line is long for some seconds, and nobody in it may be overtaken again and again."""
    began_s = world.clock.elapsed_s
    world.saw("rush")
    await workload.rush()
    await _rest(world, cluster, workload, "a rush in calm")
    if not world.violations:
        for told in await unfair(cluster, began_s):
            world.violated("I9", f"Starvation: in a rush in calm {told}")


async def _backlog(world: World, cluster: Cluster, workload: Workload) -> None:
    """In calm the broker is away while people submit: what has waited longest in the outbox is judged first when it is back."""
    began_s = world.clock.elapsed_s
    world.saw("backlog")
    world.take_down("broker", BACKLOG_S)
    cluster.engines.broker.restart()
    await workload.queue_up(BACKLOG_S)
    await _rest(world, cluster, workload, "a backlog in calm")
    if not world.violations:
        for told in await out_of_turn(cluster, began_s):
            world.violated("I9", f"Starvation: after a backlog in calm {told}")


async def _probe(world: World, cluster: Cluster, workload: Workload) -> None:
    """Submit once more: in calm everything goes the fast way, and nothing waits for what repairs it.

    In every other run all who listen to the database have just lost their connection: they come back to a commit that nobody told them of, the last one.
    """
    if world.work.random() < DEAF:
        world.saw("deaf_to_a_commit")
        cluster.engines.restart_database()
    sent = workload.fresh("last")
    await workload.send(sent)
    key = (sent.submission_id, 1)
    if not await _within(PROBE_S, lambda: key in cluster.engines.verdicts, world):
        world.violated("I9", f"{sent.submission_id} has no verdict after {PROBE_S:g} s, in calm")
        return
    await _within(1.0, lambda: False, world)
    page = await Boards(cluster.engines.redis, world.wall).page(CONTEST, BoardView.PUBLIC, limit=1)
    assert page is not None
    if not await _within(
        SEEN_S, lambda: all(board.version >= page.version for board in workload.boards.values()), world
    ):
        behind = [name for name, board in workload.boards.items() if board.version < page.version]
        world.violated("I5", f"{', '.join(behind)} did not see version {page.version} within {SEEN_S:g} s, in calm")


async def _within(seconds: float, is_so: Callable[[], bool], world: World) -> bool:
    """Wait until something is so; False when it is not in time."""
    until = trio.current_time() + seconds
    while not is_so() and trio.current_time() < until and not world.violations:
        await world.clock.sleep(LOOK_S)
    return is_so() or bool(world.violations)


async def _as_it_was(world: World, cluster: Cluster) -> None:
    """Start and scale up what operators had stopped and scaled down."""
    for machine in cluster.machines.values():
        tree = machine.tree
        if tree is None or not machine.up.is_set():
            continue
        rows = tree.status().rows
        stopped = [row.path for row in rows if row.state == "stopped"]
        small = [row.path for row in rows if row.size is not None and row.size < world.options.workers]
        try:
            for path in stopped[:1]:  # what is below it starts with it
                await tree.start(path)
            for path in small:
                await tree.scale(path, world.options.workers)
        except SupervisorError as error:
            world.trace(machine.name, f"operator was told: {error}")


async def _unrest(cluster: Cluster, workload: Workload) -> list[str]:
    """Return what is not at rest yet."""
    engines, found = cluster.engines, []
    waiting = [each.pressing() for each in workload.sent if not each.submission_id]
    if waiting or not workload.done.is_set():
        found.append(f"not accepted yet: {', '.join(waiting) or 'some have not been sent'}")
    for queue in QUEUES[:2]:
        depth = await engines.broker.depth(queue.name)
        if depth.ready or depth.unacked:
            found.append(f"{queue.name} has {depth.ready} ready and {depth.unacked} unacked messages")
    rows = await engines.database.fetch(
        "SELECT (SELECT count(*) FROM submissions WHERE verdict IS NULL) AS unjudged,"
        " (SELECT count(*) FROM outbox_messages WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL) AS unsent"
    )
    for what, many in rows[0].items():
        if many:
            found.append(f"{many} {what}")
    for machine in cluster.machines.values():
        if not machine.up.is_set():
            found.append(f"{machine.name} is not up: {not_running(machine)}")
        found += [f"{machine.name}: {mailbox!r}" for mailbox in machine.mailboxes if mailbox.statistics().depth]
        if machine.judging is not None and machine.judging.open:
            found.append(f"{machine.name} has {machine.judging.open} sandboxes open")
    return found


async def _wrong(cluster: Cluster, workload: Workload, quiet_s: float) -> list[str]:
    """Return what is wrong with the boards, which is a violation when it has been quiet for longer than it may take."""
    engines, world = cluster.engines, cluster.world
    boards = Boards(engines.redis, world.wall)
    if await boards.contest_version(CONTEST) is None:
        folds, pages = [], [Violation("I4", "there is no board")] if workload.boards else []
    else:
        folds, pages = (
            await boards_are_the_fold(boards, Log(engines.database), CONTEST),
            await _pages(cluster, workload),
        )
    folded_s = SWEPT_S if folds and await has_dead_events(cluster) else FOLDED_S
    late = (folds if quiet_s > folded_s else []) + (pages if quiet_s > max(SHOWN_S, folded_s) else [])
    for each in late:
        world.note(msgspec.structs.replace(each, detail=f"{each.detail}, {quiet_s:g} s after the last queue was empty"))
    return [str(each) for each in (*folds, *pages)]


async def _pages(cluster: Cluster, workload: Workload) -> list[Violation]:
    """What is wrong with what people see of the board."""
    found: list[Violation] = []
    for machine in cluster.of(Role.GATEWAY):
        try:
            answer = await workload.admin.request("GET", f"/api/v1/leaderboard/{CONTEST}", at=machine)
        except ConnectionFailed as error:
            found.append(Violation("I4", str(error)))
            continue
        if answer.status != 200:
            found.append(Violation("I4", f"{machine.name} answers {answer.status} for the board"))
            continue
        page = answer.json()
        seen = {name: (board.version, board.rows) for name, board in workload.boards.items()}
        found += streams_are_current(seen, page["version"], page["rows"])
    return found


async def _check(world: World, cluster: Cluster, workload: Workload) -> None:
    """Hold the cluster to its promises, now that it is at rest."""
    engines, options = cluster.engines, world.options
    acknowledged = {
        each.submission_id: each.deserves(engines.attempts.get(each.submission_id, 1))
        for each in workload.sent
        if each.submission_id
    }
    may_err = any(options.has(fault) for fault in MAY_ERR)
    submissions = await engines.database.fetch("SELECT id, attempt, verdict FROM submissions")
    verdicts = await engines.database.fetch("SELECT submission_id, attempt, verdict FROM verdicts")
    for violation in (
        *submissions_judged(acknowledged, submissions, verdicts, may_err=may_err),
        *outbox_published(engines.outbox),
        *await engines.ledger.vanished(),
    ):
        world.note(violation)
    errors = sum(1 for row in submissions if row["verdict"] == "JE")
    if errors:
        world.sometimes["judge_error"] += errors
    for machine in cluster.machines.values():
        if machine.judging is not None and machine.judging.open:
            world.violated("I6", f"{machine.name}: {machine.judging.open} sandboxes outlived their submissions")
        for mailbox in machine.mailboxes:
            now = mailbox.statistics()
            if now.peak > now.capacity + now.redelivered:  # what a crash gives back is let in whatever the room
                world.violated("I8", f"{machine.name}: {mailbox!r} had {now.peak} messages")
