"""What is done with a connection, once one is there: the four kinds of statements, and rows as dictionaries. On the asyncio loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from contracts.ports import Row, Sql

if TYPE_CHECKING:
    from edge.postgres.connections import Connection


async def fetch(sql: str, parameters: Sequence[Sql], connection: Connection) -> list[Row]:
    """Return all rows."""
    return [dict(record) for record in await connection.fetch(sql, *parameters)]


async def fetch_one(sql: str, parameters: Sequence[Sql], connection: Connection) -> Row | None:
    """Return the first row. A statement that changes something still runs to its end: PostgreSQL does that for RETURNING."""
    record = await connection.fetchrow(sql, *parameters)
    return None if record is None else dict(record)


async def execute(sql: str, parameters: Sequence[Sql], connection: Connection) -> int:
    """Return the number of rows in the server's "UPDATE 3" or "INSERT 0 3"; 0 for anything that counts none, such as "GRANT"."""
    words = (await connection.execute(sql, *parameters)).split(" ")
    return int(words[-1]) if words[0] in ("INSERT", "UPDATE", "DELETE", "MERGE") else 0


async def nothing(_connection: Connection) -> None:
    """Have what was put off run, by itself."""


async def execute_many(sql: str, parameters: Sequence[Sequence[Sql]], connection: Connection) -> None:
    """Send all of them without waiting for the answers in between; asyncpg makes that one implicit transaction."""
    await connection.executemany(sql, parameters)
