"""A PostgreSQL database for one test, as its owner has it and as each login of the house has it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from contracts.logins import Kind, parse
from contracts.ports import Database
from edge.aio import AsyncioLoop
from edge.migrations import alone
from edge.postgres import PostgresDatabase
from edge.postgres.privileges import enforce

LOGINS = parse(" ".join(f"{kind}=codewarz_{kind}:password-of-{kind}" for kind in Kind))


@asynccontextmanager
async def opened_postgres(url: str, **options: Any) -> AsyncIterator[PostgresDatabase]:
    """Open the database at ``url`` on a loop of its own, emptied: quicker than making a new one, by an order of magnitude.

    What an earlier test left running on the server is ended first.
    """
    async with AsyncioLoop() as aio, PostgresDatabase(url, aio, **options) as database:
        await database.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await database.execute("DROP SCHEMA public CASCADE")
        await database.execute("CREATE SCHEMA public")
        yield database


async def enforced(database: Database) -> list[str]:
    """Make LOGINS and their grants; return what was changed."""
    return await alone(database, partial(enforce, logins=LOGINS))


def url_of(engine_url: str, kind: Kind) -> str:
    """Return the URL of a database for one of LOGINS."""
    (login,) = (each for each in LOGINS if each.kind is kind)
    return re.sub(r"//[^@]*@", f"//{login.name}:{login.password}@", engine_url)


@asynccontextmanager
async def opened_as_each(engine_url: str) -> AsyncIterator[dict[Kind, PostgresDatabase]]:
    """Open the database once for each of LOGINS."""
    async with AsyncExitStack() as stack:
        aio = await stack.enter_async_context(AsyncioLoop())
        yield {kind: await stack.enter_async_context(PostgresDatabase(url_of(engine_url, kind), aio)) for kind in Kind}
