"""The variants that the conformance suites run against. A networked variant joins by one more name in a fixture's ``params``."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from contracts.ports import Broker, Database, Redis, Rpc
from edge.aio import AsyncioLoop
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.rabbitmq import RabbitMqBroker
from edge.rpc import LocalRpc
from edge.sqlite import open_database

pytest.register_assert_rewrite(
    "tests.edge.conformance_broker",
    "tests.edge.conformance_database",
    "tests.edge.conformance_redis",
    "tests.edge.conformance_rpc",
)
from tests.edge.conformance_broker import delete_queues  # noqa: E402
from tests.edge.resp import RespRedis  # noqa: E402 - after the registration

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
def wall() -> FixedWall:
    return FixedWall()


@pytest.fixture(params=["sqlite-memory", "sqlite-file"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
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


@pytest.fixture(params=["local"])
def rpc(request: pytest.FixtureRequest) -> Rpc:
    return LocalRpc()


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A private Redis server on a socket of its own, without a port and without files."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on this machine: install it to compare with the real one")
    path = tmp_path_factory.mktemp("redis") / "s"
    server = subprocess.Popen(
        [
            binary,
            "--port",
            "0",
            "--unixsocket",
            str(path),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(path.parent),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    break
            assert server.poll() is None, "redis-server ended at its start"
            assert time.monotonic() < deadline, "redis-server did not listen within 10 s"
            time.sleep(0.01)  # outside Trio, once per session
        yield path
    finally:
        server.terminate()
        server.wait()


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
    async with RespRedis(request.getfixturevalue("redis_socket")) as connected:
        await connected.call("FLUSHALL")
        yield connected
