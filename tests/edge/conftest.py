"""The variants that the conformance suites run against. A networked variant joins by one more name in a fixture's ``params``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from chaos.engines import Redis as RedisEngine
from chaos.engines.child import free_port
from contracts.ports import Broker, Database, Redis, Rpc
from edge import refusals
from edge.aio import AsyncioLoop
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.rabbitmq import RabbitMqBroker
from edge.redis import ServerRedis
from edge.rpc import LocalRpc
from edge.rpc.grpc import GrpcRpc
from edge.sqlite import open_database
from tests.edge.conformance_broker import delete_queues
from tests.postgres import opened_postgres

WALL_MS = 1_700_000_000_123


class FixedWall:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = WALL_MS

    def now_ms(self) -> int:
        return self.ms


class RealClock(trio.abc.Clock):
    """Real time, for variants that live in another process: a test's clock must be a fixture's value."""

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        return time.perf_counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - time.perf_counter()


@pytest.fixture
async def aio() -> AsyncIterator[AsyncioLoop]:
    """A loop for a test of one networked edge, which ends within a minute."""
    with trio.fail_after(60):
        async with AsyncioLoop() as opened:
            yield opened


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What is logged; nothing counts as told before."""
    refusals.forget()
    with structlog.testing.capture_logs() as logged:
        yield logged
    refusals.forget()


@pytest.fixture
def wall() -> FixedWall:
    return FixedWall()


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "postgres":
        async with opened_postgres(request.getfixturevalue("postgres_engine").url) as empty:
            yield empty
        return
    url = "sqlite://:memory:" if request.param == "sqlite-memory" else f"sqlite:///{tmp_path}/test.db"
    async with open_database(url, synchronous="NORMAL") as opened:
        yield opened


@pytest.fixture(params=["memory", "rabbitmq"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    if request.param == "memory":
        yield MemoryBroker()
        return
    url = request.getfixturevalue("rabbitmq_engine").url
    async with AsyncioLoop() as aio, RabbitMqBroker(url, aio) as opened:
        try:
            yield opened
        finally:
            with trio.CancelScope(shield=True):
                await aio.call(delete_queues, opened)


@pytest.fixture(params=["local", "grpc"])
async def rpc(request: pytest.FixtureRequest) -> AsyncIterator[Rpc]:
    if request.param == "local":
        yield LocalRpc()
        return
    port = free_port()
    services = "&".join(f"{name}=127.0.0.1:{port}" for name in ("core", "leaderboard", "judge"))
    async with AsyncioLoop() as aio, GrpcRpc(f"grpc://127.0.0.1:{port}?{services}", aio) as opened:
        yield opened


@pytest.fixture(params=["memory", "server"])
def redis_variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def redis_clock(redis_variant: str) -> trio.abc.Clock:
    """The clock of a test that waits for a time to live: it asks for this fixture, and Trio runs on its value."""
    return MockClock(autojump_threshold=0) if redis_variant == "memory" else RealClock()


@pytest.fixture
async def redis(redis_variant: str, request: pytest.FixtureRequest, wall: FixedWall) -> AsyncIterator[Redis]:
    if redis_variant == "memory":
        yield MemoryRedis(wall)
        return
    engine: RedisEngine = request.getfixturevalue("redis_engine")
    async with AsyncioLoop() as aio, ServerRedis(engine.url, aio) as connected:
        await connected.call("FLUSHALL")
        await connected.call("SCRIPT", "FLUSH")
        yield connected
