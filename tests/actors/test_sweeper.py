from __future__ import annotations

import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.boards import Boards, BoardView
from actors.core.desk import Desk
from actors.judge.lease import lease_key
from actors.outbox import QUEUES
from actors.projector import Log
from actors.sweeper import BATCH_MOST, KEEP_KEYS_MS, KEEP_SENT_MS, PRIORITIES, STALE_MS, Sweeper
from contracts.errors import EdgeLost
from contracts.messages import GetWork, JudgeRequested, OpenSession, Priority
from contracts.ports import Database, Meter, QueueDepth, Rpc
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from supervisor import Actor, Supervisor, Tree
from tests.actors import scenes
from tests.actors.scenes import CONTEST, HOUR_MS, submission
from tests.actors.test_pipeline import House, MovingClock, house
from tests.conftest import Clock


@pytest.fixture
def sweeper(
    database: Database,
    broker: MemoryBroker,
    redis: MemoryRedis,
    core: Rpc,
    clock: Clock,
    rng: random.Random,
    meter: Meter,
) -> Sweeper:
    return Sweeper(database, broker, redis, core, Boards(redis, clock), Log(database), clock, rng, meter)


async def many(database: Database, table: str) -> int:
    row = await database.fetch_one(f"SELECT count(*) AS many FROM {table}")
    assert row is not None
    return int(row["many"])


async def waiting(core: Rpc, database: Database, number: int) -> None:
    """Make that many submissions wait, all but the first by copying it."""
    await core.call("core", submission(1), timeout=10)
    await database.execute("DELETE FROM outbox_messages")
    await database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO submissions (id, kind, user_id, contest_id, problem_id,"
        " problem_version, language, source, priority, attempt, score, fencing, submitted_at_ms, queued_at_ms, correlation_id) SELECT 's' || n.i, kind,"
        " user_id, contest_id, problem_id, problem_version, language, source, priority, attempt, 0, 0, submitted_at_ms, queued_at_ms, 'c' FROM submissions, n",
        number,
    )


async def test_the_first_sweep_of_a_process_takes_all_that_a_forgetful_broker_lost_and_no_later_one_does(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock, rng: random.Random, nursery: trio.Nursery
) -> None:
    await sweeper.broker.declare(QUEUES)
    await scenes.running_contest(core, clock)
    await waiting(core, database, 2 * BATCH_MOST + 7)
    tree = Tree(Supervisor("house", (Actor("sweeper", sweeper.run, grace_s=0),)), rng=rng, wall_clock=lambda: 0.0)
    await nursery.start(tree.run)
    published = "outbox_messages WHERE topic = 'submission'"
    with trio.fail_after(60):
        while await many(database, published) < 2 * BATCH_MOST + 7:
            await wait_all_tasks_blocked(0.01)
    await tree.restart("sweeper")
    await wait_all_tasks_blocked()
    assert await many(database, published) == 2 * BATCH_MOST + 7
    await tree.shutdown()


async def test_what_judges_have_hides_nothing_that_is_lost(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock, redis: MemoryRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.sweeper.BATCH_MOST", 2)
    await sweeper.broker.declare(QUEUES)
    await scenes.running_contest(core, clock)
    await waiting(core, database, 7)
    for number in (1, 2, 3):
        await redis.call("SET", lease_key(f"s{number}", 1), "a judge", "PX", 9_000)
    clock.at_ms += STALE_MS
    assert await sweeper.sweep_submissions() == 4
    assert await many(database, "outbox_messages WHERE topic = 'submission'") == 4


class Filling(MemoryBroker):
    """A queue in which something waits from the second look on."""

    looks = 0

    async def depth(self, queue: str) -> QueueDepth:
        self.looks += 1
        return QueueDepth(ready=self.looks - 1, unacked=0)


async def test_what_reaches_the_queue_during_a_sweep_is_not_lost(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.sweeper.BATCH_MOST", 2)
    await scenes.running_contest(core, clock)
    await waiting(core, database, 7)
    sweeper.broker = Filling()
    clock.at_ms += STALE_MS
    assert await sweeper.sweep_submissions() == 2


async def test_in_a_long_rush_later_ones_of_the_same_priority_show_what_is_lost(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock, redis: MemoryRedis
) -> None:
    await scenes.running_contest(core, clock)
    await waiting(core, database, 4)
    await database.execute("UPDATE submissions SET priority = $1 WHERE id IN ('s1', 's2')", Priority.REJUDGE)
    sweeper.broker = Filling()
    await sweeper.broker.depth("")
    clock.at_ms += 3 * STALE_MS
    await database.execute("UPDATE submissions SET queued_at_ms = $1, fencing = 1 WHERE id = 's4'", clock.now_ms())
    await redis.call("SET", lease_key("s4", 1), "a judge", "PX", 9_000)
    assert await sweeper.sweep_submissions() == 1
    published = await database.fetch("SELECT submission_id FROM outbox_messages")
    assert [row["submission_id"] for row in published] == ["s3"]  # rejudging may wait for a contest as long as it likes


async def test_what_the_outbox_still_has_is_not_published_again_however_long_the_broker_takes_nothing(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock
) -> None:
    await sweeper.broker.declare(QUEUES)
    await scenes.running_contest(core, clock)
    await waiting(core, database, 20)
    clock.at_ms += STALE_MS
    assert await sweeper.sweep_submissions() == 20  # the broker had lost them
    for _ in range(4):
        clock.at_ms += STALE_MS
        assert await sweeper.sweep_submissions() == 0
    assert await sweeper.sweep_everything() == 0
    await database.execute("UPDATE outbox_messages SET parked_at_ms = 1 WHERE submission_id = 's1'")
    await database.execute("UPDATE outbox_messages SET sent_at_ms = 1 WHERE submission_id = 's2'")
    assert await sweeper.sweep_submissions() == 2  # those two it will not send any more


async def test_sweepers_of_two_cores_that_saw_the_same_publish_it_once(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock
) -> None:
    await sweeper.broker.declare(QUEUES)
    await scenes.running_contest(core, clock)
    await waiting(core, database, 3)
    clock.at_ms += STALE_MS
    seen = await sweeper._page(dict.fromkeys(PRIORITIES, clock.now_ms()), (0, ""))
    assert len(seen) == 3
    for _ in range(2):
        await sweeper._find_lost(seen)
    assert await many(database, "outbox_messages") == 3


async def test_the_judge_error_of_last_resort_loses_against_who_fetched_the_attempt_meanwhile(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock
) -> None:
    await sweeper.broker.declare(QUEUES)
    await scenes.running_contest(core, clock)
    await core.call("core", submission(1), timeout=10)
    await database.execute("DELETE FROM outbox_messages")  # judges had it eight times
    await database.execute("UPDATE submissions SET fencing = 8")
    seen = await database.fetch("SELECT * FROM submissions")
    await core.call("core", GetWork(submission_id="s1", attempt=1), timeout=10)
    await sweeper._find_lost(seen)  # it had looked before
    assert await many(database, "verdicts") == 0
    clock.at_ms += STALE_MS
    await sweeper.sweep_submissions()
    assert await many(database, "verdicts WHERE verdict = 'JE'") == 1


async def test_what_has_served_its_time_is_deleted_to_the_last_row(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock, rng: random.Random
) -> None:
    await scenes.people(core)
    async with database.transaction() as tx:
        asked = JudgeRequested(submission_id="s", attempt=1)
        await Desk(tx, clock.now_ms(), rng).request_judging([(asked, 0, "c")] * (2 * BATCH_MOST + 1))
    await database.execute("UPDATE outbox_messages SET sent_at_ms = $1", clock.now_ms())
    await database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) INSERT INTO idempotency_keys"
        " SELECT 'ada', 'submission', n.i, 'h', 's', $1 FROM n",
        clock.now_ms(),
    )
    request = OpenSession(session_id="f", user_id="ada", refresh_hash="h", expires_at_ms=clock.now_ms() + HOUR_MS)
    await core.call("core", request, timeout=10)
    await sweeper.clean()
    assert await many(database, "outbox_messages") == 2 * BATCH_MOST + 1
    clock.at_ms += max(KEEP_SENT_MS, KEEP_KEYS_MS) + 1
    await sweeper.clean()
    for table in ("outbox_messages", "idempotency_keys", "refresh_tokens", "sessions"):
        assert await many(database, table) == 0, table


class Away(MemoryBroker):
    async def depth(self, queue: str) -> QueueDepth:
        raise EdgeLost("the broker is away")


async def test_a_broker_that_is_away_keeps_nobody_from_the_other_sweeps(
    sweeper: Sweeper, core: Rpc, database: Database, clock: Clock, rng: random.Random, nursery: trio.Nursery
) -> None:
    await scenes.running_contest(core, clock)
    await waiting(core, database, 2)
    await database.execute("UPDATE outbox_messages SET sent_at_ms = 1")
    sweeper.broker, sweeper._has_begun = Away(), True
    clock.at_ms += STALE_MS
    tree = Tree(Supervisor("house", (Actor("sweeper", sweeper.run, grace_s=0),)), rng=rng, wall_clock=lambda: 0.0)
    await nursery.start(tree.run)
    await wait_all_tasks_blocked()
    assert await many(database, "outbox_messages") == 0
    await tree.shutdown()


async def by_hand(here: House) -> Sweeper:
    """The house's sweeper, stopped, so that it sweeps only when it is told to."""
    await here.tree.stop("core/sweeper")
    own = here.with_
    boards, log = Boards(here.redis, own.clock), Log(own.database)
    return Sweeper(own.database, own.broker, here.redis, own.rpc, boards, log, own.clock, own.rng, own.meter)


async def test_a_board_is_rebuilt_for_a_lasting_difference_and_not_because_somebody_is_always_under_way(
    database: Database, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, MovingClock(), rng, meter) as here:
        sweeper = await by_hand(here)
        await here.submit(1, "AC", "ada")
        await here.submit(2, "AC", "bob")
        await here.all_judged()
        await here.board_settled()
        await here.all_told()
        rank = f"board:{{{CONTEST}}}:{BoardView.PUBLIC}:rank"
        right = await here.redis.call("ZSCORE", rank, "ada")
        await here.redis.call("ZADD", rank, 7, "ada")
        assert await sweeper.sweep_boards() == []
        await here.redis.call("ZADD", rank, right, "ada")
        await here.redis.call("ZADD", rank, 7, "bob")
        assert await sweeper.sweep_boards() == []  # somebody else this time
        assert await sweeper.sweep_boards() == [CONTEST]
        assert await here.board_differs() == []


async def test_what_the_outbox_has_yet_to_tell_a_board_is_no_difference(
    database: Database, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, MovingClock(), rng, meter) as here:
        sweeper = await by_hand(here)
        for number, user in ((1, "ada"), (2, "bob")):
            await here.submit(number, "AC", user)
        await here.all_judged()
        await here.board_settled()
        await here.all_told()
        await here.tree.stop("core/relay")
        rank = f"board:{{{CONTEST}}}:{BoardView.PUBLIC}:rank"
        await here.redis.call("ZADD", rank, 7, "ada")
        unsent = "UPDATE outbox_messages SET sent_at_ms = $1 WHERE topic = 'verdict' AND correlation_id = 'c1'"
        assert await database.execute(unsent, None) >= 1
        assert [await sweeper.sweep_boards() for _ in range(3)] == [[], [], []]
        await here.redis.call("ZADD", rank, 7, "bob")  # of whom there is nothing to tell
        assert [await sweeper.sweep_boards() for _ in range(2)] == [[], [CONTEST]]
        await here.redis.call("ZADD", rank, 7, "ada")
        await database.execute(unsent, 1)
        assert [await sweeper.sweep_boards() for _ in range(2)] == [[], [CONTEST]]


async def test_a_board_that_somebody_spoiled_is_rebuilt_and_ends_no_sweeper(
    database: Database, rng: random.Random, meter: Meter, autojump_clock: trio.abc.Clock
) -> None:
    async with house(database, MovingClock(), rng, meter) as here:
        sweeper = await by_hand(here)
        await here.submit(1, "AC", "ada")
        await here.all_judged()
        await here.board_settled()
        await here.all_told()
        board = f"board:{{{CONTEST}}}:{BoardView.PUBLIC}"
        await here.redis.call("HSET", f"{board}:rows", "ada", b'{"user_id":"\xff"}', b"\xff", "[" * 10_000)
        await here.redis.call("ZADD", f"{board}:rank", "inf", "bob")
        assert await sweeper.sweep_boards() == []
        assert await sweeper.sweep_boards() == [CONTEST]
        assert await here.board_differs() == []
