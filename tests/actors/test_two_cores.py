"""Two cores on one PostgreSQL, as two processes have them: what each commits overlaps with the other's."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from actors.core.actor import Core, CoreService
from chaos.engines import Postgres
from contracts.errors import CodeWarzError, Conflict, Duplicate
from contracts.messages import (
    CreateUser,
    DetachProblem,
    GetWork,
    PersistVerdict,
    Rejudge,
    Request,
    Role,
    Withdraw,
)
from contracts.ports import Database, Rpc
from contracts.verdicts import Verdict
from edge.aio import AsyncioLoop
from edge.postgres import PostgresDatabase
from edge.rpc import LocalRpc
from supervisor import Actor, Mailbox, Overflow, Supervisor, Tree
from tests.actors import scenes
from tests.actors.scenes import CONTEST, PROBLEM, submission
from tests.conftest import Clock

pytestmark = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@asynccontextmanager
async def one_core(url: str, clock: Clock, seed: int) -> AsyncIterator[LocalRpc]:
    """A core with a loop, a pool and identifiers of its own."""
    rng, rpc = random.Random(seed), LocalRpc()
    async with AsyncioLoop() as aio, PostgresDatabase(url, aio, size=4) as database, trio.open_nursery() as nursery:
        mailbox: Mailbox[Request[Any]] = Mailbox("core", 1024, Overflow.REFUSE)
        actor = Actor("core", Core(database, clock, rng).run, mailbox)
        tree = Tree(Supervisor("house", (actor,)), rng=rng, wall_clock=lambda: 0.0)
        await nursery.start(tree.run)
        async with rpc.serve("core", CoreService(database, mailbox.address)):
            yield rpc
        assert tree.status().rows[-1].restarts == 0
        await tree.shutdown()


@pytest.fixture
async def cores(database: Database, postgres_engine: Postgres, clock: Clock) -> AsyncIterator[tuple[Rpc, Rpc]]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(one_core(postgres_engine.url, clock, seed)) for seed in (1, 2)]
        await scenes.running_contest(first, clock)
        yield first, second


async def all_at_once(calls: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Return what each answered, or the error that it raised."""
    answers: list[Any] = [None] * len(calls)

    async def one(place: int, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            answers[place] = await call()
        except CodeWarzError as error:
            answers[place] = error

    async with trio.open_nursery() as nursery:
        for place, call in enumerate(calls):
            nursery.start_soon(one, place, call)
    return answers


def asking(rpc: Rpc, request: Request[Any]) -> Callable[[], Awaitable[Any]]:
    return partial(rpc.call, "core", request, timeout=30)


async def many(database: Database, what: str) -> int:
    row = await database.fetch_one(f"SELECT count(*) AS many FROM {what}")
    assert row is not None
    return int(row["many"])


async def test_a_key_that_reaches_both_cores_makes_one_submission(cores: tuple[Rpc, Rpc], database: Database) -> None:
    rng = random.Random(7)
    calls, keys = [], []
    for number in range(240):
        key = f"k{rng.randrange(40)}"
        request = submission(number, ("ada", "bob")[number % 2], idempotency_key=key, body_hash="h")
        keys.append((request.user_id, key))
        calls.append(asking(cores[rng.randrange(2)], request))
    answers = await all_at_once(calls)
    made: dict[tuple[str, str], set[str]] = {}
    for key_of, answer in zip(keys, answers, strict=True):
        assert not isinstance(answer, CodeWarzError), answer
        made.setdefault(key_of, set()).add(answer.submission_id)
    assert all(len(identifiers) == 1 for identifiers in made.values())
    assert await many(database, "submissions") == len(made)
    assert await many(database, "outbox_messages WHERE topic = 'submission'") == len(made)
    assert sum(not answer.replayed for answer in answers) == len(made)
    assert await many(database, "registrations") == 2


async def judge(rpc: Rpc, submission_id: str, attempt: int, name: str) -> Any:
    """Fetch an attempt and judge it."""
    work = await rpc.call("core", GetWork(submission_id=submission_id, attempt=attempt), timeout=30)
    if work is None:
        return None
    verdict = PersistVerdict(
        submission_id=submission_id, attempt=attempt, fencing=work.fencing, verdict=Verdict.AC, judge=name
    )
    return await rpc.call("core", verdict, timeout=30)


@pytest.mark.parametrize("seed", range(3))
async def test_submitting_judging_and_judging_again_on_both_at_once(
    cores: tuple[Rpc, Rpc], database: Database, seed: int
) -> None:
    rng = random.Random(seed)
    total = 60
    ids = [f"s{number}" for number in range(total)]
    answers = await all_at_once([asking(cores[number % 2], submission(number)) for number in range(total)])
    assert not [answer for answer in answers if isinstance(answer, CodeWarzError)]
    calls: list[Callable[[], Awaitable[Any]]] = []
    for attempt in (1, 2, 3, 4):
        for each in ids:
            # Two judges have the same message.
            calls += [partial(judge, cores[rng.randrange(2)], each, attempt, name) for name in ("x", "y")]
    for number in range(3):
        rejudge = Rejudge(rejudging_id=f"r{number}", problem_id=PROBLEM, requested_by="root", correlation_id="c")
        calls += [asking(rpc, rejudge) for rpc in cores]  # asked of both, done once
    single = [
        Rejudge(rejudging_id=f"q{each}", submission_id=each, requested_by="root", correlation_id="c")
        for each in ids[::4]
    ]
    calls += [asking(cores[rng.randrange(2)], request) for request in single]
    rng.shuffle(calls)
    answers = await all_at_once(calls)
    errors = Counter(f"{type(answer).__name__}: {answer}" for answer in answers if isinstance(answer, CodeWarzError))
    assert set(errors) <= {"NotFound: no such submission, or it is still being judged"}, errors
    rows = await database.fetch("SELECT id, attempt, verdict FROM submissions")
    for row in rows:
        log = await database.fetch("SELECT attempt FROM verdicts WHERE submission_id = $1 ORDER BY attempt", row["id"])
        # Each attempt that came before was judged, once; the current one exactly when it shows a verdict.
        assert [each["attempt"] for each in log] == list(range(1, row["attempt"] + (row["verdict"] is not None)))
    events = await database.fetch("SELECT body FROM outbox_messages WHERE topic = 'verdict'")
    assert sum(b'"Judged"' in event["body"] for event in events) == await many(database, "verdicts")
    asked = await many(database, "outbox_messages WHERE topic = 'submission'")
    attempts = sum(row["attempt"] for row in rows)
    assert asked == attempts  # one message for each attempt
    done = await database.fetch("SELECT id, submissions FROM rejudgings")
    assert sum(each["submissions"] for each in done) == attempts - total


async def test_one_rejudging_that_reaches_both_cores_is_done_once_and_answered_the_same(
    cores: tuple[Rpc, Rpc], database: Database
) -> None:
    await all_at_once([asking(cores[0], submission(number)) for number in range(20)])
    await all_at_once([partial(judge, cores[0], f"s{number}", 1, "j") for number in range(20)])
    request = Rejudge(rejudging_id="r1", problem_id=PROBLEM, requested_by="root", correlation_id="c")
    answers = await all_at_once([asking(rpc, request) for rpc in cores for _ in range(5)])
    assert {answer.submissions for answer in answers} == {20}
    assert await many(database, "submissions WHERE attempt = 2") == 20


async def test_packages_imported_at_both_cores_are_versions_one_after_the_other(
    cores: tuple[Rpc, Rpc], database: Database
) -> None:
    answers = await all_at_once(
        [partial(scenes.problem, cores[number % 2], digest=f"d{number + 2}") for number in range(8)]
    )
    assert answers == [None] * 8
    rows = await database.fetch("SELECT version FROM problem_versions ORDER BY version")
    assert [row["version"] for row in rows] == list(range(1, 10))
    assert await many(database, "problems WHERE version = 9") == 1


async def test_one_account_asked_of_both_cores_is_made_once_and_a_name_is_given_to_one(
    cores: tuple[Rpc, Rpc], database: Database
) -> None:
    def account(user_id: str, name: str) -> CreateUser:
        return CreateUser(
            user_id=user_id, username=name, email=f"{name}@example.org", password_hash="x", role=Role.CONTESTANT
        )

    for number in range(10):
        same = await all_at_once([asking(rpc, account(f"u{number}", f"Cyd{number}")) for rpc in cores])
        assert same[0] == same[1]
        taken = await all_at_once(
            [asking(rpc, account(f"v{number}{place}", f"Dan{number}")) for place, rpc in enumerate(cores)]
        )
        assert sorted(type(answer).__name__ for answer in taken) == ["Duplicate", "User"]
        (error,) = [answer for answer in taken if isinstance(answer, Duplicate)]
        assert "this username is taken" in error.detail or "this e-mail address is taken" in error.detail
    assert await many(database, "users") == 3 + 20


async def test_whoever_submits_while_they_withdraw_is_on_the_board_or_gone_and_never_half(
    cores: tuple[Rpc, Rpc], database: Database
) -> None:
    for number in range(30):
        user = f"user{number}"
        created = CreateUser(
            user_id=user, username=user, email=f"{user}@example.org", password_hash="x", role=Role.CONTESTANT
        )
        await cores[0].call("core", created, timeout=5)
        await database.execute("INSERT INTO registrations VALUES ($1, $2, 1)", CONTEST, user)
        submitted, withdrawn = await all_at_once(
            [
                asking(cores[number % 2], submission(number, user)),
                asking(cores[1 - number % 2], Withdraw(contest_id=CONTEST, user_id=user)),
            ]
        )
        assert not isinstance(submitted, CodeWarzError)
        assert withdrawn is None or isinstance(withdrawn, Conflict)
        assert await many(database, f"registrations WHERE user_id = '{user}'") == 1


async def test_a_problem_that_is_submitted_to_while_it_is_detached_stays_or_refuses(
    cores: tuple[Rpc, Rpc], database: Database, clock: Clock
) -> None:
    for number in range(30):
        extra = f"extra{number}"
        await scenes.problem(cores[0], extra)
        await database.execute(
            "INSERT INTO contest_problems VALUES ($1, $2, $3, '', 100)", CONTEST, extra, f"X{number}"
        )
        submitted, detached = await all_at_once(
            [
                asking(cores[number % 2], submission(number, problem_id=extra)),
                asking(cores[1 - number % 2], DetachProblem(contest_id=CONTEST, problem_id=extra)),
            ]
        )
        stays = await many(database, f"contest_problems WHERE problem_id = '{extra}'")
        if isinstance(submitted, CodeWarzError):
            assert (stays, detached) == (0, None)
        else:
            assert stays == 1
            assert isinstance(detached, Conflict)
