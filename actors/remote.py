"""Verbs of the command line where the whole house is not in one process: asked of the process that runs with these settings, or else done from here.

"From here" needs servers for every neighbour: what lives inside another process cannot be reached past it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from actors.edges import Edges, dialect_of, migrations_of, open_edges
from actors.operations import Operations
from actors.settings import Settings
from contracts.errors import Unavailable
from edge.clock import SystemClock
from edge.migrations import migrate
from edge.telemetry import PrometheusMeter
from supervisor.client import request
from supervisor.errors import NothingRunning

ASK_TIMEOUT_S = 1000.0  # a package with many submissions is verified for minutes
CONNECT_S = 20.0
OPERATOR = frozenset({"database", "redis", "broker", "rpc"})  # what an operator's verbs touch


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


async def migrate_database(settings: Settings) -> list[str]:
    """Bring the schema up to date; return the names of what was applied. Waits for a database that is about to start; Unavailable after CONNECT_S seconds."""
    settings.make_data_folder()
    migrations = migrations_of(dialect_of(settings))
    give_up_at = trio.current_time() + CONNECT_S
    async with neighbours(settings, frozenset({"database"})) as edges:
        while True:
            try:
                applied = await migrate(edges.neighbours.database, migrations, edges.neighbours.clock)
            except Unavailable:
                if trio.current_time() > give_up_at:
                    raise
                await trio.sleep(0.5)
            else:
                return [f"{each.version:04d}_{each.name}" for each in applied]
