"""From submit to standings on the real tree, with a judge whose verdicts and crashes are scripted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pytest
import trio

from actors import progress
from actors.boards import Boards, BoardView
from actors.outbox import QUEUES
from actors.projector import Log
from actors.settings import Settings
from actors.sweeper import STALE_MS
from actors.system import Edge, Neighbours, build
from contracts.errors import Conflict, EdgeLost
from contracts.life import State
from contracts.lua import lua
from contracts.messages import (
    ChangeContest,
    ContestSettings,
    GetWork,
    Kind,
    Offer,
    PersistVerdict,
    ProblemBlob,
    Progress,
    Rejudge,
    Verification,
    Work,
)
from contracts.ports import Database, Judgement, Meter, RedisReply, RedisValue, Row, Witness
from contracts.scoring import Rules
from contracts.verdicts import TestResult, Verdict
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.rpc import LocalRpc
from supervisor import Actor, Context, Tree
from tests.actors import scenes
from tests.actors.scenes import CONTEST, submission
from tests.conftest import Clock

WORKERS = 3
DAY_MS = 24 * scenes.HOUR_MS


@dataclass
class Script:
    """A judging whose sources say what happens: a verdict's letters, "crash" (the worker dies of it; or "crash when told"), "hang" (until ``go``)."""

    judged: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    peak: int = 0
    go: trio.Event = field(default_factory=trio.Event)
    crashes_left: dict[str, int] = field(default_factory=dict)
    is_uncountable: bool = False

    def offers(self) -> Sequence[Offer]:
        return [Offer("python", "Python 3", "3.11")]

    def sandboxes(self) -> Mapping[str, int]:
        if self.is_uncountable:
            raise ZeroDivisionError
        return {"busy": self.at_once, "peak": self.peak}

    async def judge(self, work: Work, blob: ProblemBlob, witness: Witness) -> Judgement:
        self.judged[work.submission_id] += 1
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        try:
            if work.source != "skips compiling":
                await witness(State.COMPILING, None, 1)
            await witness(State.RUNNING, None, 1)
            if work.source == "hang":
                await self.go.wait()
                verdict = Verdict.AC
            elif work.source == "crash":
                if self.crashes_left.setdefault(work.submission_id, 99) > 0:
                    self.crashes_left[work.submission_id] -= 1
                    raise ZeroDivisionError(work.submission_id)
                verdict = Verdict.AC
            elif work.source == "crash when told":
                await self.go.wait()
                raise ZeroDivisionError(work.submission_id)
            else:
                verdict = Verdict(work.source)
            await trio.lowlevel.checkpoint()
            result = TestResult(1, verdict, 1, 1, 1)
            await witness(State.RUNNING, result, 1)
            return Judgement(verdict=verdict, tests=(result,), score=100_00 if verdict is Verdict.AC else 0)
        finally:
            self.at_once -= 1

    async def verify(self, package: bytes) -> Verification:
        raise NotImplementedError


class MovingClock(Clock):
    """A wall clock that goes with Trio's: some of the house waits for an hour that is written down, such as that of an outbox row."""

    def now_ms(self) -> int:
        return self.at_ms + round(trio.current_time() * 1000)


@pytest.fixture
def clock() -> Clock:
    return MovingClock()


async def idle(ctx: Context[None]) -> None:
    ctx.ready()
    await ctx.draining.wait()


class NoPasswords:
    async def hash(self, password: str) -> str:
        return password

    async def verify(self, encoded: str | None, password: str) -> bool:
        return encoded == password

    def is_outdated(self, encoded: str) -> bool:
        return False


class Fragile(MemoryRedis):
    """A Redis that can be away, and with which one contestant's changes crash whoever applies them."""

    is_away = False
    poison = ""

    async def script(self, lua_text: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        if self.is_away:
            raise EdgeLost("redis is away")
        if self.poison and lua_text == lua("board_apply") and arguments[0] == self.poison:
            raise ZeroDivisionError(self.poison)
        return await super().script(lua_text, keys, arguments)

    async def pipeline(self, commands: Sequence[Sequence[RedisValue]]) -> list[RedisReply]:
        if self.is_away:
            raise EdgeLost("redis is away")
        return await super().pipeline(commands)


@dataclass
class House:
    """The running tree and what a test looks at."""

    tree: Tree
    with_: Neighbours
    script: Script
    clock: Clock
    database: Database
    redis: Fragile

    def restarts(self) -> dict[str, int]:
        return {row.path: row.restarts for row in self.tree.status().rows if row.restarts}

    async def dead(self, queue: str) -> int:
        return (await self.with_.broker.depth(queue)).ready

    async def submit(self, number: int, source: str, user: str = "ada") -> None:
        await self.with_.rpc.call("core", submission(number, user, source=source), timeout=30)

    async def until(self, condition: Callable[[list[Row]], bool]) -> list[Row]:
        """Wait until the submissions are as they should be; the test's own time limit is the bound."""
        while True:
            rows = await self.database.fetch("SELECT * FROM submissions ORDER BY id")
            if condition(rows):
                return rows
            await trio.sleep(0.2)

    async def all_judged(self) -> dict[str, str]:
        rows = await self.until(lambda found: all(row["verdict"] for row in found))
        return {row["id"]: row["verdict"] for row in rows}

    async def board_differs(self) -> list[str]:
        boards, log = Boards(self.with_.redis, self.clock), Log(self.database)
        contest = await log.contest(CONTEST)
        assert contest is not None
        names, entries = await log.names(CONTEST), await log.entries(CONTEST)
        return [each for view in BoardView for each in await boards.differences(contest, view, names, entries)]

    async def board_settled(self) -> None:
        while await self.board_differs():
            await trio.sleep(0.2)

    async def all_told(self) -> None:
        """Wait until the outbox has sent everything: a verdict is on its board some time before."""
        while await self.database.fetch("SELECT id FROM outbox_messages WHERE sent_at_ms IS NULL"):
            await trio.sleep(0.2)


@asynccontextmanager
async def house(database: Database, clock: Clock, rng: random.Random, meter: Meter) -> AsyncIterator[House]:
    script, redis = Script(), Fragile(clock)
    with_ = Neighbours(database, redis, MemoryBroker(), LocalRpc(), script, NoPasswords(), meter, clock, rng)
    settings = Settings(_env_file=None, workers=WORKERS, demo=False, admin_password="x" * 12)
    spec = build(
        settings,
        with_,
        edges=(Edge("database", idle),),
        sandboxes=idle,
        web=(Actor("http", idle),),
        tell=print,
    )
    tree = Tree(spec, rng=rng, wall_clock=lambda: clock.now_ms() / 1000)
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        await scenes.running_contest(with_.rpc, clock, length_ms=DAY_MS)
        yield House(tree, with_, script, clock, database, redis)
        report = await tree.shutdown()
        assert report.clean, report.text()


async def test_every_submission_reaches_its_verdict_and_the_board(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        verdicts = ["AC", "WA", "TLE", "MLE", "OLE", "RTE", "CE", "JE"] * 5
        for number, verdict in enumerate(verdicts, 1):
            await here.submit(number, verdict, "ada" if number % 2 else "bob")
        found = await here.all_judged()
        assert [found[f"s{number}"] for number in range(1, 41)] == verdicts
        await here.board_settled()
        assert here.script.peak <= WORKERS
        assert set(here.script.judged.values()) == {1}


async def test_a_submission_that_kills_its_judge_twice_becomes_a_judge_error_and_others_go_on(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        here.script.crashes_left["s2"] = 1
        await here.submit(1, "crash")
        await here.submit(2, "crash")
        await here.submit(3, "AC")
        assert await here.all_judged() == {"s1": "JE", "s2": "AC", "s3": "AC"}
        assert here.script.judged == {"s1": 2, "s2": 2, "s3": 1}


async def test_restarting_any_actor_under_load_loses_nothing_and_judges_nothing_twice_with_effect(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        paths = [row.path for row in here.tree.status().rows if row.kind in ("actor", "worker", "pool")]
        assert len(paths) > 12
        number = 0
        for path in paths:
            for _ in range(3):
                number += 1
                await here.submit(number, rng.choice(["AC", "WA", "CE", "RTE"]), rng.choice(["ada", "bob"]))
            await here.tree.restart(path)
        here.clock.at_ms += STALE_MS + 1  # what a restarted broker consumer lost is found by the sweeper
        found = await here.all_judged()
        assert len(found) == number
        log = await here.database.fetch("SELECT submission_id, count(*) AS many FROM verdicts GROUP BY submission_id")
        assert {row["many"] for row in log} == {1}
        await here.board_settled()


async def test_a_judge_that_lost_its_lease_changes_nothing(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "hang")
        await here.until(lambda rows: rows[0]["fencing"] == 1)
        await here.with_.redis.call("SET", "lease:s1:1", "somebody else", "PX", 60_000)
        await here.until(lambda rows: rows[0]["fencing"] == 1 and here.script.at_once == 0)  # it noticed and stopped
        rows = await here.database.fetch("SELECT verdict FROM submissions")
        assert rows[0]["verdict"] is None
        here.script.go.set()
        assert await here.all_judged() == {"s1": "AC"}  # judged again when that lease ended


async def test_the_sweeper_publishes_what_the_broker_forgot(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.tree.stop("judge")
        await here.submit(1, "AC")
        await here.tree.stop("core/sweeper")
        while (await here.with_.broker.depth("submission.queue")).ready == 0:
            await trio.sleep(0.01)
        assert isinstance(here.with_.broker, MemoryBroker)
        await here.with_.broker.purge("submission.queue")
        await here.tree.start("judge")
        here.clock.at_ms += STALE_MS + 1
        await here.tree.start("core/sweeper")
        assert await here.all_judged() == {"s1": "AC"}


async def test_a_board_that_was_damaged_is_rebuilt(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "AC")
        await here.all_judged()
        await here.board_settled()
        await here.with_.redis.call("ZADD", f"board:{{{CONTEST}}}:public:rank", 7, "ada")
        assert await here.board_differs() == ["ada"]
        await here.board_settled()


async def test_a_board_lost_by_redis_comes_back_with_the_next_verdict(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "AC")
        await here.all_judged()
        await here.with_.redis.call("FLUSHALL")
        await here.submit(2, "AC", "bob")
        await here.all_judged()
        await here.board_settled()
        page = await Boards(here.with_.redis, clock).page(CONTEST, BoardView.PUBLIC)
        assert page is not None
        assert [row.username for row in page.rows] == ["Ada", "Bob"]


async def test_rejudging_moves_the_board(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "AC")
        await here.all_judged()
        await here.database.execute("UPDATE submissions SET source = 'WA'")
        request = Rejudge(rejudging_id="r", submission_id="s1", requested_by="root", correlation_id="c")
        await here.with_.rpc.call("core", request, timeout=10)
        await here.until(lambda rows: rows[0]["verdict"] == "WA")
        await here.board_settled()
        page = await Boards(here.with_.redis, clock).page(CONTEST, BoardView.PUBLIC)
        assert page is not None
        assert page.rows[0].score == 0


async def test_whoever_watches_sees_each_step_once_and_the_verdict_last(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        heard: list[Progress] = []
        async with here.with_.redis.subscribe("progress:*") as steps:
            await here.submit(1, "WA")
            async for _, payload in steps:
                heard.append(msgspec.json.decode(payload, type=Progress))
                if heard[-1].verdict is not None:
                    break
        assert [(step.state, step.test is not None) for step in heard] == [
            ("compiling", False),
            ("running", False),
            ("running", True),
            ("judged", False),
        ]
        assert heard[-1].verdict is Verdict.WA
        assert await progress.so_far(here.with_.redis, "s1") == []


async def test_a_poisonous_submission_ends_as_a_judge_error(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.tree.stop("judge")
        await here.submit(1, "AC")
        await here.database.execute("UPDATE submissions SET fencing = 8")
        while (await here.with_.broker.depth("submission.queue")).ready == 0:
            await trio.sleep(0.01)
        assert isinstance(here.with_.broker, MemoryBroker)
        await here.with_.broker.purge("submission.queue")
        here.clock.at_ms += STALE_MS + 1
        assert await here.all_judged() == {"s1": "JE"}


async def test_stopped_workers_send_nothing_to_the_dead_letters(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.tree.stop("judge/workers")
        for number in range(1, 8):
            await here.submit(number, "AC")
        await trio.sleep(600)
        assert await here.dead("submission.dlq") == 0
        await here.tree.start("judge/workers")
        assert set((await here.all_judged()).values()) == {"AC"}
        assert set(here.script.judged.values()) == {1}


async def test_a_redis_that_is_away_for_a_moment_sends_nothing_to_the_dead_letters(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        here.redis.is_away = True
        for number in range(1, 8):
            await here.submit(number, "AC")
        await trio.sleep(20)
        assert await here.dead("submission.dlq") == 0
        here.redis.is_away = False
        assert set((await here.all_judged()).values()) == {"AC"}
        await here.board_settled()
        assert here.restarts() == {}


async def test_the_verdict_of_last_resort_waits_for_core(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "crash when told")
        await here.until(lambda _: here.script.at_once == 1)
        here.script.go.set()
        here.script.go = trio.Event()
        await here.until(lambda _: here.script.judged["s1"] == 2)
        await here.tree.stop("core/core")
        here.script.go.set()
        await trio.sleep(20)
        assert "codewarz/judge/intake" not in here.restarts()
        await here.tree.start("core/core")
        assert await here.all_judged() == {"s1": "JE"}
        assert here.script.judged["s1"] == 2


async def test_the_verdict_of_last_resort_does_not_overrule_a_living_judge(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "crash when told")
        await here.until(lambda _: here.script.at_once == 1)
        here.script.go.set()
        here.script.go = trio.Event()
        await here.until(lambda _: here.script.judged["s1"] == 2)
        work = await here.with_.rpc.call(
            "core", GetWork(submission_id="s1", attempt=1), timeout=10
        )  # a judge elsewhere
        assert work is not None
        await here.with_.redis.call("SET", "lease:s1:1", "elsewhere", "PX", 14_000)
        here.script.go.set()
        await trio.sleep(10)
        verdict = PersistVerdict(submission_id="s1", attempt=1, fencing=work.fencing, verdict=Verdict.AC, judge="e")
        assert await here.with_.rpc.call("core", verdict, timeout=10) is not None
        assert await here.all_judged() == {"s1": "AC"}


async def test_an_event_that_crashes_the_projector_is_set_aside_and_the_board_repaired(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "AC", "bob")
        await here.all_judged()
        await here.board_settled()
        here.redis.poison = "ada"
        await here.submit(2, "AC", "ada")
        await here.submit(3, "WA", "bob")
        await here.all_judged()
        await trio.sleep(120)
        assert set(here.restarts()) == {"codewarz/leaderboard/projector"}
        assert await here.dead("verdict.dlq") > 0
        assert await here.board_differs() == []


async def test_telemetry_that_crashes_again_and_again_takes_nobody_along(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        here.script.is_uncountable = True
        await trio.sleep(600)
        assert set(here.restarts()) == {"codewarz/edges/telemetry/gauges"}
        await here.submit(1, "AC")
        assert await here.all_judged() == {"s1": "AC"}
        here.script.is_uncountable = False
        await here.tree.restart("edges/telemetry")
        states = {row.path: row.state for row in here.tree.status().rows}
        assert states["codewarz/edges/telemetry/gauges"] == "running"


async def test_fifty_submissions_that_kill_their_judges_take_nobody_along(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        for number in range(1, 51):
            await here.submit(number, "crash" if number % 2 else "AC")
        found = await here.all_judged()
        assert [found[f"s{number}"] for number in range(1, 51)] == ["JE", "AC"] * 25
        assert all(path.startswith("codewarz/judge/workers/") for path in here.restarts())


async def test_a_lost_message_is_found_although_the_queue_is_never_empty(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.tree.stop("judge")
        await here.submit(1, "AC")
        await here.tree.stop("core/sweeper")
        await trio.sleep(1)
        assert isinstance(here.with_.broker, MemoryBroker)
        assert await here.with_.broker.purge("submission.queue") == 1
        clock.at_ms += STALE_MS + 1
        for number in range(2, 8):
            await here.submit(number, "hang")
        await here.tree.start("judge")
        await here.until(lambda _: here.script.at_once == WORKERS)
        clock.at_ms += STALE_MS + 1
        await here.tree.start("core/sweeper")
        await trio.sleep(60)
        assert await here.dead("submission.queue") > 0
        rows = await here.database.fetch("SELECT body FROM outbox_messages WHERE topic = 'submission' ORDER BY id")
        assert [row["body"].count(b'"s1"') for row in rows] == [
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            1,
        ]  # and those that wait were left alone
        here.script.go.set()
        assert set((await here.all_judged()).values()) == {"AC"}
        assert set(here.script.judged.values()) == {1}


async def test_a_run_in_a_contest_is_on_no_board(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "WA", "bob")
        request = submission(2, "ada", source="AC", kind=Kind.RUN, stdin="1 2")
        await here.with_.rpc.call("core", request, timeout=10)
        assert await here.all_judged() == {"s1": "WA", "s2": "AC"}
        await here.board_settled()
        page = await Boards(here.redis, clock).page(CONTEST, BoardView.JURY)
        assert page is not None
        assert [row.user_id for row in page.rows] == ["bob"]
        again = Rejudge(rejudging_id="r", contest_id=CONTEST, requested_by="root", correlation_id="c")
        assert (await here.with_.rpc.call("core", again, timeout=10)).submissions == 1  # a run is never judged again


async def test_a_judge_that_tells_an_impossible_step_ends_in_a_judge_error(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.submit(1, "skips compiling")
        assert await here.all_judged() == {"s1": "JE"}


async def test_verdicts_that_arrive_while_the_contest_changes_are_on_the_board_it_ends_with(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        await here.tree.stop("core/sweeper")  # nobody repairs
        row = await database.fetch_one("SELECT starts_at_ms, ends_at_ms FROM contests")
        assert row is not None
        async with trio.open_nursery() as nursery:
            for number in range(1, 61):
                nursery.start_soon(here.submit, number, rng.choice(["AC", "WA", "CE"]), rng.choice(["ada", "bob"]))
                if number % 6 == 0:
                    settings = ContestSettings(
                        title="Open",
                        rules=rng.choice(list(Rules)),
                        starts_at_ms=row["starts_at_ms"] - number,
                        ends_at_ms=row["ends_at_ms"] + number,
                        freezes_at_ms=rng.choice([None, clock.now_ms() + 1]),
                    )
                    change = ChangeContest(contest_id=CONTEST, settings=settings)
                    nursery.start_soon(partial(here.with_.rpc.call, "core", change, timeout=30))
                    nursery.start_soon(here.with_.redis.call, *(("FLUSHALL",) if number == 30 else ("PING",)))
                await trio.sleep(rng.uniform(0, 0.01))
                clock.at_ms += 1
        await here.all_judged()
        await here.board_settled()
        assert await Boards(here.redis, clock).contest_version(CONTEST) == 11


async def test_any_part_may_be_stopped_for_ten_minutes_and_nothing_is_lost_or_dead(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        paths = [row.path for row in here.tree.status().rows if row.kind in ("actor", "worker", "pool", "supervisor")][
            1:
        ]
        number = 0
        for path in paths:
            if path.startswith(("codewarz/edges", "codewarz/gateway")):
                continue
            for _ in range(4):
                number += 1
                await here.submit(number, rng.choice(["AC", "WA", "CE", "RTE"]), rng.choice(["ada", "bob"]))
            await here.tree.stop(path)
            await trio.sleep(600)
            await here.tree.start(path)
            rows = {row.path: row.state for row in here.tree.status().rows}
            assert set((await here.all_judged()).values()) <= set(Verdict), path
            await here.board_settled()
            assert [await here.dead(queue.name) for queue in QUEUES] == [0, 0, 0, 0], path
            assert rows["codewarz"] == "running"
        assert not [path for path in here.restarts() if here.restarts()[path] > 3], here.restarts()
        log = await here.database.fetch(
            "SELECT count(*) AS many FROM verdicts GROUP BY submission_id HAVING count(*) > 1"
        )
        assert log == []


async def test_what_was_submitted_in_the_last_millisecond_counts_however_late_it_is_judged(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        row = await database.fetch_one("SELECT ends_at_ms FROM contests")
        assert row is not None
        await here.tree.stop("judge")
        clock.at_ms += row["ends_at_ms"] - 1 - clock.now_ms()
        await here.submit(1, "AC")
        clock.at_ms += 1
        with pytest.raises(Conflict, match="over"):
            await here.submit(2, "AC")
        clock.at_ms += STALE_MS * 10
        await here.tree.start("judge")
        assert await here.all_judged() == {"s1": "AC"}
        await here.board_settled()
        page = await Boards(here.redis, clock).page(CONTEST, BoardView.PUBLIC)
        assert page is not None
        assert [row.score for row in page.rows] == [1]


async def test_rejudging_again_while_the_first_rejudging_is_under_way_ends_with_the_newest_verdict(
    database: Database, clock: Clock, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, clock, rng, meter) as here:
        for number in range(1, 11):
            await here.submit(number, "AC", "ada" if number % 2 else "bob")
        for round_ in range(6):
            await trio.sleep(rng.uniform(0, 0.005))
            if round_ == 3:
                await here.database.execute("UPDATE submissions SET source = 'WA'")
                await scenes.problem(here.with_.rpc, digest="d2")
            request = Rejudge(rejudging_id=f"r{round_}", contest_id=CONTEST, requested_by="root", correlation_id="c")
            await here.with_.rpc.call("core", request, timeout=5)
        assert set((await here.all_judged()).values()) == {"WA"}
        await here.board_settled()
        rows = await here.database.fetch(
            "SELECT s.attempt, count(*) AS verdicts FROM submissions s JOIN verdicts v ON v.submission_id = s.id GROUP BY s.id"
        )
        assert all(row["attempt"] == row["verdicts"] for row in rows)  # exactly one for each attempt
