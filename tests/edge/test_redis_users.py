"""The users of ``contracts.users`` on real engines: a judge's may do what a judge does and nothing else, and what is refused is told once and waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import languages, progress
from actors.gateway.health import BREAKERS_KEY
from actors.gateway.identity import REVOCATIONS_KEY, revoked_key
from actors.judge.lease import held, lease_key
from actors.presence import JUDGES_KEY, KEY
from chaos.engines import Redis
from contracts.errors import NotPermitted, Unavailable
from contracts.life import State
from contracts.lua import lua
from contracts.messages import Offer, Progress
from contracts.users import CODEWARZ, JUDGE
from edge import refusals
from edge.aio import AsyncioLoop
from edge.redis import ServerRedis
from tests.edge.resp import BlockingClient

BOARD = "board:{c}:public"


# ---- Redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def behind(redis_engine: Redis) -> Iterator[BlockingClient]:
    """The server's administrator."""
    with BlockingClient(redis_engine) as client:
        client.call("FLUSHALL")
        client.call("ACL", "LOG", "RESET")
        yield client


@pytest.fixture
async def judge(redis_engine: Redis, behind: BlockingClient, aio: AsyncioLoop) -> AsyncIterator[ServerRedis]:
    with trio.fail_after(30):
        async with ServerRedis(redis_engine.url_of(JUDGE), aio) as opened:
            yield opened


def step(seq: int) -> Progress:
    return Progress(submission_id="s", attempt=1, seq=seq, state=State.COMPILING, test=None, tests_total=1)


async def test_a_judge_may_do_at_redis_what_a_judge_does(judge: ServerRedis, behind: BlockingClient) -> None:
    async with held(judge, "s", 1, "node/1/w"):
        assert behind.call("GET", lease_key("s", 1)) == b"node/1/w"
        assert await judge.script(lua("lease_renew"), [lease_key("s", 1)], ["node/1/w", 7000]) == 1
    assert behind.call("EXISTS", lease_key("s", 1)) == 0
    await progress.begin(judge, step(1))
    await progress.report(judge, step(2))
    assert behind.call("LLEN", progress.channel("s")) == 2
    await languages.announce(judge, "here", [Offer(id="c", name="C", version="1")])
    await judge.call("HSET", JUDGES_KEY, "here", "{}")
    await judge.call("HDEL", JUDGES_KEY, "here")
    assert await judge.call("HGETALL", BREAKERS_KEY) == []
    assert await judge.call("PING") == b"PONG"
    assert behind.call("ACL", "LOG") == []


ELSEWHERE = (
    f"{BOARD}:meta",
    f"{BOARD}:rank",
    revoked_key("s"),
    REVOCATIONS_KEY,
    KEY,
    "anything",
)
REFUSED_TO_JUDGES = (
    *(
        (command, key, *more)
        for key in ELSEWHERE
        for command, *more in (("GET",), ("SET", "x"), ("DEL",), ("HSET", "a", "b"))
    ),
    *(("HGETALL", key) for key in ELSEWHERE),
    ("HSET", BREAKERS_KEY, "a", "b"),
    ("DEL", BREAKERS_KEY),
    ("GET", progress.channel("s")),
    ("LRANGE", progress.channel("s"), 0, -1),
    ("HGETALL", JUDGES_KEY),
    ("SMEMBERS", "judge:languages:"),
    ("ZADD", f"{BOARD}:rank", 1, "me"),
    ("PUBLISH", "leaderboard:invalidate", "x"),
    ("EVAL", "return redis.call('GET', KEYS[1])", 1, REVOCATIONS_KEY),
    ("RENAME", lease_key("s", 1), "board"),
    ("COPY", lease_key("s", 1), "board"),
    ("RANDOMKEY",),
    ("SCAN", 0),
    ("DBSIZE",),
    ("INFO",),
    ("TIME",),
)
REFUSED_TO_ALL = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("SWAPDB", 0, 1),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", 1),
    ("SCRIPT", "FLUSH"),
    ("SCRIPT", "KILL"),
    ("FUNCTION", "FLUSH"),
    ("DEBUG", "SLEEP", 0),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "judge", "+@all"),
    ("SHUTDOWN",),
    ("SAVE",),
    ("BGREWRITEAOF",),
    ("REPLICAOF", "elsewhere", 6379),
    ("MODULE", "LIST"),
    ("SLOWLOG", "GET"),
    ("SORT", "x"),
    ("MIGRATE", "elsewhere", 6379, "x", 0, 1),
)


@pytest.mark.parametrize("words", [*REFUSED_TO_JUDGES, *REFUSED_TO_ALL], ids=lambda words: " ".join(map(str, words)))
async def test_a_judge_may_do_nothing_else_at_redis(judge: ServerRedis, words: tuple[str, ...]) -> None:
    with pytest.raises(NotPermitted):
        await judge.call(*words)


async def test_a_judge_hears_nobody(judge: ServerRedis) -> None:
    for channel in ("leaderboard:invalidate", "progress:*", "progress:s"):
        with pytest.raises(NotPermitted, match=f"SUBSCRIBE {channel[:8]}"):
            async with judge.subscribe(channel):
                pass


@pytest.mark.parametrize("words", REFUSED_TO_ALL, ids=lambda words: " ".join(map(str, words)))
async def test_nor_does_anybody_else_what_concerns_the_server_or_all_data(
    redis_engine: Redis, behind: BlockingClient, aio: AsyncioLoop, words: tuple[str, ...]
) -> None:
    async with ServerRedis(redis_engine.url_of(CODEWARZ), aio) as redis:
        with pytest.raises(NotPermitted):
            await redis.call(*words)


async def test_nobody_is_the_default_user(redis_engine: Redis, aio: AsyncioLoop) -> None:
    url = redis_engine.url_of(CODEWARZ)
    for without in (url.replace("codewarz:", ":"), url.replace(f"codewarz:{redis_engine.passwords[CODEWARZ]}@", "")):
        async with ServerRedis(without, aio) as redis:
            with pytest.raises(Unavailable, match=r"WRONGPASS|NOAUTH"):
                await redis.call("PING")


async def test_users_and_passwords_are_there_again_after_a_flush_and_a_restart(
    redis_engine: Redis, behind: BlockingClient, judge: ServerRedis
) -> None:
    behind.call("FLUSHALL")
    assert await judge.call("PING") == b"PONG"
    await trio.to_thread.run_sync(redis_engine.kill)
    await trio.to_thread.run_sync(redis_engine.start)
    while True:
        try:
            with pytest.raises(NotPermitted):
                await judge.call("GET", "anything")
        except Unavailable:
            await trio.sleep(0.05)
        else:
            break


async def test_what_scripts_wrote_is_read_again_from_the_file_though_nobody_is_the_default_user(
    engines_folder: Path, aio: AsyncioLoop
) -> None:
    """Redis reads it as that user, and holds it to its permissions where several writes are one transaction."""
    engine = Redis(engines_folder / "redis-with-a-file")
    engine.is_persistent = True
    await trio.to_thread.run_sync(engine.start)
    try:
        async with ServerRedis(engine.url_of(CODEWARZ), aio) as redis:
            twice = "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 2)"
            await redis.script(twice, ["board:a", "board:b"], [])
        await trio.to_thread.run_sync(engine.end)
        await trio.to_thread.run_sync(engine.start)
        async with ServerRedis(engine.url, aio) as redis:
            assert await redis.call("MGET", "board:a", "board:b") == [b"1", b"2"]
            assert await redis.call("ACL", "LOG") == []
    finally:
        await trio.to_thread.run_sync(engine.end)


async def test_what_redis_does_not_permit_is_told_once_with_the_command_and_the_key(
    judge: ServerRedis, told: list[Any]
) -> None:
    for key in ("board:a", "board:b"):
        for _ in range(3):
            with pytest.raises(NotPermitted, match=rf"NOPERM .*\(GET {key}\)"):
                await judge.call("GET", key)
            with pytest.raises(NotPermitted, match=rf"\(SET {key}\)"):
                await judge.pipeline([["PING"], ["SET", key, "hidden"]])
            with pytest.raises(NotPermitted, match=rf"\(EVALSHA {key}\)"):
                await judge.script("return redis.call('GET', KEYS[1])", [key], ["hidden"])
            [reply] = await judge.scripts("return redis.call('GET', KEYS[1])", [([key], ["hidden"])])
            assert isinstance(reply, NotPermitted)
    assert [(each["log_level"], each["user"], each["asked"]) for each in told] == [
        ("error", JUDGE, "GET board:…"),
        ("error", JUDGE, "SET board:…"),
        ("error", JUDGE, "EVALSHA board:…"),
    ]
    assert "contracts/users" in told[0]["remedy"]
    assert "hidden" not in str(told)


async def test_what_is_still_not_permitted_after_a_while_is_told_again(
    judge: ServerRedis, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for again_s, times in ((refusals.AGAIN_S, 1), (0.0, 3)):
        monkeypatch.setattr(refusals, "AGAIN_S", again_s)
        told.clear()
        for _ in range(3):
            with pytest.raises(NotPermitted):
                await judge.call("GET", "board:a")
        assert len(told) == times


async def test_what_a_script_may_not_do_is_no_bug_and_waited_for(judge: ServerRedis) -> None:
    with pytest.raises(NotPermitted):
        await judge.script("return redis.call('INCR', KEYS[1])", ["lease:s:1"], [])


async def test_a_lease_that_may_not_be_taken_is_waited_for(
    judge: ServerRedis, behind: BlockingClient, redis_engine: Redis
) -> None:
    behind.call("ACL", "SETUSER", JUDGE, "-set")
    try:
        with pytest.raises(Unavailable):
            async with held(judge, "s", 1, "node/1/w"):
                pass
    finally:
        behind.call("ACL", "SETUSER", JUDGE, "+set")
    async with held(judge, "s", 1, "node/1/w"):
        pass
