from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors.core import submissions
from actors.core.accepting import Overtaken
from actors.core.actor import Core, CoreService
from actors.core.desk import HEAD_START_MS
from actors.core.people import API_TOKENS_MOST
from contracts.errors import (
    CodeWarzError,
    Conflict,
    Duplicate,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from contracts.messages import (
    Accepted,
    ChangeContest,
    ContestSettings,
    CreateApiToken,
    CreateContest,
    CreateUser,
    DetachProblem,
    GetProblem,
    GetWork,
    Judged,
    Kind,
    OpenSession,
    PersistVerdict,
    Priority,
    Register,
    Rejudge,
    Request,
    RotateSession,
    Withdraw,
)
from contracts.ports import Database, Rpc, Transaction
from contracts.scoring import Rules
from contracts.verdicts import Verdict
from edge.rpc import LocalRpc
from supervisor import Actor, Mailbox, Overflow, Supervisor, Tree
from tests.actors import scenes
from tests.actors.scenes import CONTEST, HOUR_MS, PROBLEM, submission
from tests.conftest import Clock


async def outbox(database: Database, topic: str) -> list[bytes]:
    rows = await database.fetch("SELECT body FROM outbox_messages WHERE topic = $1 ORDER BY id", topic)
    return [row["body"] for row in rows]


def verdict(fencing: int, verdict: Verdict = Verdict.AC, *, attempt: int = 1, judge: str = "j") -> PersistVerdict:
    return PersistVerdict(submission_id="s1", attempt=attempt, fencing=fencing, verdict=verdict, judge=judge)


async def work(rpc: Rpc, attempt: int = 1) -> int:
    found = await rpc.call("core", GetWork(submission_id="s1", attempt=attempt), timeout=10)
    assert found is not None
    return found.fencing


async def test_an_accepted_submission_and_its_message_are_one_commit(
    core: Rpc, clock: Clock, database: Database
) -> None:
    await scenes.running_contest(core, clock)
    reply = await core.call("core", submission(1), timeout=10)
    assert reply.submission_id == "s1"
    assert len(await outbox(database, "submission")) == 1
    with pytest.raises(NotFound):
        await core.call("core", submission(2, problem_id="nowhere"), timeout=10)
    assert len(await outbox(database, "submission")) == 1


async def test_one_bad_request_in_a_batch_undoes_only_itself(core: Rpc, clock: Clock, database: Database) -> None:
    await scenes.running_contest(core, clock)
    failed: list[str] = []

    async def send(number: int) -> None:
        problem = "nowhere" if number % 5 == 0 else PROBLEM
        try:
            await core.call("core", submission(number, problem_id=problem), timeout=5)
        except CodeWarzError as error:
            failed.append(f"{number} {error.code}")

    async with trio.open_nursery() as nursery:
        for number in range(1, 41):
            nursery.start_soon(send, number)
    assert sorted(failed) == sorted(f"{number} not_found" for number in range(5, 41, 5))
    row = await database.fetch_one("SELECT count(*) AS many FROM submissions")
    assert row is not None
    assert row["many"] == 32
    assert len(await outbox(database, "submission")) == 32


async def test_one_idempotency_key_makes_one_submission_even_from_two_clients_at_once(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    replies = []

    async def send(number: int) -> None:
        request = submission(number, idempotency_key="k", body_hash="h")
        replies.append(await core.call("core", request, timeout=5))

    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(send, number)
    assert len({reply.submission_id for reply in replies}) == 1
    assert sorted(reply.replayed for reply in replies) == [False, True, True]
    with pytest.raises(Invalid, match="another body"):
        await core.call("core", submission(9, idempotency_key="k", body_hash="other"), timeout=10)


async def test_submissions_that_another_core_overtook_are_looked_at_again_one_by_one(
    core: Rpc, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scenes.running_contest(core, clock)
    first = await core.call("core", submission(1, idempotency_key="k", body_hash="h"), timeout=10)

    async def overtaken(desk: object, requests: object) -> None:
        raise Overtaken

    monkeypatch.setattr("actors.core.actor.accept", overtaken)
    replies: dict[int, Accepted] = {}

    async def send(number: int) -> None:
        key = "k" if number == 2 else None
        request = submission(number, idempotency_key=key, body_hash="h")
        replies[number] = await core.call("core", request, timeout=5)

    async with trio.open_nursery() as nursery:
        for number in (2, 3, 4):
            nursery.start_soon(send, number)
    assert replies[2] == Accepted(submission_id=first.submission_id, replayed=True)
    assert [replies[3].submission_id, replies[4].submission_id] == ["s3", "s4"]


async def test_nobody_submits_before_the_start_or_after_the_end(core: Rpc, clock: Clock) -> None:
    await scenes.people(core)
    await scenes.problem(core)
    await scenes.contest(core, clock, starts_in_ms=HOUR_MS)
    with pytest.raises(NotFound):  # its very existence is a secret
        await core.call("core", submission(1), timeout=10)
    with pytest.raises(NotFound):
        await core.call("core", submission(1, contest_id=None), timeout=10)
    clock.at_ms += 2 * HOUR_MS
    await core.call("core", submission(2), timeout=10)
    with pytest.raises(Forbidden, match="running contest"):
        await core.call("core", submission(3, contest_id=None), timeout=10)
    clock.at_ms += 2 * HOUR_MS
    with pytest.raises(Conflict, match="practise"):
        await core.call("core", submission(4), timeout=10)
    await core.call("core", submission(5, contest_id=None), timeout=10)


async def test_only_the_newest_fencing_number_writes_a_verdict(core: Rpc, clock: Clock, database: Database) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    stale = await work(core)
    newest = await work(core)
    assert newest > stale
    assert await core.call("core", verdict(stale, Verdict.WA), timeout=10) is None
    judged = await core.call("core", verdict(newest), timeout=10)
    assert isinstance(judged, Judged)
    assert judged.change is not None
    assert await core.call("core", verdict(newest), timeout=10) == judged  # the answer was lost: said again, done once
    assert await core.call("core", verdict(newest, Verdict.WA, judge="other"), timeout=10) is None
    assert await core.call("core", GetWork(submission_id="s1", attempt=1), timeout=10) is None
    row = await database.fetch_one("SELECT verdict FROM submissions WHERE id = 's1'")
    assert row is not None
    assert row["verdict"] == "AC"
    assert sum(b'"Judged"' in body for body in await outbox(database, "verdict")) == 1


async def test_a_verdict_has_a_head_start_over_its_event_and_nothing_else_waits(
    core: Rpc, clock: Clock, database: Database
) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    assert await core.call("core", verdict(await work(core)), timeout=10) is not None
    rows = await database.fetch("SELECT body, available_at_ms - created_at_ms AS waits_ms FROM outbox_messages")
    assert {(b'"type":"Judged"' in row["body"], row["waits_ms"]) for row in rows} == {(True, HEAD_START_MS), (False, 0)}


async def test_a_verdict_is_kept_whatever_a_validator_said(core: Rpc, clock: Clock, database: Database) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    said = PersistVerdict(
        submission_id="s1", attempt=1, fencing=await work(core), verdict=Verdict.JE, judge="j", judge_error="a\0b"
    )
    assert await core.call("core", said, timeout=10) is not None
    row = await database.fetch_one("SELECT judge_error FROM verdicts")
    assert row == {"judge_error": "a\ufffdb"}


async def test_a_rejudging_makes_a_new_attempt_and_the_old_judge_is_too_late(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    old = await work(core)
    await core.call("core", verdict(old), timeout=10)
    request = Rejudge(rejudging_id="r1", problem_id=PROBLEM, requested_by="root", correlation_id="c")
    assert (await core.call("core", request, timeout=10)).submissions == 1
    assert (await core.call("core", request, timeout=10)).submissions == 1  # sent twice, done once
    assert await core.call("core", verdict(old, Verdict.WA), timeout=10) is None
    new = await work(core, attempt=2)
    judged = await core.call("core", verdict(new, Verdict.WA, attempt=2), timeout=10)
    assert judged is not None
    assert judged.attempt == 2
    with pytest.raises(Invalid, match="say what"):
        await core.call("core", Rejudge(rejudging_id="r2", requested_by="root", correlation_id="c"), timeout=10)


async def test_what_a_judge_has_with_an_older_problem_is_begun_again_by_a_rejudging(
    core: Rpc, clock: Clock, database: Database
) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    await core.call("core", submission(2), timeout=10)  # no judge has this one yet
    old = await work(core)
    await scenes.problem(core, digest="d2")  # the jury mends its tests
    request = Rejudge(rejudging_id="r1", problem_id=PROBLEM, requested_by="root", correlation_id="c")
    assert (await core.call("core", request, timeout=10)).submissions == 2
    assert await core.call("core", verdict(old), timeout=10) is None  # judged with the old tests: that does not count
    for each in ("s1", "s2"):
        found = await core.call("core", GetWork(submission_id=each, attempt=1), timeout=10)
        assert found is not None
        assert found.problem_version == 2
    rows = await database.fetch("SELECT priority FROM outbox_messages WHERE topic = 'submission'")
    assert [row["priority"] for row in rows] == [Priority.CONTEST] * 3  # s1 was asked for again, as urgently as before
    with pytest.raises(NotFound, match="still being judged"):
        await core.call(
            "core",
            Rejudge(rejudging_id="r2", submission_id="s1", requested_by="root", correlation_id="c"),
            timeout=10,
        )


async def test_only_staff_make_contests_and_problems_and_judge_again(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    settings = ContestSettings(title="x", rules=Rules.IOI, starts_at_ms=1, ends_at_ms=2)
    for request in (
        CreateContest(contest_id="c2", settings=settings, created_by="ada"),
        Rejudge(rejudging_id="r1", problem_id=PROBLEM, requested_by="ada", correlation_id="c"),
    ):
        with pytest.raises(Forbidden, match="only staff"):
            await core.call("core", request, timeout=10)
    with pytest.raises(Forbidden, match="only staff"):
        await scenes.problem(core, "p2", imported_by="ada")


async def test_a_private_contest_is_a_secret_to_whoever_is_not_registered(
    core: Rpc, clock: Clock, database: Database
) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", Register(contest_id=CONTEST, user_id="bob"), timeout=10)
    await database.execute("UPDATE contests SET is_public = FALSE")
    with pytest.raises(NotFound, match="no such contest"):
        await core.call("core", Register(contest_id=CONTEST, user_id="ada"), timeout=10)
    for kind in Kind:
        with pytest.raises(NotFound, match="no such contest"):
            await core.call("core", submission(1, kind=kind), timeout=10)
    await core.call("core", Register(contest_id=CONTEST, user_id="bob"), timeout=10)
    await core.call("core", submission(2, "bob"), timeout=10)
    await core.call("core", submission(3, "root"), timeout=10)


async def test_the_problem_of_a_private_contest_is_practised_by_those_who_were_in_it(
    core: Rpc, clock: Clock, database: Database
) -> None:
    await scenes.people(core)
    await scenes.problem(core, is_public=False)
    await scenes.contest(core, clock)
    await core.call("core", Register(contest_id=CONTEST, user_id="bob"), timeout=10)
    await database.execute("UPDATE contests SET is_public = FALSE")
    clock.at_ms += 2 * HOUR_MS
    with pytest.raises(NotFound, match="no such problem"):
        await core.call("core", submission(1, contest_id=None), timeout=10)
    await core.call("core", submission(2, "bob", contest_id=None), timeout=10)


async def test_a_problem_that_was_only_run_may_leave_the_contest(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1, kind=Kind.RUN), timeout=10)
    await core.call("core", DetachProblem(contest_id=CONTEST, problem_id=PROBLEM), timeout=10)


async def test_an_api_token_asked_for_twice_is_made_once_and_expired_ones_do_not_count(core: Rpc, clock: Clock) -> None:
    await scenes.people(core)

    def token(number: int, expires_at_ms: int | None) -> CreateApiToken:
        return CreateApiToken(
            token_id=f"t{number}", user_id="ada", name="ci", token_hash=f"h{number}", expires_at_ms=expires_at_ms
        )

    for number in range(API_TOKENS_MOST):
        await core.call("core", token(number, clock.now_ms() + 10 if number else None), timeout=10)
    await core.call("core", token(3, None), timeout=10)  # the answer was lost: asked again
    with pytest.raises(Conflict, match="revoke one first"):
        await core.call("core", token(20, None), timeout=10)
    clock.at_ms += 10
    await core.call("core", token(20, None), timeout=10)


async def test_a_rejudging_is_bounded(core: Rpc, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "REJUDGE_MOST", 1)
    await scenes.running_contest(core, clock)
    for number in (1, 2):
        await core.call("core", submission(number), timeout=10)
        found = await core.call("core", GetWork(submission_id=f"s{number}", attempt=1), timeout=10)
        assert found is not None
        done = PersistVerdict(submission_id=f"s{number}", attempt=1, fencing=found.fencing, verdict=Verdict.AC)
        await core.call("core", done, timeout=10)
    request = Rejudge(rejudging_id="r1", problem_id=PROBLEM, requested_by="root", correlation_id="c")
    with pytest.raises(Invalid, match="2 submissions at once are too many"):
        await core.call("core", request, timeout=10)


async def test_a_dry_run_rejudges_nothing(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    await core.call("core", verdict(await work(core)), timeout=10)
    request = Rejudge(rejudging_id="r1", contest_id=CONTEST, dry_run=True, requested_by="root", correlation_id="c")
    reply = await core.call("core", request, timeout=10)
    assert (reply.rejudging_id, reply.submissions) == (None, 1)
    assert await core.call("core", GetWork(submission_id="s1", attempt=2), timeout=10) is None


async def test_names_and_addresses_are_taken_without_regard_to_case(core: Rpc) -> None:
    await scenes.people(core)
    with pytest.raises(Duplicate, match="username is taken"):
        await core.call(
            "core", CreateUser(user_id="x", username="ADA", email="new@example.org", password_hash="x"), timeout=1
        )
    with pytest.raises(Duplicate, match="e-mail address is taken"):
        await core.call(
            "core", CreateUser(user_id="x", username="new", email="ADA@example.org", password_hash="x"), timeout=1
        )


async def test_a_refresh_token_used_twice_at_once_is_two_tabs_and_later_is_theft(core: Rpc, clock: Clock) -> None:
    await scenes.people(core)
    expires = clock.now_ms() + HOUR_MS

    async def rotate(old: str, new: str) -> str:
        request = RotateSession(refresh_hash=old, next_hash=new, expires_at_ms=expires)
        return (await core.call("core", request, timeout=10)).session_id

    await core.call(
        "core", OpenSession(session_id="f", user_id="ada", refresh_hash="h0", expires_at_ms=expires), timeout=1
    )
    assert await rotate("h0", "h1") == "f"
    clock.at_ms += 10_000
    assert await rotate("h0", "h1b") == "f"  # the other tab
    clock.at_ms += 10_000
    with pytest.raises(Unauthenticated, match="used before"):
        await rotate("h0", "h2")
    with pytest.raises(Unauthenticated):  # the whole family is gone
        await rotate("h1", "h3")
    with pytest.raises(Unauthenticated):
        await rotate("unknown", "h4")


async def test_whoever_has_submitted_stays_on_the_board_and_so_does_the_problem(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    await core.call("core", Register(contest_id=CONTEST, user_id="bob"), timeout=10)
    await core.call("core", Withdraw(contest_id=CONTEST, user_id="bob"), timeout=10)
    await core.call("core", submission(1), timeout=10)
    with pytest.raises(Conflict, match="has to stay"):
        await core.call("core", Withdraw(contest_id=CONTEST, user_id="ada"), timeout=10)
    with pytest.raises(Conflict, match="has to stay"):
        await core.call("core", DetachProblem(contest_id=CONTEST, problem_id=PROBLEM), timeout=10)


async def test_impossible_contest_times_are_refused(core: Rpc, clock: Clock) -> None:
    await scenes.running_contest(core, clock)
    for start, end, freeze in ((10, 10, None), (10, 5, None), (10, 20, 9), (10, 20, 21)):
        settings = ContestSettings(title="x", rules=Rules.IOI, starts_at_ms=start, ends_at_ms=end, freezes_at_ms=freeze)
        with pytest.raises(Invalid):
            await core.call("core", ChangeContest(contest_id=CONTEST, settings=settings), timeout=10)


async def test_a_problem_version_never_changes(core: Rpc) -> None:
    await scenes.people(core)
    await scenes.problem(core)
    await scenes.problem(core)  # the same digest is the same version
    blob = await core.call("core", GetProblem(problem_id=PROBLEM, version=1), timeout=10)
    assert blob.package == b"zip"
    with pytest.raises(NotFound, match="no version 2"):
        await core.call("core", GetProblem(problem_id=PROBLEM, version=2), timeout=10)


async def test_core_may_be_restarted_between_any_two_steps_and_what_it_answered_is_there_once(
    database: Database, clock: Clock, rng: random.Random, rpc: LocalRpc, nursery: trio.Nursery
) -> None:
    mailbox: Mailbox[Request[Any]] = Mailbox("core", 1024, Overflow.REFUSE)
    tree = Tree(
        Supervisor("house", (Actor("core", Core(database, clock, rng).run, mailbox, grace_s=0),)),
        rng=rng,
        wall_clock=lambda: 0.0,
    )
    await nursery.start(tree.run)
    async with rpc.serve("core", CoreService(database, mailbox.address)):
        await scenes.running_contest(rpc, clock)
        answered: list[str] = []

        async def send(number: int) -> None:
            reply = await rpc.call("core", submission(number), timeout=60)
            assert not reply.replayed
            answered.append(reply.submission_id)

        for steps in range(60):
            async with trio.open_nursery() as senders:
                for number in (2 * steps, 2 * steps + 1):
                    senders.start_soon(send, number)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                await tree.restart("core")
        assert sorted(answered) == sorted(f"s{number}" for number in range(120))
        row = await database.fetch_one("SELECT count(*) AS many FROM submissions")
        assert row is not None
        assert row["many"] == 120
        assert len(await outbox(database, "submission")) == 120
        assert tree.status().rows[-1].restarts >= 60
    await tree.shutdown()


class Failing:
    """A database of which the commits fail while it is told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_failing = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._database.transaction() as tx:
            yield tx
            if self.is_failing:
                raise Unavailable("the disk is full")


async def test_while_the_database_is_in_trouble_nobody_is_told_of_success_and_core_lives_on(
    database: Database, clock: Clock, rng: random.Random, rpc: LocalRpc, nursery: trio.Nursery
) -> None:
    failing = Failing(database)
    mailbox: Mailbox[Request[Any]] = Mailbox("core", 1024, Overflow.REFUSE)
    core_actor = Actor("core", Core(failing, clock, rng).run, mailbox)
    tree = Tree(Supervisor("house", (core_actor,)), rng=rng, wall_clock=lambda: 0.0)
    await nursery.start(tree.run)
    async with rpc.serve("core", CoreService(database, mailbox.address)):
        failing.is_failing = False
        await scenes.running_contest(rpc, clock)
        failing.is_failing = True
        refused: list[int] = []

        async def send(number: int) -> None:
            try:
                await rpc.call("core", submission(number), timeout=5)
            except Unavailable:
                refused.append(number)

        async with trio.open_nursery() as senders:
            for number in range(20):
                senders.start_soon(send, number)
        assert sorted(refused) == list(range(20))
        assert await outbox(database, "submission") == []
        failing.is_failing = False
        assert not (await rpc.call("core", submission(1), timeout=10)).replayed
        assert tree.status().rows[-1].restarts == 0
    await tree.shutdown()
