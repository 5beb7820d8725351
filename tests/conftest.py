"""What every test may ask for."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trustme
from hypothesis import HealthCheck, settings

from actors.core.actor import Core, CoreService
from chaos.engines import Engine, Missing, Postgres, RabbitMq, Redis
from contracts.messages import Request
from contracts.ports import Database, Meter
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.migrations import load_migrations, migrate
from edge.rpc import LocalRpc
from edge.sqlite import SqliteDatabase
from supervisor import Actor, Mailbox, Overflow, Supervisor, Tree
from tests.postgres import opened_postgres

# Before anything imports them: what they assert is to be told as in any test.
pytest.register_assert_rewrite(
    "tests.edge.conformance_broker",
    "tests.edge.conformance_database",
    "tests.edge.conformance_redis",
    "tests.edge.conformance_rpc",
)

# How long an example takes says something about the machine, not about what is promised. Figures are in bench/.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

SQL = Path(__file__).parent.parent / "contracts" / "sql"
MIGRATIONS = load_migrations(SQL, "sqlite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="what stands behind the actors' tests (some modules run on both anyway)",
    )


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
async def database(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Database]:
    """A database with the schema: SQLite in memory, or what the test's module or ``--database`` asks for. A clock that jumps waits for no server."""
    wanted = getattr(request, "param", request.config.getoption("database"))
    if wanted == "postgres" and "autojump_clock" not in request.fixturenames:
        async with opened_postgres(request.getfixturevalue("postgres_engine").url) as networked:
            await migrate(networked, load_migrations(SQL, "postgres"), clock)
            yield networked
        return
    async with SqliteDatabase(":memory:") as opened:
        await migrate(opened, MIGRATIONS, clock)
        yield opened


@pytest.fixture
def rpc() -> LocalRpc:
    return LocalRpc()


@pytest.fixture
async def core(
    database: Database, clock: Clock, rng: random.Random, rpc: LocalRpc, nursery: trio.Nursery
) -> AsyncIterator[LocalRpc]:
    """The rpc with the real core behind it, on a tree of its own."""
    mailbox: Mailbox[Request[Any]] = Mailbox("core", 1024, Overflow.REFUSE)
    actor = Actor("core", Core(database, clock, rng).run, mailbox)
    tree = Tree(Supervisor("house", (actor,)), rng=rng, wall_clock=lambda: clock.at_ms / 1000)
    await nursery.start(tree.run)
    async with rpc.serve("core", CoreService(database, mailbox.address)):
        yield rpc
    await tree.shutdown()


# ---- real engines: one of each for the whole session, private, on free ports -----------------------------------------

E = TypeVar("E", bound=Engine)


@pytest.fixture(scope="session")
def engines_folder() -> Iterator[Path]:
    """A folder that the engines' own users may enter, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="codewarz-engines-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def certificates(engines_folder: Path) -> Path:
    """A folder with an authority of our own (``ca.pem``), and a certificate of it (``cert.pem``, ``key.pem``) for the loopback address."""
    folder = engines_folder / "certificates"
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    return folder


@contextmanager
def _running(engine: E) -> Iterator[E]:
    try:
        engine.start()
    except Missing as error:
        pytest.skip(str(error))
    try:
        yield engine
    finally:
        engine.end()


@pytest.fixture(scope="session")
def postgres_engine(engines_folder: Path) -> Iterator[Postgres]:
    engine = Postgres(engines_folder / "postgres")
    engine.is_durable = False
    with _running(engine):
        yield engine


@pytest.fixture(scope="session")
def redis_engine(engines_folder: Path) -> Iterator[Redis]:
    with _running(Redis(engines_folder / "redis")) as engine:
        yield engine


@pytest.fixture(scope="session")
def rabbitmq_engine(engines_folder: Path) -> Iterator[RabbitMq]:
    with _running(RabbitMq(engines_folder / "rabbitmq")) as engine:
        yield engine
