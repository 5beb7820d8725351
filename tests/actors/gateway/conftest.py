"""A running gateway and people who use it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio
from argon2 import PasswordHasher
from quart import Response
from quart_trio import QuartTrio

from actors.boards import Boards
from actors.gateway.app import make_app
from actors.gateway.dispatch import CSRF_HEADER
from actors.gateway.identity import ACCESS_COOKIE, Keys, new_refresh_token, token_hash
from actors.gateway.services import Limits, Services
from actors.gateway.sse import Hub
from actors.problems import Sample, Summary
from actors.projector import Log, Projector
from actors.service import MailboxService
from contracts.messages import (
    AttachProblem,
    BuildBoard,
    ContestSettings,
    CreateContest,
    CreateUser,
    ImportProblem,
    OpenSession,
    Register,
    Role,
)
from contracts.ports import Meter
from contracts.scoring import Rules
from edge.memory_redis import MemoryRedis
from edge.passwords import Argon2Passwords
from edge.rpc import LocalRpc
from edge.sqlite import SqliteDatabase
from supervisor import Actor, Mailbox, Supervisor, Tree
from tests.conftest import Clock

SECRET = b"a secret of at least thirty-two bytes"
HOUR_MS = 3_600_000
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@dataclass
class Visitor:
    """A browser or a script: keeps its credentials and sends them."""

    app: QuartTrio
    user_id: str = ""
    access_token: str = ""
    csrf_token: str = ""
    refresh_token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def request(self, method: str, path: str, *, json: Any = None, **kwargs: Any) -> Response:
        headers = dict(self.headers)
        if self.access_token:
            headers["Cookie"] = f"{ACCESS_COOKIE}={self.access_token}"
        if self.csrf_token and method not in ("GET", "HEAD", "OPTIONS"):
            headers[CSRF_HEADER] = self.csrf_token
        headers.update(kwargs.pop("headers", {}))
        if json is not None:
            kwargs["data"] = msgspec.json.encode(json)
            headers.setdefault("Content-Type", "application/json")
        client = self.app.test_client(use_cookies=False)
        scope = {"client": ("127.0.0.1", 50000)} | kwargs.pop("scope_base", {})
        return await client.open(path, method=method, headers=headers, scope_base=scope, **kwargs)

    async def get(self, path: str, **kwargs: Any) -> Response:
        return await self.request("GET", path, **kwargs)

    async def post(self, path: str, json: Any = None, **kwargs: Any) -> Response:
        return await self.request("POST", path, json=json, **kwargs)


async def body_of(response: Response) -> Any:
    return msgspec.json.decode(await response.get_data())


@dataclass
class House:
    """The application, what it stands on, and how to put something into it."""

    app: QuartTrio
    services: Services
    database: SqliteDatabase
    redis: MemoryRedis
    rpc: LocalRpc
    clock: Clock
    anonymous: Visitor
    root: Visitor = field(init=False)

    async def user(self, name: str, role: Role = Role.CONTESTANT) -> Visitor:
        """Make somebody who is signed in, without the cost of a password."""
        request = CreateUser(
            user_id=name,
            username=name,
            email=f"{name}@example.org",
            password_hash=QUICK.hash(f"{name}'s secret"),
            role=role,
        )
        user = await self.rpc.call("core", request, timeout=10)
        session_id = f"session-{name}"
        token = new_refresh_token(self.services.rng, session_id)
        opened = OpenSession(
            session_id=session_id,
            user_id=name,
            refresh_hash=token_hash(token),
            expires_at_ms=self.clock.now_ms() + HOUR_MS,
        )
        await self.rpc.call("core", opened, timeout=10)
        keys = Keys(SECRET)
        return Visitor(
            self.app, name, keys.access_token(user, session_id, self.clock.now_ms()), keys.csrf_token(session_id)
        )

    async def problem(self, problem_id: str, *, is_public: bool = True, languages: tuple[str, ...] = ()) -> None:
        summary = Summary(
            title=problem_id.title(),
            statement_html="<p>Add.</p>",
            statement_source="Add.",
            samples=(Sample("1", "1 2\n", "3\n"),),
            time_limit_ms=1000,
            memory_limit_kb=262144,
            output_limit_kb=8192,
            source_limit_kb=64,
            tests_total=5,
            languages=languages,
        )
        request = ImportProblem(
            problem_id=problem_id,
            slug=problem_id,
            title=problem_id.title(),
            digest=f"digest {problem_id}",
            package=b"HIDDEN TEST DATA",
            summary=msgspec.json.encode(summary),
            is_public=is_public,
            imported_by="root",
        )
        await self.rpc.call("core", request, timeout=10)

    async def contest(
        self,
        contest_id: str,
        *problems: str,
        starts_in_ms: int = -HOUR_MS,
        length_ms: int = 2 * HOUR_MS,
        freezes_in_ms: int | None = None,
        rules: Rules = Rules.ICPC,
        is_public: bool = True,
    ) -> None:
        now_ms = self.clock.now_ms()
        settings = ContestSettings(
            title=contest_id.title(),
            rules=rules,
            starts_at_ms=now_ms + starts_in_ms,
            ends_at_ms=now_ms + starts_in_ms + length_ms,
            freezes_at_ms=None if freezes_in_ms is None else now_ms + freezes_in_ms,
            is_public=is_public,
        )
        await self.rpc.call(
            "core", CreateContest(contest_id=contest_id, settings=settings, created_by="root"), timeout=1
        )
        for label, problem_id in zip("ABCDEFGH", problems, strict=False):
            request = AttachProblem(contest_id=contest_id, problem_id=problem_id, label=label)
            await self.rpc.call("core", request, timeout=10)

    async def register(self, contest_id: str, *names: str) -> None:
        for name in names:
            await self.rpc.call("core", Register(contest_id=contest_id, user_id=name), timeout=10)


@pytest.fixture
async def house(
    core: LocalRpc,
    database: SqliteDatabase,
    redis: MemoryRedis,
    clock: Clock,
    rng: random.Random,
    meter: Meter,
    nursery: trio.Nursery,
) -> AsyncIterator[House]:
    """A gateway with its hub, the real core and the real projector; root is an administrator."""
    hub = Hub(redis, clock, rng, meter)
    services = Services(
        database=database,
        redis=redis,
        rpc=core,
        clock=clock,
        rng=rng,
        passwords=Argon2Passwords(QUICK),
        secret=SECRET,
        hub=hub,
        meter=meter,
        render_metrics=lambda: b"# nothing\n",
        is_ready=lambda: True,
        version="1.2.3",
        limits=Limits(),
    )
    mailbox: Mailbox[Any] = Mailbox("projector", 64)
    projector = Projector(Boards(redis, clock), Log(database), redis, clock, rng, meter)
    actors = (Actor("projector", projector.run, mailbox), Actor("hub", hub.run))
    tree = Tree(Supervisor("house", actors), rng=rng, wall_clock=lambda: clock.at_ms / 1000)
    await nursery.start(tree.run)
    app = make_app(services)
    async with core.serve("leaderboard", MailboxService(mailbox.address)):
        house = House(app, services, database, redis, core, clock, Visitor(app))
        house.root = await house.user("root", Role.ADMIN)
        yield house
    await tree.shutdown()


@pytest.fixture
async def root(house: House) -> Visitor:
    return house.root


@pytest.fixture
async def ada(house: House) -> Visitor:
    return await house.user("ada")


@pytest.fixture
async def bob(house: House) -> Visitor:
    return await house.user("bob")


@pytest.fixture
async def board(house: House, ada: Visitor, bob: Visitor) -> Boards:
    """The board of a contest with one problem, of which ada and bob are."""
    await house.problem("add")
    await house.contest("open", "add")
    await house.register("open", "ada", "bob")
    await house.rpc.call("leaderboard", BuildBoard(contest_id="open"), timeout=5)
    return house.services.boards
