"""What is the in-process Redis's own: its clock, its bounds, its end; and sorted sets against a naive model."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from contracts.errors import EdgeLost
from edge.memory_redis import MemoryRedis
from edge.memory_redis.zsets import SortedSet
from edge.redis_error import RedisError
from tests.edge.conftest import WALL_MS, FixedWall


@pytest.fixture
def redis(wall: FixedWall) -> MemoryRedis:
    return MemoryRedis(wall, keys_max=100, subscriber_buffer_max=3)


async def test_time_to_live_follows_the_trio_clock(redis: MemoryRedis, mock_clock: MockClock) -> None:
    await redis.call("SET", "a", 1, "PX", 1500)
    assert await redis.call("PTTL", "a") == 1500
    mock_clock.jump(1.5)
    assert await redis.call("GET", "a") == b"1"  # gone after its time, not at it
    mock_clock.jump(0.001)
    assert await redis.call("GET", "a") is None


async def test_the_dead_are_buried_though_nobody_asks(redis: MemoryRedis, mock_clock: MockClock) -> None:
    for number in range(90):
        await redis.call("SET", f"k{number}", 1, "EX", 1)
    for _ in range(500):
        await redis.call("EXPIRE", "k0", 1)  # renewals must not pile up
    mock_clock.jump(2)
    for _ in range(30):
        await redis.call("PING")
    assert await redis.call("DBSIZE") == 0
    assert repr(redis) == "<MemoryRedis keys=0>"


async def test_time_is_the_injected_clocks(redis: MemoryRedis, wall: FixedWall) -> None:
    assert await redis.call("TIME") == [b"1700000000", b"123000"]
    assert await redis.call("XADD", "s", "*", "a", 1) == b"%d-0" % WALL_MS
    assert await redis.call("XADD", "s", "*", "a", 2) == b"%d-1" % WALL_MS
    wall.ms -= 1000  # a clock set back must not break the order
    assert await redis.call("XADD", "s", "*", "a", 3) == b"%d-2" % WALL_MS


async def test_the_number_of_keys_is_bounded(redis: MemoryRedis) -> None:
    for number in range(100):
        await redis.call("SET", f"k{number}", 1)
    with pytest.raises(RedisError, match="OOM"):
        await redis.call("HSET", "one too many", "f", 1)
    await redis.call("SET", "k1", 2)


async def test_a_subscriber_that_falls_behind_is_told(redis: MemoryRedis) -> None:
    async with redis.subscribe("news") as slow, redis.subscribe("news") as quick:
        for number in range(4):
            await redis.call("PUBLISH", "news", number)
            assert await anext(aiter(quick)) == ("news", b"%d" % number)
        with pytest.raises(EdgeLost, match="3 messages behind"):
            await anext(aiter(slow))


async def test_a_reset_loses_all_data_and_tells_the_subscribers(redis: MemoryRedis) -> None:
    await redis.call("SET", "a", 1)
    async with redis.subscribe("news") as subscription:
        redis.reset()
        with pytest.raises(EdgeLost, match="restarted"):
            await anext(aiter(subscription))
    assert await redis.call("GET", "a") is None
    assert await redis.script("return 1", [], []) == 1


async def test_closing_wakes_the_subscribers_and_refuses_calls(redis: MemoryRedis) -> None:
    async with redis.subscribe("news*") as subscription, trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(EdgeLost):
                await anext(aiter(subscription))

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        redis.close()
    with pytest.raises(EdgeLost):
        await redis.call("PING")
    with pytest.raises(EdgeLost):
        await redis.script("return 1", [], [])


async def test_a_script_that_never_ends_is_stopped(redis: MemoryRedis) -> None:
    with pytest.raises(RedisError, match="instructions"):
        await redis.script("while true do end", [], [])
    assert await redis.script("return 1", [], []) == 1


async def test_a_pipeline_lets_others_in_between_and_a_script_does_not(redis: MemoryRedis) -> None:
    seen: list[bytes | None] = []

    async def look() -> None:
        seen.extend([await redis.call("GET", "a") for _ in range(6)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        nursery.start_soon(redis.pipeline, [("SET", "a", "half"), ("PING",), ("PING",), ("SET", "a", "whole")])
    assert b"half" in seen
    await redis.call("DEL", "a")
    seen.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        lua = "redis.call('SET', KEYS[1], 'half') redis.call('SET', KEYS[1], 'whole')"
        nursery.start_soon(redis.script, lua, ["a"], [])
    assert b"half" not in seen


async def test_numbers_and_text_are_words_and_nothing_else_is(redis: MemoryRedis) -> None:
    with pytest.raises(TypeError, match="not bool"):
        await redis.call("SET", "a", True)
    with pytest.raises(TypeError, match="not NoneType"):
        await redis.call("SET", "a", None)  # type: ignore[arg-type] # that is the point


changes = st.lists(
    st.tuples(
        st.sampled_from("aabbcdefgh"), st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([0.5, float("inf")]))
    ),
    max_size=40,
)


@given(changes=changes)
def test_a_sorted_set_agrees_with_a_naive_one(changes: list[tuple[str, float | None]]) -> None:
    ours, naive = SortedSet(), dict[bytes, float]()
    for letter, score in changes:
        member = letter.encode()
        if score is None:
            assert ours.remove(member) == (naive.pop(member, None) is not None)
        else:
            ours.set(member, score)
            naive[member] = score
        ordered = sorted((each, name) for name, each in naive.items())
        assert ours.pairs == ordered
        assert ours.scores == naive
        assert [ours.rank(name) for _, name in ordered] == list(range(len(ordered)))
