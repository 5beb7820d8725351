"""What every test may ask for."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.core.actor import Core, CoreService
from contracts.messages import Request
from contracts.ports import Meter
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.migrations import load_migrations, migrate
from edge.rpc import LocalRpc
from edge.sqlite import SqliteDatabase
from supervisor import Actor, Mailbox, Overflow, Supervisor, Tree

MIGRATIONS = load_migrations(Path(__file__).parent.parent / "contracts" / "sql", "sqlite")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give a skipped asynchronous test the reason back that pytest-trio drops where it unpacks the nursery's group."""
    report = yield
    inner = call.excinfo.value.__context__ if report.skipped and call.excinfo is not None else None
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    if isinstance(inner, pytest.skip.Exception) and isinstance(report.longrepr, tuple):
        path, line, _ = report.longrepr
        report.longrepr = (path, line, f"Skipped: {inner.msg}")
    return report


class Clock:
    """A wall clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


class NoMeter:
    """Measures nothing."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None: ...
    def observe(self, name: str, value: float, **labels: str) -> None: ...
    def gauge(self, name: str, value: float, **labels: str) -> None: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(20261123)


@pytest.fixture
def meter() -> Meter:
    return NoMeter()


@pytest.fixture
def redis(clock: Clock) -> MemoryRedis:
    return MemoryRedis(clock)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def database(clock: Clock) -> AsyncIterator[SqliteDatabase]:
    async with SqliteDatabase(":memory:") as opened:
        await migrate(opened, MIGRATIONS, clock)
        yield opened


@pytest.fixture
def rpc() -> LocalRpc:
    return LocalRpc()


@pytest.fixture
async def core(
    database: SqliteDatabase, clock: Clock, rng: random.Random, rpc: LocalRpc, nursery: trio.Nursery
) -> AsyncIterator[LocalRpc]:
    """The rpc with the real core behind it, on a tree of its own."""
    mailbox: Mailbox[Request[Any]] = Mailbox("core", 1024, Overflow.REFUSE)
    actor = Actor("core", Core(database, clock, rng).run, mailbox)
    tree = Tree(Supervisor("house", (actor,)), rng=rng, wall_clock=lambda: clock.at_ms / 1000)
    await nursery.start(tree.run)
    async with rpc.serve("core", CoreService(database, mailbox.address)):
        yield rpc
    await tree.shutdown()
