"""A process of the cluster: its own supervisor tree over simulated neighbours. It may die at any moment, and is started again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from actors.gateway.services import Services
from actors.gateway.sse import Hub
from actors.judge.lease import TTL_S
from actors.system import Edge, Neighbours, Role, build
from chaos.simulation.determinism import Standstill, strike
from chaos.simulation.faults import Fault
from chaos.simulation.front import Booth, Front, booths
from chaos.simulation.neighbours import broker, database, redis
from chaos.simulation.neighbours.judging import SimulatedJudging
from chaos.simulation.neighbours.rpc import SimulatedRpc
from chaos.simulation.world import SKEW_MS, Link, Wall, World, here
from contracts.errors import Unavailable
from contracts.messages import Work
from contracts.ports import BrokerMessage
from supervisor import Actor, Context, Event, IntensityExceeded, Kind, Mailbox, Pool, Supervisor, Tree
from supervisor.frames import await_frame

if TYPE_CHECKING:
    from chaos.simulation.cluster import Engines

SECRET = b"a secret of thirty-two bytes, so"
RESTART_S = (0.3, 4.0)
OPERATOR_PATHS = {
    Role.CORE: ("core/core", "core/relay", "core/outbox_listener", "core/sweeper", "edges/rpc"),
    Role.LEADERBOARD: ("leaderboard/projector", "leaderboard/verdict_intake"),
    Role.JUDGE: ("judge/workers", "judge/intake", "judge/workers/1", "judge/sandboxes"),
    Role.GATEWAY: ("gateway/sse_hub", "gateway/http"),
}


class SimulatedCrash(Exception):
    """A bug that is not there: what an actor crashes of when the simulation wants it to."""


class Silent:
    """Measures nothing."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Forget it."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Forget it."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Forget it."""


class PlainPasswords:
    """Passwords that are their own hashes: argon2 needs threads and real time."""

    async def hash(self, password: str) -> str:
        """Return it."""
        await trio.lowlevel.checkpoint()
        return password

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Compare."""
        await trio.lowlevel.checkpoint()
        return encoded == password

    def is_outdated(self, encoded: str) -> bool:
        """Never."""
        return False


class Machine:
    """One process. ``kill`` ends it as a power cut would: nothing of it has an effect from then on, whatever its code still does."""

    def __init__(self, world: World, engines: Engines, name: str, role: Role) -> None:
        self.world = world
        self.engines = engines
        self.name = name
        self.role = role
        self.lives = 0
        self.is_dead = True
        self.died_s = 0.0
        self.tree: Tree | None = None
        self.front: Front | None = None
        self.judging: SimulatedJudging | None = None
        self.mailboxes: tuple[Mailbox[Any], ...] = ()
        self.running: Counter[str] = Counter()  # actors whose code runs now
        self.wall = Wall(world.clock)
        self._scope = trio.CancelScope()
        self._broker: broker.SimulatedBroker | None = None
        self._open: dict[str, int] = {}  # incarnations that have begun and not ended, as the supervisor tells it
        self._struck: set[str] = set()  # actors that a crash of ours has left, and no event has told so yet
        self.up = trio.Event()
        self._standstill = Standstill(lambda task: task.context.get(here) is self)
        self._still_since: float | None = None
        self.went_on_s = 0.0  # when it last did after a standstill
        self._still_work: tuple[Work, ...] = ()  # what was in its sandboxes then
        self.at_database: database.SimulatedDatabase | None = None

    def __repr__(self) -> str:
        return f"<Machine {self.name}#{self.lives}>"

    async def run(self) -> None:
        """Live, again after each death, until the world is over."""
        here.set(self)
        while True:
            self.lives += 1
            self.is_dead = False
            self.world.trace(self.name, f"process {self.lives} begins")
            try:
                with trio.CancelScope() as self._scope:
                    await self._live()
            except* IntensityExceeded as group:
                self._gave_up(group)
            finally:
                self._end()
            if self.world.ended.is_set():
                return
            await trio.sleep(self.world.chance.uniform(*RESTART_S))

    def _gave_up(self, group: BaseExceptionGroup[IntensityExceeded]) -> None:
        """Its supervisors gave up. That is what they are for when code crashes; a neighbour that is away must not be enough."""
        error = group.exceptions[0]
        self.world.trace(self.name, f"process {self.lives} gave up: {error}")
        self.world.saw("process_gave_up")
        if not any(self.world.options.has(fault) for fault in (Fault.ACTOR_CRASH, Fault.BUGGIFY)):
            self.world.violated("I9", f"{self.name} gave up, and nothing but neighbours was away: {error}")

    def kill(self, why: str) -> None:
        """Die."""
        if self.is_dead:
            return
        self.world.trace(self.name, f"process {self.lives} killed: {why}")
        self.is_dead = True
        self.died_s = self.world.clock.elapsed_s
        self._scope.cancel()
        self.go_on()

    async def stop(self) -> None:
        """End in good order, as for SIGTERM; what would not stop is a violation."""
        if self.tree is None or self.is_dead:
            return
        report = await self.tree.shutdown()
        if not report.clean:
            self.world.violated("I7", f"{self.name} would not stop: {report.text()}")

    @property
    def still_s(self) -> float:
        """Since how many seconds it stands still."""
        return 0.0 if self._still_since is None else trio.current_time() - self._still_since

    @property
    def may_stand_still(self) -> bool:
        """Whether it lives, does not stand still, and is not in the middle of a statement: the whole database would wait for it, and a server does not."""
        return self.up.is_set() and self._still_since is None and not (self.at_database and self.at_database.busy)

    def stand_still(self) -> None:
        """Let none of its tasks run until ``go_on``, as SIGSTOP does: nobody inside notices, and time goes on. Nothing happens when it does already."""
        if self._still_since is not None:
            return
        self._still_since = trio.current_time()
        self._still_work = () if self.judging is None else self.judging.judged
        self._standstill.begin()
        self.world.trace(self.name, "stands still")

    def go_on(self) -> None:
        """Go on as if nothing had been; nothing happens when it does not stand still."""
        if self._still_since is None:
            return
        still_s, self._still_since = self.still_s, None
        self.went_on_s = self.world.clock.elapsed_s
        if self._still_work and not self.is_dead:
            if still_s > TTL_S:
                self.world.saw("still_beyond_lease")
            else:
                self.world.saw("still_within_lease")
        self.world.trace(self.name, f"goes on after {still_s:.1f} s")
        self._standstill.end()

    def break_connections(self) -> None:
        """Lose the connection to the broker."""
        if self._broker is not None:
            self._broker.break_connection()

    @property
    def actors(self) -> tuple[str, ...]:
        """The paths of the actors that run now; not empty once the process has been up."""
        return tuple(self._roots)

    def crash_an_actor(self, which: str | None = None) -> None:
        """Let some task of some actor, or of a certain one, fail where it waits."""
        chance = self.world.chance
        found = [task for path, task in self._tasks() if which in (None, path)]
        if not found:
            return
        task = chance.choice(found)
        if strike(task, SimulatedCrash(f"struck at {task.name}")):
            self.world.saw(Fault.ACTOR_CRASH)
            self.world.trace(self.name, f"struck {task.name}")

    @property
    def unanswered(self) -> list[BrokerMessage]:
        """What the broker has given to it, and it has not answered yet."""
        return [] if self._broker is None else self._broker.held

    def waiting(self) -> list[str]:
        """Return for each task of its actors where it waits."""
        return [
            f"{path} {task.name} at {await_frame(task)}" for path, task in self._tasks() if not task.child_nurseries
        ]

    def _tasks(self) -> list[tuple[str, trio.lowlevel.Task]]:
        """Return the tasks of the actors that run now, in an order that does not change."""
        found: list[tuple[str, trio.lowlevel.Task]] = []
        for path, task in self._roots.items():
            stack = [task]
            while stack:
                each = stack.pop()
                found.append((path, each))
                for nursery in each.child_nurseries:
                    stack += sorted(nursery.child_tasks, key=lambda one: one._counter)  # noqa: SLF001
        return found

    # ---- one life ----------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        world = self.world
        self._roots: dict[str, trio.lowlevel.Task] = {}
        rng = world.rng(f"{self.name} {self.lives}")
        self.wall = Wall(world.clock, rng.randint(-SKEW_MS, SKEW_MS) if world.has(Fault.CLOCK_SKEW) else 0)
        if self.wall.skew_ms:
            world.saw(Fault.CLOCK_SKEW)
        spec = self._spec(rng)
        tree = Tree(spec, rng=rng, wall_clock=lambda: self.wall.now_ms() / 1000, on_event=self._on_event)
        self.tree = tree
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            self.up.set()

    def _spec(self, rng: random.Random) -> Any:
        engines, world = self.engines, self.world
        at_database = database.SimulatedDatabase(world, Link(world, self, database.NAME), engines.database)
        at_redis = redis.SimulatedRedis(world, Link(world, self, redis.NAME), engines.redis)
        at_broker = broker.SimulatedBroker(
            world, Link(world, self, broker.NAME), engines.broker, engines.on_publish, engines.ledger
        )
        rpc = SimulatedRpc(engines.exchange, Link(world, self, "rpc"))
        self._broker = at_broker
        self.at_database = at_database
        self.judging = SimulatedJudging(world, self, world.options.workers)
        neighbours = Neighbours(
            at_database, at_redis, at_broker, rpc, self.judging, PlainPasswords(), Silent(), self.wall, rng
        )
        gateway: tuple[Actor, ...] = ()
        if self.role is Role.GATEWAY:
            hub = Hub(at_redis, self.wall, rng, Silent())
            services = Services(
                database=at_database,
                redis=at_redis,
                rpc=rpc,
                clock=self.wall,
                rng=rng,
                passwords=PlainPasswords(),
                secret=SECRET,
                hub=hub,
                meter=Silent(),
                render_metrics=lambda: b"",
                is_ready=lambda: True,
            )
            self.front = Front(world, self, booths.setdefault(self.name, Booth()).opened(services))
            gateway = (Actor("sse_hub", hub.run), Actor("http", self.front.run, grace_s=3.0))
        spec = build(
            engines.settings,
            neighbours,
            roles=frozenset({self.role}),
            edges=(Edge("database", self._hold(database.NAME)),),
            sandboxes=self.judging.run,
            web=gateway,
            tell=world.say_nothing,
            node=self.name,
        )
        self.mailboxes = tuple(_mailboxes(spec))
        return self._watched(spec)

    def _hold(self, neighbour: str) -> Callable[[Context[None]], Any]:
        """Return an edge's actor: it starts when the neighbour can be reached."""
        link = Link(self.world, self, neighbour)

        async def run(ctx: Context[None]) -> None:
            while True:
                try:
                    await link.there("connect")
                except Unavailable:
                    await trio.sleep(0.5)
                else:
                    break
            ctx.ready()
            await ctx.draining.wait()

        return run

    def _watched(self, spec: Any) -> Any:
        """Have every actor's code counted while it runs, whatever the supervisor believes."""
        if isinstance(spec, Supervisor):
            return replace(spec, children=tuple(self._watched(child) for child in spec.children))
        if isinstance(spec, Pool):
            return replace(spec, worker=self._counting(spec.worker))
        return replace(spec, run=self._counting(spec.run))

    def _counting(self, run: Callable[[Context[Any]], Any]) -> Callable[[Context[Any]], Any]:
        async def counted(ctx: Context[Any]) -> None:
            self.running[ctx.path] += 1
            if self.running[ctx.path] > 1:
                self.world.violated("I7", f"{self.name}: {self.running[ctx.path]} incarnations of {ctx.path} at once")
            self._roots[ctx.path] = trio.lowlevel.current_task()
            try:
                await run(ctx)
            except BaseException as error:
                if _is_crash(error):
                    self._struck.add(ctx.path)
                raise
            finally:
                self.running[ctx.path] -= 1
                self._roots.pop(ctx.path, None)

        return counted

    def _on_event(self, event: Event) -> None:
        world = self.world
        world.trace(self.name, f"{event.text()[:160]}")
        which = f"{event.path}"
        if event.kind is Kind.STARTED:
            if which in self._open:
                world.violated(
                    "I7", f"{self.name}: {which}#{event.incarnation} began before #{self._open[which]} had ended"
                )
            self._open[which] = event.incarnation
        is_end = event.kind in (Kind.CRASHED, Kind.RETURNED, Kind.CANCELLED)
        if is_end and self._open.pop(which, None) != event.incarnation:
            world.violated("I7", f"{self.name}: {which}#{event.incarnation} ended and had not begun")
        if is_end and which in self._struck:
            self._struck.remove(which)
            if event.kind is not Kind.CRASHED:
                world.violated(
                    "I7", f"{self.name}: {which}#{event.incarnation} crashed, and its event says {event.kind}"
                )
        if event.kind is Kind.CRASHED:
            world.saw("actor_restarted")
            if not self.is_dead and not _is_expected(event):
                world.violated("I7", f"{self.name}: {which} crashed of a bug: {event.detail}\n{event.traceback}")
        elif event.kind is Kind.QUARANTINED:
            world.saw("quarantined")
        elif event.kind in (Kind.WOULD_NOT_STOP, Kind.WEDGED, Kind.ESCALATED):
            world.saw(event.kind.value)

    def _end(self) -> None:
        """Nothing is left of a process that has died; say so where there is."""
        self.is_dead = True
        self.up = trio.Event()
        world = self.world
        for path, count in self.running.items():
            if count:
                world.violated("I7", f"{self.name}: {path} outlived its process")
        if self._open:
            world.violated("I7", f"{self.name}: no event tells how {', '.join(self._open)} ended")
        self._open.clear()
        self._struck.clear()
        self.running.clear()
        if self.judging is not None and self.judging.open:
            world.violated("I6", f"{self.name}: {self.judging.open} sandboxes outlived their process")
        self.tree = self.front = self._broker = self.judging = None
        world.trace(self.name, f"process {self.lives} is gone")


# What an actor may crash of: a fault of ours, or a neighbour that is away.
EXPECTED = ("SimulatedCrash", "EdgeLost", "Unavailable", "DeadlineExceeded", "SandboxUnavailable", "Wedged", "StartTimeout", "IntensityExceeded")  # fmt: skip


def _is_expected(event: Event) -> bool:
    """Whether an actor may crash of this."""
    return any(name in event.detail for name in EXPECTED)


def _is_crash(error: BaseException) -> bool:
    """Whether a crash of ours is in it."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_crash(inner) for inner in error.exceptions)
    return isinstance(error, SimulatedCrash)


def _mailboxes(spec: Any) -> list[Mailbox[Any]]:
    if isinstance(spec, Supervisor):
        return [mailbox for child in spec.children for mailbox in _mailboxes(child)]
    return [] if spec.mailbox is None else [spec.mailbox]
