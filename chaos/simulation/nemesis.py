"""What strikes from outside, by the clock: processes die, engines restart, networks part, operators interfere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from chaos.simulation.cluster import Cluster
from chaos.simulation.faults import Fault
from chaos.simulation.machine import OPERATOR_PATHS, Machine
from chaos.simulation.world import World
from contracts.messages import Topic
from contracts.ports import BrokerMessage
from supervisor.errors import SupervisorError

ENGINES = ("database", "redis", "broker")
IN_THE_MIDDLE = 0.5  # of the standstills, how many hit a judge that is busy
STATEMENT_S = 2.0  # until a process that is never without a statement is let be
HEARTBEATS_S = (3.0, 9.0)  # until the broker gives up a client that says nothing: after two or three of its heartbeats
NONSENSE = 0.2  # of what operators do
FORGETS = 0.4  # of the broker's restarts, how many lose the queue of requests
HAUNTED = 0.15  # of the runs in which actors crash, how many have one that crashes at each start
RELAPSE_S = (
    0.01,
    0.2,
)  # from a start to that crash: below any healthy stretch, so that backoffs grow and intensities trip


class Nemesis:
    """Strikes while it hurts; each kind of fault has its own mean time between two of them."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world = world
        self._cluster = cluster
        self._nursery: trio.Nursery | None = None
        self._nonsense_said = 0
        self._kinds: dict[Fault, tuple[float, Callable[[], Awaitable[None]]]] = {
            Fault.PROCESS_CRASH: (8.0, self._process_crash),
            Fault.STALL: (8.0, self._stall),
            Fault.ACTOR_CRASH: (3.0, self._actor_crash),
            Fault.PARTITION: (8.0, self._partition),
            Fault.DUPLICATE: (1.5, self._old_message),
            Fault.BROKER_RESTART: (15.0, self._broker_restart),
            Fault.REDIS_RESTART: (15.0, self._redis_restart),
            Fault.REDIS_WIPE: (20.0, self._redis_wipe),
            Fault.DATABASE_RESTART: (15.0, self._database_restart),
            Fault.OPERATOR: (6.0, self._operator),
        }

    async def run(self) -> None:
        """Strike until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for fault, (mean_s, strike) in self._kinds.items():
                if self._world.has(fault):
                    nursery.start_soon(self._again_and_again, fault, mean_s, strike, name=f"nemesis {fault}")
            if self._world.has(Fault.ACTOR_CRASH) and self._world.chance.random() < HAUNTED:
                nursery.start_soon(self._haunt, name="nemesis crash loop")

    async def _again_and_again(self, fault: Fault, mean_s: float, strike: Callable[[], Awaitable[None]]) -> None:
        world = self._world
        while True:
            await world.clock.sleep(world.chance.expovariate(world.options.intensity / mean_s))
            await strike()
            if fault not in (Fault.ACTOR_CRASH, Fault.OPERATOR):
                world.saw(fault)

    def _any(self) -> Machine:
        return self._world.chance.choice(list(self._cluster.machines.values()))

    async def _process_crash(self) -> None:
        await trio.lowlevel.checkpoint()
        self._any().kill("a power cut")

    async def _stall(self) -> None:
        """Have a process stand still, for less or for more than a lease; best a judge in the middle of a test."""
        assert self._nursery is not None
        chance = self._world.chance
        for_s = chance.choice((chance.uniform(0.1, 3.0), chance.uniform(5.0, 40.0)))
        machine = self._any()
        busy = [each for each in self._cluster.machines.values() if each.judging is not None and each.judging.open]
        if busy and chance.random() < IN_THE_MIDDLE:
            machine = chance.choice(busy)
        with trio.move_on_after(STATEMENT_S):
            while not machine.may_stand_still:
                await self._world.clock.sleep(0.001)
            machine.stand_still()
            self._nursery.start_soon(self._silence, machine, machine.lives, for_s, name=f"silence of {machine.name}")
        await trio.lowlevel.checkpoint()

    async def _silence(self, machine: Machine, life: int, for_s: float) -> None:
        """The broker misses heartbeats, and gives the messages to others; in the end the process goes on, if it is the same still."""
        world = self._world
        heartbeats_s = world.chance.uniform(*HEARTBEATS_S)
        await world.clock.sleep(min(heartbeats_s, for_s))
        if for_s > heartbeats_s and machine.lives == life:
            machine.break_connections()
            await world.clock.sleep(for_s - heartbeats_s)
        if machine.lives == life:
            machine.go_on()

    async def _actor_crash(self) -> None:
        await trio.lowlevel.checkpoint()
        self._any().crash_an_actor()

    async def _haunt(self) -> None:
        """One actor has a bug that comes back at each start. Its supervisor gives up, then the one above, then the process; which has it still."""
        world, machine = self._world, self._any()
        path = world.chance.choice(machine.actors)
        world.saw("crash_loop")
        world.trace("nemesis", f"{path} of {machine.name} crashes whenever it starts")
        while True:
            await world.clock.sleep(world.chance.uniform(*RELAPSE_S))
            machine.crash_an_actor(path)

    async def _partition(self) -> None:
        """Part a process from an engine or from another process, or one from everybody."""
        await trio.lowlevel.checkpoint()
        world, chance = self._world, self._world.chance
        one, for_s = self._any(), chance.uniform(0.5, 15.0)
        others = [*ENGINES, *(name for name in self._cluster.machines if name != one.name)]
        chosen = others if chance.random() < 0.25 else [chance.choice(others)]
        for other in chosen:
            world.cut(one.name, other, for_s)
        if "broker" in chosen:
            assert self._nursery is not None
            self._nursery.start_soon(self._give_up_on, one, for_s, name=f"heartbeat {one.name}")

    async def _give_up_on(self, machine: Machine, for_s: float) -> None:
        """The broker misses a heartbeat, and gives the messages to others; the process may believe for a while that it still has them."""
        wait_s = self._world.chance.uniform(0.5, 8.0)
        await self._world.clock.sleep(min(wait_s, for_s))
        if self._world.is_cut(machine.name, "broker"):
            machine.break_connections()

    async def _old_message(self) -> None:
        """What was published some time ago comes once more, as from a relay that was away for long; best something that is out of date."""
        await trio.lowlevel.checkpoint()
        engines = self._cluster.engines
        messages = engines.outdated() or engines.published
        if messages:
            await engines.publish_again(*self._world.chance.choice(messages))

    async def _broker_restart(self) -> None:
        await trio.lowlevel.checkpoint()
        self._world.take_down("broker", self._world.chance.uniform(0.2, 6.0))
        if self._world.chance.random() >= FORGETS:
            self._cluster.engines.broker.restart()
        elif await self._cluster.engines.lose_requests():
            self._world.saw("requests_lost")

    async def _redis_restart(self) -> None:
        await trio.lowlevel.checkpoint()
        self._world.take_down("redis", self._world.chance.uniform(0.2, 6.0))
        self._cluster.engines.redis.restart()

    async def _redis_wipe(self) -> None:
        await trio.lowlevel.checkpoint()
        self._world.take_down("redis", self._world.chance.uniform(0.0, 6.0))
        self._cluster.engines.redis.reset()

    async def _database_restart(self) -> None:
        await trio.lowlevel.checkpoint()
        self._world.take_down("database", self._world.chance.uniform(0.2, 6.0))
        self._cluster.engines.restart_database()

    async def _nonsense(self) -> None:
        """Somebody tries something out and publishes what nobody can read: it must end with the dead letters."""
        topic = self._world.chance.choice((Topic.SUBMISSION, Topic.VERDICT))
        self._nonsense_said += 1
        message = BrokerMessage(body=b"is anybody there?", message_id=f"nonsense {self._nonsense_said}")
        self._world.trace("operator", f"publishes {message.message_id} as {topic}")
        await self._cluster.engines.publish_again(topic, message)

    async def _operator(self) -> None:
        """Somebody at the control socket, or at the broker's."""
        world, chance = self._world, self._world.chance
        if chance.random() < NONSENSE:
            await self._nonsense()
            return
        machine = self._any()
        path = chance.choice(OPERATOR_PATHS[machine.role])
        what = chance.choice(("restart", "restart", "stop", "drain", "scale"))
        tree = machine.tree
        if tree is None or machine.is_dead:
            await trio.lowlevel.checkpoint()
            return
        world.trace(machine.name, f"operator: {what} {path}")
        world.saw(Fault.OPERATOR)
        try:
            if what == "scale":
                await tree.scale("judge/workers", chance.randint(0, world.options.workers))
            elif what == "restart":
                await tree.restart(path)
            else:
                await (tree.stop(path) if what == "stop" else tree.drain(path))
                await world.clock.sleep(chance.uniform(0.1, 8.0))
                await tree.start(path)
        except SupervisorError as error:
            world.trace(machine.name, f"operator was told: {error}")
