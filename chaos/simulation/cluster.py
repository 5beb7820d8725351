"""All processes of a run and the engines they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
import trio

from actors.outbox import QUEUES, SUBMISSION_QUEUE
from actors.settings import Settings
from actors.system import Role
from chaos.simulation.ledger import Ledger
from chaos.simulation.lines import Lines
from chaos.simulation.machine import Machine
from chaos.simulation.neighbours.database import HISTORY, Engine
from chaos.simulation.neighbours.rpc import Exchange
from chaos.simulation.world import EPOCH_MS, World
from contracts.messages import Work
from contracts.ports import BrokerMessage, Row
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.migrations import load_migrations, migrate
from edge.sqlite import SqliteDatabase
from edge.sqlite_connection import MEMORY

ADMIN = "root"
ADMIN_PASSWORD = "the administrator's"  # noqa: S105 - of a simulation


@cache
def template() -> bytes:
    """Return a migrated and empty database that keeps history: making one takes as long as ten submissions."""

    async def make() -> bytes:
        async with SqliteDatabase(MEMORY) as database:
            migrations = load_migrations(Path(str(files("contracts") / "sql")), "sqlite")
            await migrate(database, migrations, Midnight())
            for sql in HISTORY:
                await database.execute(sql)
            return await database.content()

    return trio.run(make)


class Midnight:
    """A clock that stands still, for what is made once and used in every run."""

    def now_ms(self) -> int:
        """Return the beginning of all runs."""
        return EPOCH_MS


@cache
def settings(workers: int) -> Settings:
    """Return the settings of every process."""
    return Settings(_env_file=None, workers=workers, demo=False, admin_username=ADMIN, admin_password=ADMIN_PASSWORD)


class Subject(msgspec.Struct):
    """What a message is about, if it is about a submission."""

    submission_id: str = ""
    attempt: int = 0


_subject = msgspec.json.Decoder(Subject)


class Engines:
    """The database, Redis, the broker, and who serves what; with a record of all that was committed and published."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.settings = settings(world.options.workers)
        self.database = Engine(self._on_commit)
        self.redis = MemoryRedis(world.wall)
        self.broker = MemoryBroker()
        self.ledger = Ledger(world, self)
        self.exchange = Exchange(world)
        self.lines = Lines()
        self.outbox: dict[str, bool] = {}  # committed message → whether it was published
        self.published: list[tuple[str, BrokerMessage]] = []
        self.verdicts: dict[tuple[str, int], str] = {}
        self.verdict_at_s: dict[tuple[str, int], float] = {}
        self.attempts: dict[str, int] = {}
        self._fencing: dict[tuple[str, int, int], str] = {}

    def on_publish(self, routing_key: str, message: BrokerMessage) -> None:
        """Check a publication: what is not committed must not leave."""
        if message.message_id not in self.outbox:
            self._world.violated("I2", f"{routing_key} {message.message_id} was published and is not committed")
            return
        if self.outbox[message.message_id]:
            self._world.saw("published_twice")
        self.outbox[message.message_id] = True
        self.lines.published(message.message_id, self._world.clock.elapsed_s)
        if routing_key == SUBMISSION_QUEUE.routing_key:
            subject = _subject.decode(message.body)
            self.lines.queued((subject.submission_id, subject.attempt), self._world.clock.elapsed_s)
        self.published.append((routing_key, message))

    def handed_out(self, work: Work, judge: str) -> None:
        """Check that a judge's fencing number is its own."""
        self.lines.begun((work.submission_id, work.attempt), self._world.clock.elapsed_s)
        key = (work.submission_id, work.attempt, work.fencing)
        other = self._fencing.setdefault(key, judge)
        if other != judge:
            self._world.violated(
                "I3",
                f"{other} and {judge} have the same fencing number {work.fencing} for {work.submission_id}:{work.attempt}",
            )

    def _on_commit(self, rows: list[Row]) -> None:
        world = self._world
        for row in rows:
            what, key = row["what"], (row["id"], row["attempt"])
            if what == "outbox":
                self.outbox[row["id"]] = False
                self.lines.committed(row["id"], row["priority"], world.clock.elapsed_s)
                continue
            if what in ("submission", "attempt"):
                self.lines.asked(key, row["priority"], world.clock.elapsed_s)
            world.trace("database", f"{what} {row['id']}:{row['attempt']} {row['verdict'] or ''}".rstrip())
            if what == "submission":
                self.attempts[row["id"]] = row["attempt"]
            elif what == "attempt":
                if row["attempt"] != self.attempts[row["id"]] + 1:
                    world.violated(
                        "I1", f"the attempt of {row['id']} went from {self.attempts[row['id']]} to {row['attempt']}"
                    )
                self.attempts[row["id"]] = row["attempt"]
            elif what == "verdict":
                if key in self.verdicts:
                    world.violated(
                        "I1", f"{row['id']}:{row['attempt']} got {self.verdicts[key]} and then {row['verdict']}"
                    )
                if row["fencing"] != row["newest"]:
                    world.violated(
                        "I3",
                        f"{row['id']}:{row['attempt']} was judged with fencing {row['fencing']}, {row['newest']} is the newest",
                    )
                if row["attempt"] != self.attempts[row["id"]]:
                    world.violated(
                        "I3",
                        f"{row['id']}: attempt {row['attempt']} was judged, {self.attempts[row['id']]} is the newest",
                    )
                self.verdicts[key] = row["verdict"]
                self.verdict_at_s[key] = world.clock.elapsed_s
                self.lines.begun(key, world.clock.elapsed_s)
            else:
                world.violated("I1", f"{what}: {row['id']}:{row['attempt']} {row['verdict'] or ''}".rstrip())

    def outdated(self) -> list[tuple[str, BrokerMessage]]:
        """Return the messages about attempts that are not the newest any more."""
        return [each for each in self.published if self._is_outdated(_subject.decode(each[1].body))]

    def _is_outdated(self, subject: Subject) -> bool:
        return subject.attempt < self.attempts.get(subject.submission_id, 0)

    async def publish_again(self, routing_key: str, message: BrokerMessage) -> None:
        """Have the broker hand out a message once more, however old it is."""
        await self.broker.publish(routing_key, message)
        self.ledger.came(routing_key, message)

    async def lose_requests(self) -> int:
        """Restart the broker without its queue of requests, and with all else; how many that were."""
        self.broker.restart()
        lost = 0
        with trio.CancelScope(shield=True):
            while (delivery := await self.broker.get(SUBMISSION_QUEUE.name)) is not None:
                await delivery.ack()
                self.ledger.lost(SUBMISSION_QUEUE.routing_key, delivery.message)
                lost += 1
        return lost

    def restart_database(self) -> None:
        """Break every connection and undo what was under way."""
        self.database.restarts += 1


class Cluster:
    """Every process, by name."""

    def __init__(self, world: World, engines: Engines) -> None:
        self.world = world
        self.engines = engines
        options = world.options
        self.machines: dict[str, Machine] = {}
        for role, many in (
            (Role.CORE, options.cores),
            (Role.LEADERBOARD, options.leaderboards),
            (Role.JUDGE, options.judges),
            (Role.GATEWAY, options.gateways),
        ):
            for number in range(1, many + 1):
                name = f"{role}-{number}"
                self.machines[name] = Machine(world, engines, name, role)

    def of(self, role: Role) -> list[Machine]:
        """Return the processes of a role."""
        return [machine for machine in self.machines.values() if machine.role is role]

    async def stop(self) -> None:
        """End all processes in good order, gateways first."""
        self.world.ended.set()
        for role in (Role.GATEWAY, Role.JUDGE, Role.LEADERBOARD, Role.CORE):
            async with trio.open_nursery() as nursery:
                for machine in self.of(role):
                    nursery.start_soon(machine.stop, name=f"stop {machine.name}")


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Cluster]:
    """Start all processes on fresh engines; when the block ends, they are ended."""
    engines = Engines(world)
    async with engines.database:
        engines.database.fill(template())
        await engines.broker.declare(QUEUES)
        cluster = Cluster(world, engines)
        async with trio.open_nursery() as nursery:
            for machine in cluster.machines.values():
                nursery.start_soon(machine.run, name=machine.name)
            for machine in cluster.machines.values():
                await machine.up.wait()
            try:
                yield cluster
            finally:
                for machine in cluster.machines.values():
                    machine.go_on()
            nursery.cancel_scope.cancel()
