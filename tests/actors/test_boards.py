"""The Lua scripts against the pure rules: whatever order verdicts come in, the board in Redis equals the fold of the log."""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.boards import (
    AT_ONCE,
    BOARD_CHANNEL,
    STAGED_MS,
    BoardChanged,
    Boards,
    BoardView,
    Contest,
    UnknownParticipantError,
    UnreadableBoard,
)
from chaos.engines import Redis as RedisEngine
from contracts.errors import EdgeLost
from contracts.ports import Redis, RedisReply, RedisValue
from contracts.scoring import BoardRules, Entry, Rules
from contracts.verdicts import Verdict
from edge.aio import AsyncioLoop
from edge.memory_redis import MemoryRedis
from edge.redis import ServerRedis
from tests.conftest import Clock
from tests.contracts.test_scoring import HOUR, boards, entries

NAMES = {"ada": "Ada", "bob": "Bob", "cyd": "Cyd"}
VARIANTS = ["memory", "server"]


@asynccontextmanager
async def opened(engine: RedisEngine | None, clock: Clock) -> AsyncIterator[Redis]:
    """The in-process Redis, or an empty real one."""
    if engine is None:
        yield MemoryRedis(clock)
        return
    async with AsyncioLoop() as aio, ServerRedis(engine.url, aio) as redis:
        await redis.call("FLUSHALL")
        yield redis


@pytest.fixture(params=VARIANTS)
async def redis(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Redis]:
    engine = None if request.param == "memory" else request.getfixturevalue("redis_engine")
    async with opened(engine, clock) as variant:
        yield variant


def shuffled(log: Sequence[Entry], random: random.Random) -> list[Entry]:
    twice = [*log, *log[::2]]
    random.shuffle(twice)
    return twice


@pytest.mark.parametrize(("variant", "examples"), [("memory", 150), ("server", 40)])
def test_any_order_and_any_number_of_deliveries_make_the_board_that_the_fold_says(
    request: pytest.FixtureRequest, variant: str, examples: int
) -> None:
    engine: RedisEngine | None = None if variant == "memory" else request.getfixturevalue("redis_engine")

    @settings(max_examples=examples)
    @given(boards(), entries(), st.randoms(use_true_random=False), st.integers(0, 8))
    def play(rules: BoardRules, log: list[Entry], rnd: random.Random, loaded: int) -> None:
        trio.run(check_order, engine, rules, log, rnd, loaded)

    play()


async def check_order(
    engine: RedisEngine | None, rules: BoardRules, log: list[Entry], rnd: random.Random, loaded: int
) -> None:
    clock = Clock()
    async with opened(engine, clock) as redis:
        store = Boards(redis, clock)
        contest = Contest("c1", rules, 1)
        for view in BoardView:
            assert await store.load(
                contest, view, {"ada": "Ada"}, [e for e in log[:loaded] if e.user_id == "ada"], state="", epoch="e"
            )
        pending = shuffled(log, rnd)
        known = {"ada"}
        for each in pending:
            if each.user_id not in known:
                with pytest.raises(UnknownParticipantError):
                    await store.apply("c1", each.user_id, [each])
                known.add(each.user_id)
                assert await store.apply("c1", each.user_id, [each], username=NAMES[each.user_id])
            else:
                assert await store.apply("c1", each.user_id, [each])
        names = {user: NAMES[user] for user in sorted(known)}
        for view in BoardView:
            assert await store.differences(contest, view, names, log) == []
            page = await store.page("c1", view, limit=10)
            assert page is not None
            assert page.total == len(names)


async def test_a_load_that_raced_with_a_change_is_refused(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch="e1")
    seen = await store.state("c1", BoardView.PUBLIC, "w1")
    await store.apply("c1", "ada", [Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0)])
    assert not await store.load(contest, BoardView.PUBLIC, NAMES, [], state=seen, epoch="e2")
    page = await store.page("c1", BoardView.PUBLIC)
    assert page is not None
    assert page.rows[0].user_id == "ada"
    assert page.rows[0].cells["A"].solved
    assert not [key for key in await redis.call("KEYS", "board:*") if b":e" in key]  # nothing of it is left


async def _until_the_end(events: AsyncIterable[tuple[str, bytes]]) -> AsyncIterator[tuple[str, bytes]]:
    async for channel, payload in events:
        if payload == b"end":
            return
        yield channel, payload


class Meddled:
    """A Redis to which something happens before each script."""

    def __init__(self, redis: Redis) -> None:
        self.inner = redis
        self.call, self.pipeline, self.scripts, self.subscribe = (
            redis.call,
            redis.pipeline,
            redis.scripts,
            redis.subscribe,
        )

    async def meddle(self) -> None:
        raise NotImplementedError

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        await self.meddle()
        return await self.inner.script(lua, keys, arguments)


class Forgetful(Meddled):
    """Loses all its data in the middle of a rebuild."""

    def __init__(self, redis: Redis, after: int) -> None:
        super().__init__(redis)
        self.after = after

    async def meddle(self) -> None:
        self.after -= 1
        if self.after == 0:
            await self.inner.call("FLUSHALL")


@pytest.mark.parametrize("after", [1, 2, 3, 4])
async def test_half_of_what_was_staged_never_becomes_a_board(redis: Redis, clock: Clock, after: int) -> None:
    store = Boards(Forgetful(redis, after), clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {f"u{number:03}": f"user {number}" for number in range(2 * AT_ONCE + 50)}
    log = [Entry(f"s{user}", 1, user, "A", 5, Verdict.AC, 0) for user in names]
    is_loaded = await store.load(contest, BoardView.JURY, names, log, state="", epoch="e1")
    assert is_loaded == (after == 1)
    assert (await store.page("c1", BoardView.JURY) is not None) == is_loaded
    state = await store.state("c1", BoardView.JURY, "w1")
    assert await store.load(contest, BoardView.JURY, names, log, state=state, epoch="e2")
    assert await store.differences(contest, BoardView.JURY, names, log) == []


@pytest.mark.parametrize("is_there", [False, True])
async def test_what_was_folded_before_a_loss_never_becomes_a_board(
    redis: Redis, clock: Clock, *, is_there: bool
) -> None:
    store, contest = Boards(redis, clock), Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {"ada": "Ada"}
    if is_there:
        assert await store.load(contest, BoardView.JURY, names, [], state="", epoch="e1")
    before = await store.state("c1", BoardView.JURY, "w1")
    # Meanwhile all is lost, somebody else builds the board as it is by now, and that is lost as well, or is not.
    await redis.call("FLUSHALL")
    log = [Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0)]
    state = await store.state("c1", BoardView.JURY, "w2")
    assert await store.load(contest, BoardView.JURY, names, log, state=state, epoch="e2")
    if not is_there:
        await redis.call("FLUSHALL")
    assert not await store.load(contest, BoardView.JURY, names, [], state=before, epoch="e3")
    state = await store.state("c1", BoardView.JURY, "w3")
    assert await store.load(contest, BoardView.JURY, names, log, state=state, epoch="e4")
    assert await store.differences(contest, BoardView.JURY, names, log) == []


async def copied(redis: Redis) -> list[list[RedisValue]]:
    """Return the commands that make what is stored now: hashes, sorted sets, strings."""
    commands: list[list[RedisValue]] = []
    for key in await redis.call("KEYS", "*"):
        match await redis.call("TYPE", key):
            case b"hash":
                commands.append(["HSET", key, *await redis.call("HGETALL", key)])
            case b"zset":
                members = await redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
                commands.append(
                    ["ZADD", key, *(word for pair in zip(members[1::2], members[::2], strict=True) for word in pair)]
                )
            case _:
                commands.append(["SET", key, await redis.call("GET", key)])
    return commands


@pytest.mark.parametrize("writer", ["apply", "remove"])
async def test_what_was_folded_before_redis_lost_its_last_second_never_becomes_a_board(
    redis: Redis, clock: Clock, writer: str
) -> None:
    store, contest = Boards(redis, clock), Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    log = [Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0), Entry("s2", 1, "bob", "A", 6, Verdict.AC, 0)]
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch="e1")
    one_second_ago = await copied(redis)

    async def write(line: Entry) -> None:
        clock.at_ms += 1
        if writer == "apply":
            await store.apply("c1", line.user_id, [line])
        else:
            await store.remove("c1", line.user_id, ["A"])

    await write(log[0])
    before = await store.state("c1", BoardView.JURY, "w1")
    await redis.call("FLUSHALL")
    await redis.pipeline(one_second_ago)
    await write(log[1])
    assert not await store.load(contest, BoardView.JURY, NAMES, log[:1], state=before, epoch="e2")


@pytest.mark.parametrize("is_there", [False, True])
async def test_somebody_who_withdrew_during_a_fold_is_not_on_the_board(
    redis: Redis, clock: Clock, *, is_there: bool
) -> None:
    store, contest = Boards(redis, clock), Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    if is_there:
        for view in BoardView:
            assert await store.load(contest, view, {"ada": "Ada"}, [], state="", epoch="e1")
    before = {view: await store.state("c1", view, "w1") for view in BoardView}
    # Who folds has read the names, bob's among them. Meanwhile he withdraws, and another process finds nothing to take away.
    await store.remove("c1", "bob", ["A"])
    for view in BoardView:
        assert not await store.load(contest, view, NAMES, [], state=before[view], epoch="e2")
        state = await store.state("c1", view, "w2")
        assert await store.load(contest, view, {"ada": "Ada"}, [], state=state, epoch="e3")


async def test_somebody_who_came_back_during_a_fold_is_on_the_board(redis: Redis, clock: Clock) -> None:
    store, contest = Boards(redis, clock), Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch="e1")
    before = await store.state("c1", BoardView.JURY, "w1")
    # Who folds has read the names after bob withdrew. He registers again before anybody has heard of that, and then there is nothing to change.
    async with redis.subscribe(BOARD_CHANNEL) as events:
        assert await store.apply("c1", "bob", [], username="Bob")
        await redis.call("PUBLISH", BOARD_CHANNEL, "end")
        assert [event async for event in _until_the_end(events)] == []
    assert not await store.load(contest, BoardView.JURY, {"ada": "Ada", "cyd": "Cyd"}, [], state=before, epoch="e2")


async def test_a_verdict_that_finds_no_board_is_on_the_one_that_is_folded_for_it(redis: Redis, clock: Clock) -> None:
    """Two fold at once; the verdict is in the log of the second only, who found no board to apply it to."""
    store, contest = Boards(redis, clock), Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    log = [Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0)]
    first = await store.state("c1", BoardView.JURY, "w1")
    assert not await store.apply("c1", "ada", log)
    second = await store.state("c1", BoardView.JURY, "w2")
    assert await store.load(contest, BoardView.JURY, NAMES, log, state=second, epoch="e2")
    assert not await store.load(contest, BoardView.JURY, NAMES, [], state=first, epoch="e1")
    assert await store.differences(contest, BoardView.JURY, NAMES, log) == []


class Slow(Meddled):
    """Everything grows older by most of what it has to live."""

    async def meddle(self) -> None:
        for key in await self.inner.call("KEYS", "*"):
            left_ms = await self.inner.call("PTTL", key)
            if left_ms > 0:
                await self.inner.call("PEXPIRE", key, left_ms - STAGED_MS * 2 // 3)


async def test_a_board_that_is_not_there_may_take_longer_to_build_than_its_word_lives(
    redis: Redis, clock: Clock
) -> None:
    store = Boards(Slow(redis), clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {f"u{number:03}": f"user {number}" for number in range(3 * AT_ONCE)}
    word = await store.state("c1", BoardView.JURY, "w1")
    for number in range(2, 5):  # whoever else begins meanwhile has the whole time too
        assert await store.state("c1", BoardView.JURY, f"w{number}") == word
    assert await store.load(contest, BoardView.JURY, names, [], state=word, epoch="e1")
    assert await store.differences(contest, BoardView.JURY, names, []) == []
    assert len(await redis.call("KEYS", "*")) == 3  # nobody has a cell, and the word is gone


async def test_what_is_left_of_a_rebuild_that_was_given_up_goes_by_itself(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {f"u{number:03}": f"user {number}" for number in range(3 * AT_ONCE)}
    log = [Entry(f"s{user}", 1, user, "A", 5, Verdict.AC, 0) for user in names]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(store.load, contest, BoardView.JURY, names, log, state="", epoch="e1"))
        while not await redis.call("DBSIZE"):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    left = await redis.call("KEYS", "*")
    assert len(left) == 3
    for key in left:
        assert 0 < await redis.call("PTTL", key) <= STAGED_MS
    assert await store.load(contest, BoardView.JURY, names, log, state="", epoch="e2")
    assert [await redis.call("TTL", key) for key in await redis.call("KEYS", "*") if key not in left] == [-1] * 4


async def test_others_have_their_turn_while_a_large_board_is_rebuilt(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {f"u{number:04}": f"user {number}" for number in range(20 * AT_ONCE)}
    log = [Entry(f"s{user}", 1, user, "A", 5, Verdict.AC, 0) for user in names]
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await redis.call("PING")
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        assert await store.load(contest, BoardView.JURY, names, log, state="", epoch="e1")
        nursery.cancel_scope.cancel()
    assert turns >= 10


async def test_versions_rise_through_changes_and_rebuilds(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    versions = []
    log: list[Entry] = []
    for number in range(3):
        for view in BoardView:
            state = await store.state("c1", view, f"w{number}")
            assert await store.load(contest, view, NAMES, log, state=state, epoch=f"e{number}")
        log.append(Entry(f"s{number}", 1, "bob", "AB"[number % 2], number, Verdict.AC, 0))
        await store.apply("c1", "bob", log[-1:])
        page = await store.page("c1", BoardView.PUBLIC)
        assert page is not None
        versions.append(page.version)
    assert versions == sorted(set(versions))


async def test_a_change_is_published_with_its_row_once_for_each_view(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR, freeze_ms=10), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch="e1")
    solved = Entry("s1", 1, "cyd", "A", 20, Verdict.AC, 0)
    async with redis.subscribe(BOARD_CHANNEL) as events:
        await store.apply("c1", "cyd", [solved])
        await store.apply("c1", "cyd", [solved])  # again: nothing changes, nothing is said
        await redis.call("PUBLISH", BOARD_CHANNEL, "end")
        heard = []
        async for _, payload in events:
            if payload == b"end":
                break
            heard.append(payload)
    assert len(heard) == 2
    public, jury = (msgspec.json.decode(payload, type=BoardChanged) for payload in heard)
    assert (public.view, jury.view) == (BoardView.PUBLIC, BoardView.JURY)
    assert public.row is not None
    assert public.row.cells["A"].pending == 1
    assert jury.row is not None
    assert jury.row.rank == 1


async def test_somebody_who_withdrew_is_off_the_board(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch="e1")
    await store.remove("c1", "bob", ["A"])
    page = await store.page("c1", BoardView.PUBLIC)
    assert page is not None
    assert [row.user_id for row in page.rows] == ["ada", "cyd"]


async def test_neighbours_are_the_rows_around_somebody(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {f"u{n:02}": f"user {n}" for n in range(20)}
    log = [Entry(f"s{n:02}", 1, f"u{n:02}", "A", n * 60_000, Verdict.AC, 0) for n in range(20)]
    assert await store.load(contest, BoardView.PUBLIC, names, log, state="", epoch="e1")
    page = await store.neighbours("c1", BoardView.PUBLIC, "u10", around=2)
    assert page is not None
    assert [(row.rank, row.user_id) for row in page.rows] == [
        (9, "u08"),
        (10, "u09"),
        (11, "u10"),
        (12, "u11"),
        (13, "u12"),
    ]
    nobody = await store.neighbours("c1", BoardView.PUBLIC, "nobody")
    assert nobody is not None
    assert nobody.rows == []
    assert await store.page("other", BoardView.PUBLIC) is None


class Deaf(MemoryRedis):
    """A Redis that is lost right after each script: the caller never learns what it did."""

    is_lost = False

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        reply = await super().script(lua, keys, arguments)
        if self.is_lost:
            raise EdgeLost("the answer was lost")
        return reply

    async def call(self, *words: RedisValue) -> RedisReply:
        if self.is_lost:
            raise EdgeLost("away")
        return await super().call(*words)


async def test_news_of_a_change_is_not_lost_with_its_answer(clock: Clock) -> None:
    redis = Deaf(clock)
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch="e1")
    solved = Entry("s1", 1, "cyd", "A", 20, Verdict.AC, 0)
    async with redis.subscribe(BOARD_CHANNEL) as events:
        redis.is_lost = True
        with pytest.raises(EdgeLost):
            await store.apply("c1", "cyd", [solved])
        with pytest.raises(EdgeLost):
            await store.remove("c1", "ada", ["A"])
        redis.is_lost = False
        assert await store.apply("c1", "cyd", [solved])  # again, as the outbox does: it changes nothing
        await store.remove("c1", "ada", ["A"])
        await redis.call("PUBLISH", BOARD_CHANNEL, "end")
        heard = []
        async for _, payload in events:
            if payload == b"end":
                break
            heard.append(msgspec.json.decode(payload, type=BoardChanged))
    assert [(each.view, each.epoch, each.total, each.row and each.row.username) for each in heard] == [
        ("public", "e1", 3, "Cyd"),
        ("jury", "e1", 3, "Cyd"),
        ("public", "e1", 2, None),
        ("jury", "e1", 2, None),
    ]
    page = await store.page("c1", BoardView.JURY)
    assert page is not None
    assert page.rows[0] == heard[1].row
    assert page.version == heard[3].version


async def test_whoever_watches_a_view_hears_of_its_rebuilding_after_it_and_of_no_others(
    redis: Redis, clock: Clock
) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    async with redis.subscribe(BOARD_CHANNEL) as events:
        for view in BoardView:
            assert await store.load(contest, view, NAMES, [], state="", epoch=f"e-{view}")
        await redis.call("PUBLISH", BOARD_CHANNEL, "end")
        heard = []
        async for _, payload in events:
            if payload == b"end":
                break
            heard.append(msgspec.json.decode(payload, type=BoardChanged))
    assert [(each.view, each.epoch, each.total, each.row) for each in heard] == [
        ("public", "e-public", 3, None),
        ("jury", "e-jury", 3, None),
    ]


async def test_half_a_board_is_no_board(redis: Redis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 7)
    assert await store.load(contest, BoardView.PUBLIC, NAMES, [], state="", epoch="e")
    assert await store.contest_version("c1") is None  # the projector died before the jury's view
    older = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 6)
    assert await store.load(older, BoardView.JURY, NAMES, [], state="", epoch="e")
    assert await store.contest_version("c1") == 6


KINDS = {
    "string": ["SET", "x"],
    "list": ["RPUSH", "x"],
    "hash": ["HSET", "x", "x"],
    "set": ["SADD", "x"],
    "sorted set": ["ZADD", "1", "x"],
}


@pytest.mark.parametrize("part", ["meta", "rank", "rows", "cells", "beginning"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_view_with_a_key_of_any_kind_can_be_read_or_is_unreadable_and_can_be_dropped(
    redis: Redis, clock: Clock, part: str, kind: str
) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch=f"e-{view}")
    key = f"board:{{c1}}:public:{part}"
    await redis.call("DEL", key)
    command, *words = KINDS[kind]
    await redis.call(command, key, *words)
    entry = Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0)
    for use in (
        partial(store.page, "c1", BoardView.PUBLIC),
        partial(store.neighbours, "c1", BoardView.PUBLIC, "ada"),
        partial(store.contest_version, "c1"),
        partial(store.apply, "c1", "ada", [entry]),
        partial(store.remove, "c1", "bob", ["A"]),
        partial(store.state, "c1", BoardView.PUBLIC, "w"),
        partial(store.differences, contest, BoardView.PUBLIC, NAMES, []),
        partial(store.load, contest, BoardView.PUBLIC, NAMES, [], state="x", epoch="e2"),
    ):
        with suppress(UnreadableBoard, UnknownParticipantError):
            await use()
    await store.apply_each([("c1", entry)])
    await store.drop("c1", BoardView.PUBLIC)
    word = await store.state("c1", BoardView.PUBLIC, "w2")
    assert await store.load(contest, BoardView.PUBLIC, NAMES, [entry], state=word, epoch="e3")
    assert await store.differences(contest, BoardView.PUBLIC, NAMES, [entry]) == []


@pytest.mark.parametrize("version", ["x", "", "-1", "1.5", str(2**53), str(2**63 - 1), "9" * 30, "nan", "inf", None])
async def test_a_version_that_is_none_of_ours_is_counted_on_by_nobody(
    redis: Redis, clock: Clock, version: str | None
) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], state="", epoch=f"e-{view}")
    meta = "board:{c1}:public:meta"
    right = int(await redis.call("HGET", meta, "version"))
    await (redis.call("HDEL", meta, "version") if version is None else redis.call("HSET", meta, "version", version))
    with suppress(UnreadableBoard):
        assert await store.page("c1", BoardView.PUBLIC) is None
    entry = Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0)
    with suppress(UnreadableBoard):
        assert not await store.apply("c1", "ada", [entry])
    state = await store.state("c1", BoardView.PUBLIC, "w")
    assert await store.load(contest, BoardView.PUBLIC, NAMES, [entry], state=state, epoch="e2")
    page = await store.page("c1", BoardView.PUBLIC)
    assert page is not None
    assert right <= page.version < right + 86_400_000
