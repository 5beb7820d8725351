"""The Lua scripts against the pure rules: whatever order verdicts come in, the board in Redis equals the fold of the log."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.boards import BOARD_CHANNEL, BoardChanged, Boards, BoardView, Contest, UnknownParticipantError
from contracts.errors import EdgeLost
from contracts.ports import RedisReply, RedisValue
from contracts.scoring import BoardRules, Entry, Rules
from contracts.verdicts import Verdict
from edge.memory_redis import MemoryRedis
from tests.conftest import Clock
from tests.contracts.test_scoring import HOUR, boards, entries

NAMES = {"ada": "Ada", "bob": "Bob", "cyd": "Cyd"}


def shuffled(log: Sequence[Entry], random: random.Random) -> list[Entry]:
    twice = [*log, *log[::2]]
    random.shuffle(twice)
    return twice


@settings(max_examples=150, deadline=None)
@given(boards(), entries(), st.randoms(use_true_random=False), st.integers(0, 8))
def test_any_order_and_any_number_of_deliveries_make_the_board_that_the_fold_says(
    rules: BoardRules, log: list[Entry], rnd: random.Random, loaded: int
) -> None:
    async def check() -> None:
        clock = Clock()
        store = Boards(MemoryRedis(clock), clock)
        contest = Contest("c1", rules, 1)
        for view in BoardView:
            assert await store.load(
                contest, view, {"ada": "Ada"}, [e for e in log[:loaded] if e.user_id == "ada"], writes="", epoch="e"
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

    trio.run(check)


async def test_a_load_that_raced_with_a_change_is_refused(redis: MemoryRedis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], writes="", epoch="e1")
    seen = await store.writes("c1", BoardView.PUBLIC)
    await store.apply("c1", "ada", [Entry("s1", 1, "ada", "A", 5, Verdict.AC, 0)])
    assert not await store.load(contest, BoardView.PUBLIC, NAMES, [], writes=seen, epoch="e2")
    page = await store.page("c1", BoardView.PUBLIC)
    assert page is not None
    assert page.rows[0].user_id == "ada"
    assert page.rows[0].cells["A"].solved


async def test_versions_rise_through_changes_and_rebuilds(redis: MemoryRedis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    versions = []
    log: list[Entry] = []
    for number in range(3):
        for view in BoardView:
            writes = await store.writes("c1", view)
            assert await store.load(contest, view, NAMES, log, writes=writes, epoch=f"e{number}")
        log.append(Entry(f"s{number}", 1, "bob", "AB"[number % 2], number, Verdict.AC, 0))
        await store.apply("c1", "bob", log[-1:])
        page = await store.page("c1", BoardView.PUBLIC)
        assert page is not None
        versions.append(page.version)
    assert versions == sorted(set(versions))


async def test_a_change_is_published_with_its_row_once_for_each_view(redis: MemoryRedis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR, freeze_ms=10), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], writes="", epoch="e1")
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


async def test_somebody_who_withdrew_is_off_the_board(redis: MemoryRedis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    for view in BoardView:
        assert await store.load(contest, view, NAMES, [], writes="", epoch="e1")
    await store.remove("c1", "bob", ["A"])
    page = await store.page("c1", BoardView.PUBLIC)
    assert page is not None
    assert [row.user_id for row in page.rows] == ["ada", "cyd"]


async def test_neighbours_are_the_rows_around_somebody(redis: MemoryRedis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    names = {f"u{n:02}": f"user {n}" for n in range(20)}
    log = [Entry(f"s{n:02}", 1, f"u{n:02}", "A", n * 60_000, Verdict.AC, 0) for n in range(20)]
    assert await store.load(contest, BoardView.PUBLIC, names, log, writes="", epoch="e1")
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
        assert await store.load(contest, view, NAMES, [], writes="", epoch="e1")
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
    redis: MemoryRedis, clock: Clock
) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 1)
    async with redis.subscribe(BOARD_CHANNEL) as events:
        for view in BoardView:
            assert await store.load(contest, view, NAMES, [], writes="", epoch=f"e-{view}")
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


async def test_half_a_board_is_no_board(redis: MemoryRedis, clock: Clock) -> None:
    store = Boards(redis, clock)
    contest = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 7)
    assert await store.load(contest, BoardView.PUBLIC, NAMES, [], writes="", epoch="e")
    assert await store.contest_version("c1") is None  # the projector died before the jury's view
    older = Contest("c1", BoardRules(Rules.ICPC, 0, HOUR), 6)
    assert await store.load(older, BoardView.JURY, NAMES, [], writes="", epoch="e")
    assert await store.contest_version("c1") == 6
