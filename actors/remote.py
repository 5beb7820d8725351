"""Verbs of the command line where the whole house is not in one process: asked of the process that runs with these settings, or else done from here.

"From here" needs servers for every neighbour: what lives inside another process cannot be reached past it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import trio

from actors.edges import Edges, dialect_of, enforce_logins, migrations_of, open_edges
from actors.operations import Operations
from actors.settings import Settings
from contracts.errors import Invalid, NotPermitted, Unavailable
from edge.clock import SystemClock
from edge.migrations import MigrationError, migrate
from edge.telemetry import PrometheusMeter
from supervisor.client import request
from supervisor.errors import NothingRunning

ASK_TIMEOUT_S = 1000.0  # a package with many submissions is verified for minutes
CONNECT_S = 20.0
OPERATOR = frozenset({"database", "redis", "broker", "rpc"})  # what an operator's verbs touch


class Migrated(NamedTuple):
    """What ``codewarz migrate`` has done: the migrations by name, and what was changed of logins and their privileges, without passwords."""

    applied: list[str]
    privileges: list[str]


async def ask(settings: Settings, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what a verb comes to. Raises NothingRunning when nobody can be asked, and what ``Operations`` and the control socket raise."""
    try:
        return await request(settings.socket, verb, timeout=ASK_TIMEOUT_S, **fields)
    except NothingRunning:
        if any(map(settings.is_embedded, OPERATOR)):
            raise
    async with neighbours(settings) as edges:
        return await Operations(edges.neighbours).verbs()[verb](fields)


@asynccontextmanager
async def neighbours(settings: Settings, needed: frozenset[str] = OPERATOR) -> AsyncIterator[Edges]:
    """Hold the neighbours in ``needed`` open for the length of the block, without any actor."""
    edges = await open_edges(settings, needed, PrometheusMeter(), SystemClock(), random.SystemRandom())
    async with AsyncExitStack() as stack:
        if edges.aio is not None:
            await stack.enter_async_context(edges.aio)
        for held in edges.held:
            await stack.enter_async_context(held)
        yield edges


async def migrate_database(settings: Settings) -> Migrated:
    """Bring the schema up to date, and the logins that the settings name. Waits for a database that is about to start; Unavailable after CONNECT_S seconds.

    Raises MigrationError at once when the database, or a login, is not one for this program, NotPermitted when
    the URL's login may not do this, and Invalid for logins of a database that has none.
    """
    logins = settings.logins
    if logins and settings.is_embedded("database"):
        raise Invalid("CODEWARZ_DATABASE_LOGINS: an embedded database has no logins: leave it empty")
    settings.make_data_folder()
    migrations = migrations_of(dialect_of(settings))
    give_up_at = trio.current_time() + CONNECT_S
    async with neighbours(settings, frozenset({"database"})) as edges:
        database = edges.neighbours.database
        while True:
            try:
                applied = await migrate(database, migrations, edges.neighbours.clock)
                changed = await enforce_logins(database, logins) if logins else []
            except (MigrationError, NotPermitted):  # waiting would not help
                raise
            except Unavailable:
                if trio.current_time() > give_up_at:
                    raise
                await trio.sleep(0.5)
            else:
                return Migrated([f"{each.version:04d}_{each.name}" for each in applied], changed)
