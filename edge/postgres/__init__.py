"""PostgreSQL behind the ``Database`` port, with asyncpg on the process's asyncio loop.

``address`` reads the URL, ``errors`` maps what goes wrong, once. ``connections`` is the asyncio side: opening, taking, proving and giving back connections, and
one transaction's session. ``database`` and ``listening`` are Trio's side: turns, transactions, wake-ups. SQL text belongs to the callers.

``privileges`` makes the logins of ``contracts.logins`` and what they may do; ``scram`` keeps their passwords out of what the server is told.
"""

from edge.postgres.address import Address
from edge.postgres.database import PostgresDatabase

__all__ = ["Address", "PostgresDatabase"]
