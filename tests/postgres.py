"""A PostgreSQL database for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edge.aio import AsyncioLoop
from edge.postgres import PostgresDatabase


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
