"""PostgreSQL dies, or its connections do: callers hear that it is away or that nobody knows what happened, nothing else, and not for longer than they must."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from chaos.engines import Missing, Postgres
from chaos.proxy import Proxy
from contracts.errors import EdgeLost, Unavailable
from edge.aio import AsyncioLoop
from edge.postgres import PostgresDatabase

CALLERS = 16
DEATHS = 5


@pytest.fixture
def mortal(engines_folder: Path) -> Iterator[Postgres]:
    engine = Postgres(Path(tempfile.mktemp(dir=engines_folder)))
    engine.is_durable = False
    try:
        engine.start()
    except Missing as error:
        pytest.skip(str(error))
    yield engine
    engine.end()


async def test_a_server_that_says_its_last_word_to_an_idle_connection_is_lost_and_no_bug(mortal: Postgres) -> None:
    """asyncpg refuses to speak on such a connection until it notices the end, with an error that looks like a mistake of its user."""
    served, over = 0, False
    async with AsyncioLoop() as aio, PostgresDatabase(mortal.url, aio) as database, trio.open_nursery() as nursery:

        async def call() -> None:
            nonlocal served
            while not over:
                try:
                    await database.fetch_one("SELECT 1 AS one")
                    served += 1
                except Unavailable:
                    await trio.sleep(0.01)

        for _ in range(CALLERS):
            nursery.start_soon(call)
        for _ in range(DEATHS):
            before = served
            with trio.fail_after(20):
                while served < before + 100:
                    await trio.sleep(0.01)
            await trio.to_thread.run_sync(mortal.kill)
            await trio.to_thread.run_sync(mortal.start)
        over = True


async def test_where_the_listener_hears_nothing_any_more_the_idle_connections_are_not_believed_either(
    postgres_engine: Postgres, nursery: trio.Nursery
) -> None:
    """Each of them would take a statement's whole deadline to show that it is dead, one after the other."""
    proxy = Proxy()
    port = proxy.route("core-1", "database", postgres_engine.port)
    await nursery.start(proxy.run)
    async with AsyncioLoop() as aio, PostgresDatabase(postgres_engine.url_at(port), aio) as database:
        async with trio.open_nursery() as several:
            for _ in range(4):
                several.start_soon(database.fetch_one, "SELECT pg_sleep(0.1) IS NULL AS done")
        async with database.listen("outbox") as wakeups:
            proxy.links()[0].forget()
            with trio.fail_after(30), pytest.raises(EdgeLost):
                await wakeups.wait()
            with trio.fail_after(8):
                assert await database.fetch_one("SELECT 1 AS one") == {"one": 1}
    nursery.cancel_scope.cancel()
