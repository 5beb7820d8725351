from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from trio.testing import MockClock

from actors.judge.lease import RENEW_S, TTL_S, Lease, LeaseHeld, LeaseLost, acquire, are_held, held, lease_key
from contracts.errors import EdgeLost
from contracts.lua import lua
from contracts.ports import RedisReply, RedisValue
from edge.memory_redis import MemoryRedis
from tests.conftest import Clock


async def test_a_second_owner_is_refused_until_the_first_gives_back(redis: MemoryRedis) -> None:
    lease = await acquire(redis, "s1", 1, "a")
    with pytest.raises(LeaseHeld):
        await acquire(redis, "s1", 1, "b")
    await acquire(redis, "s1", 2, "b")  # another attempt is another lease
    await lease.release()
    await acquire(redis, "s1", 1, "b")


async def test_a_dead_owner_keeps_it_no_longer_than_its_time_to_live(
    redis: MemoryRedis, autojump_clock: MockClock
) -> None:
    await acquire(redis, "s1", 1, "dead")
    await trio.sleep(TTL_S + 0.01)
    await acquire(redis, "s1", 1, "b")


async def test_what_an_earlier_start_of_the_same_node_held_is_free(redis: MemoryRedis) -> None:
    lease = await acquire(redis, "s1", 1, "judge-1/01M2/worker")
    for other in ("judge-2/01M3/worker", "judge-1/01M2/other", "judge-1/01M1/worker", "judge-1", "judge-1/"):
        with pytest.raises(LeaseHeld):
            await acquire(redis, "s1", 1, other)
    await acquire(redis, "s1", 1, "judge-1/01M3/worker")
    assert not await lease.renew()  # should it live after all, its work is no longer wanted
    with pytest.raises(LeaseHeld):
        await acquire(redis, "s1", 1, "judge-1/01M3/other")


class Mute(MemoryRedis):
    """A Redis that takes a lease and cannot say so."""

    async def script(self, lua_text: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        reply = await super().script(lua_text, keys, arguments)
        if lua_text == lua("lease_acquire") and arguments[0] == "unlucky":
            raise EdgeLost("the answer was lost")
        if lua_text == lua("lease_acquire") and arguments[0] == "patient":
            await trio.sleep_forever()
        return reply


async def test_a_lease_of_which_nobody_knows_is_given_back(clock: Clock, autojump_clock: MockClock) -> None:
    redis = Mute(clock)
    with pytest.raises(EdgeLost):
        await acquire(redis, "s1", 1, "unlucky")
    with trio.move_on_after(1):
        await acquire(redis, "s1", 1, "patient")
    await acquire(redis, "s1", 1, "b")


async def test_it_is_renewed_as_long_as_the_work_takes(redis: MemoryRedis, autojump_clock: MockClock) -> None:
    async with held(redis, "s1", 1, "a"):
        for _ in range(10):
            await trio.sleep(TTL_S / 2)
            with pytest.raises(LeaseHeld):
                await acquire(redis, "s1", 1, "b")
    await acquire(redis, "s1", 1, "b")


async def test_work_stops_when_the_lease_is_lost(redis: MemoryRedis, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(LeaseLost):
        async with held(redis, "s1", 1, "a"):
            await redis.call("SET", lease_key("s1", 1), "thief", "PX", round(1000 * TTL_S))
            await trio.sleep_forever()
    assert trio.current_time() - began <= RENEW_S + 0.01
    with pytest.raises(LeaseHeld):  # what is the thief's stays the thief's
        await acquire(redis, "s1", 1, "a")


async def test_a_cancelled_judge_gives_it_back_at_once(redis: MemoryRedis) -> None:
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            async with held(redis, "s1", 1, "a"):
                nursery.cancel_scope.cancel()
                await trio.sleep_forever()

        nursery.start_soon(work)
    await acquire(redis, "s1", 1, "b")


async def test_an_error_of_the_work_leaves_through_it(redis: MemoryRedis) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with held(redis, "s1", 1, "a"):
            raise KeyError("mine")
    await acquire(redis, "s1", 1, "b")


OWNERS = st.sampled_from(["a", "b", "c"])


class Leases(RuleBasedStateMachine):
    """Any sequence of acquiring, renewing, releasing and waiting: never two owners, and never an owner beyond its time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = MockClock()
        self.redis = MemoryRedis(Clock())
        self.owner: str | None = None
        self.until = 0.0
        self.now = 0.0

    def _run(self, owner: str, verb: str) -> bool:
        async def do() -> bool:
            lease = None
            if verb == "acquire":
                try:
                    lease = await acquire(self.redis, "s1", 1, owner)
                except LeaseHeld:
                    return False
                return lease.owner == owner
            lease = Lease(self.redis, lease_key("s1", 1), owner)
            if verb == "renew":
                return await lease.renew()
            await lease.release()
            return True

        clock = MockClock()
        clock.jump(self.now)
        return trio.run(do, clock=clock)

    @property
    def holder(self) -> str | None:
        return self.owner if self.now <= self.until else None  # Redis expires a key after its time, not at it

    @rule(owner=OWNERS)
    def acquires(self, owner: str) -> None:
        expected = self.holder in (None, owner)
        assert self._run(owner, "acquire") == expected
        if expected:
            self.owner, self.until = owner, self.now + TTL_S

    @rule(owner=OWNERS)
    def renews(self, owner: str) -> None:
        expected = self.holder == owner
        assert self._run(owner, "renew") == expected
        if expected:
            self.until = self.now + TTL_S

    @rule(owner=OWNERS)
    def releases(self, owner: str) -> None:
        self._run(owner, "release")
        if self.holder == owner:
            self.owner = None

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def redis_agrees(self) -> None:
        async def look() -> bytes | None:
            found: bytes | None = await self.redis.call("GET", lease_key("s1", 1))
            return found

        clock = MockClock()
        clock.jump(self.now)
        found = trio.run(look, clock=clock)
        assert (found.decode() if found else None) == self.holder


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=40)


SPOILED = {
    "hash": ["HSET", "a", "b"],
    "list": ["RPUSH", "x"],
    "set": ["SADD", "x"],
    "for ever": ["SET", "thief"],
    "for an hour": ["SET", "thief", "PX", "3600000"],
}


@pytest.mark.parametrize("kind", SPOILED)
async def test_what_is_no_lease_is_nobodys(redis: MemoryRedis, kind: str) -> None:
    command, *words = SPOILED[kind]
    await redis.call(command, lease_key("s1", 1), *words)
    assert await are_held(redis, [("s1", 1), ("s2", 1)]) == [False, False]
    assert not await Lease(redis, lease_key("s1", 1), "a judge").renew()
    await Lease(redis, lease_key("s1", 1), "a judge").release()
    lease = await acquire(redis, "s1", 1, "a judge")
    assert await are_held(redis, [("s1", 1)]) == [True]
    assert await lease.renew()
    with pytest.raises(LeaseHeld):
        await acquire(redis, "s1", 1, "another")
