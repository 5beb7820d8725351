"""One process's neighbours: the variant of each that its URL asks for, and the actors that hold them open.

Embedded variants live in this process; what is shared by several processes is reached over the network, through the process's one asyncio loop. A networked
neighbour need not be there at the start: its users wait for it in place (``actors.patience``), and find it again after it was away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

from actors.judge.sandboxed import SandboxedJudging
from actors.patience import until_done
from actors.settings import Settings
from actors.system import EVERY_ROLE, Edge, Neighbours, Role, needs
from contracts.errors import Invalid
from contracts.logins import Login
from contracts.ports import Broker, Database, Judging, Meter, Redis, Rpc, WallClock
from edge.aio import AsyncioLoop
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.migrations import Dialect, Migration, alone, load_migrations, migrate
from edge.passwords import Argon2Passwords
from edge.rpc import LocalRpc
from edge.sqlite import SqliteDatabase, path_of
from sandbox import capabilities
from sandbox.pool import Pool
from sandbox.validators import Validators
from supervisor import Context

RPC_SECRET_LEAST = 16  # characters: what opens everything must not be guessed
WARM_MOST = 4  # boxes kept ready: starting one costs some tens of milliseconds, keeping one some megabytes

H = TypeVar("H", bound=AbstractAsyncContextManager[Any])
Run = Callable[[Context[Any]], Any]


@dataclass(frozen=True)
class Edges:
    """The neighbours, the actors that hold them, what those hold (``held``), and what must be open around it all (``aio``, when anything is networked)."""

    neighbours: Neighbours
    actors: tuple[Edge, ...]
    held: tuple[AbstractAsyncContextManager[Any], ...]
    aio: AsyncioLoop | None
    judging: SandboxedJudging | None


async def open_edges(
    settings: Settings,
    needed: frozenset[str],
    meter: Meter,
    clock: WallClock,
    rng: random.Random,
    *,
    migrates: bool = True,
) -> Edges:
    """Pick the neighbours in ``needed``. Nothing is connected yet. With ``migrates`` the database's actor brings its schema up to date.

    Raises Invalid for a URL that makes no sense, and Unavailable, with the remedy, when code could not be judged safely on this machine.
    """
    picked = _Picked(settings, needed, clock)
    judging = await _judging(settings) if "sandbox" in needed else None
    neighbours = Neighbours(
        picked.database(migrates),
        picked.redis(),
        picked.broker(),
        picked.rpc(),
        cast("Judging", judging or Absent("sandbox")),
        Argon2Passwords(),
        meter,
        clock,
        rng,
    )
    return Edges(neighbours, tuple(picked.actors), tuple(picked.held), picked.aio, judging)


def check_shared(settings: Settings, roles: frozenset[Role]) -> None:
    """Raise Invalid when a process that is only a part of the house has a neighbour or the sessions' secret to itself or would answer strangers' requests."""
    _check_rpc(settings, roles)
    if roles == EVERY_ROLE:
        return
    alone = [
        name for name in ("database", "redis", "broker", "rpc") if name in needs(roles) and settings.is_embedded(name)
    ]
    if alone:
        names = ", ".join(f"CODEWARZ_{name.upper()}" for name in alone)
        raise Invalid(
            f"{names}: a process with the role {' and '.join(sorted(roles))} shares this with the others, so it cannot be embedded:"
            " name a server (see .env.example)"
        )
    if Role.GATEWAY in roles and not settings.secret.get_secret_value():
        raise Invalid(
            "CODEWARZ_SECRET: a gateway that is only a part of the house needs it, the same for all, or people are signed in at one and not at the next:"
            " make one with `openssl rand -hex 32`"
        )


def _check_rpc(settings: Settings, roles: frozenset[Role]) -> None:
    if settings.is_embedded("rpc"):
        return
    from edge.rpc.url import RpcUrl

    url = RpcUrl.parse(settings.rpc)
    if roles == {Role.JUDGE} and url.judge_secret:
        raise Invalid(
            "CODEWARZ_RPC: a judge runs what strangers wrote, so it must not know the others' secret:"
            " give it that of judges as its password, without judge_secret"
        )
    if url.listen is not None and len(url.secret) < RPC_SECRET_LEAST:
        raise Invalid(
            f"CODEWARZ_RPC: whoever reaches {url.listen} could do everything without a secret of at least {RPC_SECRET_LEAST} characters:"
            " make one with `openssl rand -hex 24`, and write grpc://:SECRET@HOST:PORT?… in all processes"
        )
    if url.listen is not None and url.judge_secret and len(url.judge_secret) < RPC_SECRET_LEAST:
        raise Invalid(f"CODEWARZ_RPC: judge_secret needs at least {RPC_SECRET_LEAST} characters")


class Absent:
    """Stands for a neighbour that none of this process's roles may touch; touching it all the same is a bug, and says so."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"this process has no {self._what}: none of its roles needs one")


class _Picked:
    """Picks one neighbour after another, and collects their actors."""

    def __init__(self, settings: Settings, needed: frozenset[str], clock: WallClock) -> None:
        self._settings = settings
        self._needed = needed
        self._clock = clock
        self.actors: list[Edge] = []
        self.held: list[AbstractAsyncContextManager[Any]] = []
        self.aio: AsyncioLoop | None = None

    def database(self, migrates: bool) -> Database:
        """Return the database."""
        if "database" not in self._needed:
            return cast("Database", Absent("database"))
        url = self._settings.database_url
        if self._settings.is_embedded("database"):
            embedded = SqliteDatabase(path_of(url))
            self.held.append(embedded)
            self.actors.append(Edge("database", _migrated(embedded, embedded, "sqlite", self._clock)))
            return embedded
        from edge.postgres import PostgresDatabase

        networked = self._hold("DATABASE", lambda aio: PostgresDatabase(url, aio))
        run = _migrated(networked, networked, "postgres", self._clock) if migrates else _held(networked)
        self.actors.append(Edge("database", run))
        return networked

    def redis(self) -> Redis:
        """Return Redis."""
        if "redis" not in self._needed:
            return cast("Redis", Absent("redis"))
        if self._settings.is_embedded("redis"):
            embedded = MemoryRedis(self._clock)
            self.actors.append(
                Edge("redis", _begun(embedded.reset))
            )  # as a Redis without persistence that was restarted
            return embedded
        from edge.redis import ServerRedis

        networked = self._hold("REDIS", lambda aio: ServerRedis(self._settings.redis, aio))
        self.actors.append(Edge("redis", _held(networked)))
        return networked

    def broker(self) -> Broker:
        """Return the broker."""
        if "broker" not in self._needed:
            return cast("Broker", Absent("broker"))
        if self._settings.is_embedded("broker"):
            embedded = MemoryBroker()
            # As a broker that was restarted: consumers must come again, queued messages are still there.
            self.actors.append(Edge("broker", _begun(embedded.restart)))
            return embedded
        from edge.rabbitmq import RabbitMqBroker

        networked = self._hold("BROKER", lambda aio: RabbitMqBroker(self._settings.broker, aio))
        self.actors.append(Edge("broker", _held(networked)))
        return networked

    def rpc(self) -> Rpc:
        """Return the way to the services."""
        if "rpc" not in self._needed:
            return cast("Rpc", Absent("rpc"))
        if self._settings.is_embedded("rpc"):
            return LocalRpc()
        from edge.rpc.grpc import GrpcRpc

        networked = self._hold("RPC", lambda aio: GrpcRpc(self._settings.rpc, aio))
        self.actors.append(Edge("grpc", _held(networked)))
        return networked

    def _hold(self, setting: str, make: Callable[[AsyncioLoop], H]) -> H:
        """Make a networked neighbour on this process's loop; a URL that makes no sense is told with the name of its setting."""
        if self.aio is None:
            self.aio = AsyncioLoop()
        try:
            networked = make(self.aio)
        except Invalid as error:
            name = f"CODEWARZ_{setting}"
            raise Invalid(error.detail if name in error.detail else f"{name}: {error.detail}") from error
        self.held.append(networked)
        return networked


def _held(neighbour: Any) -> Run:
    """Return the actor that holds a networked neighbour open."""

    async def run(ctx: Context[None]) -> None:
        async with neighbour:
            ctx.ready()
            await ctx.draining.wait()

    return run


def _begun(begin: Callable[[], None]) -> Run:
    """Return the actor of an embedded neighbour: ``begin`` makes it as good as new."""

    async def run(ctx: Context[None]) -> None:
        begin()
        ctx.ready()
        await ctx.draining.wait()

    return run


def _migrated(held: Any, database: Database, dialect: Dialect, clock: WallClock) -> Run:
    """Return the actor that holds the database, with the schema brought up to date as soon as it can be reached."""
    migrations = migrations_of(dialect)

    async def run(ctx: Context[None]) -> None:
        async def bring_up_to_date() -> None:
            await migrate(database, migrations, clock)

        async with held:
            await until_done(ctx, bring_up_to_date, "migrations")
            ctx.ready()
            await ctx.draining.wait()

    return run


def migrations_of(dialect: Dialect) -> list[Migration]:
    """Return the schema's migrations in a dialect."""
    return load_migrations(Path(str(files("contracts") / "sql")), dialect)


def dialect_of(settings: Settings) -> Dialect:
    """Return the dialect of the database that the settings name."""
    return "sqlite" if settings.is_embedded("database") else "postgres"


async def enforce_logins(database: Database, logins: Sequence[Login]) -> list[str]:
    """Make PostgreSQL's logins, and what they may do, as they should be, while no other program migrates; return what was changed, without passwords."""
    from edge.postgres.privileges import enforce

    return await alone(database, partial(enforce, logins=logins))


async def _judging(settings: Settings) -> SandboxedJudging:
    found = await capabilities.probe()
    provider = found.provider()
    provider.clean_stale()
    pool = Pool(provider, settings.workers, warm=min(settings.workers, WARM_MOST))
    return SandboxedJudging(pool, Validators(found.languages), found.languages)
