"""A furnished house for the tests of pages."""

from __future__ import annotations

import pytest

from edge.memory_redis import MemoryRedis
from edge.sqlite import SqliteDatabase
from tests.actors.gateway_pages.house import House, furnish, make_house
from tests.conftest import Clock


@pytest.fixture
async def house(database: SqliteDatabase, redis: MemoryRedis, clock: Clock) -> House:
    made = make_house(database, redis, clock)
    await furnish(made)
    return made
