"""What every ``Redis`` does. Collected by ``test_redis.py``, which says against which variants; a real server is one of them where there is one."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from contracts.errors import Invalid
from contracts.ports import Redis, RedisValue
from edge.redis_error import RedisError

# ---- commands --------------------------------------------------------------------------------------------------------

STORIES: dict[str, list[tuple[tuple[RedisValue, ...], Any]]] = {
    "strings": [
        (("SET", "a", b"\x00\xff"), b"OK"),
        (("get", "a"), b"\x00\xff"),
        (("GET", "nothing"), None),
        (("SET", "a", "b", "NX"), None),
        (("SET", "n", 1.5, "NX"), b"OK"),
        (("SET", "a", "c", "XX", "GET"), b"\x00\xff"),
        (("MGET", "a", "nothing", "n"), [b"c", None, b"1.5"]),
        (("GETDEL", "a"), b"c"),
        (("EXISTS", "a", "n", "n"), 2),
        (("DEL", "a", "n"), 1),
        (("TYPE", "a"), b"none"),
        (("PING",), b"PONG"),
    ],
    "counters": [
        (("INCR", "n"), 1),
        (("INCRBY", "n", 41), 42),
        (("DECR", "n"), 41),
        (("GET", "n"), b"41"),
        (("HINCRBY", "h", "f", -3), -3),
    ],
    "hashes": [
        (("HSET", "h", "a", 1, "b", 2), 2),
        (("HSET", "h", "b", 3, "c", 4), 1),
        (("HGET", "h", "b"), b"3"),
        (("HMGET", "h", "a", "x", "c"), [b"1", None, b"4"]),
        (("HGETALL", "h"), [b"a", b"1", b"b", b"3", b"c", b"4"]),
        (("HKEYS", "h"), [b"a", b"b", b"c"]),
        (("HVALS", "h"), [b"1", b"3", b"4"]),
        (("HLEN", "h"), 3),
        (("HEXISTS", "h", "a"), 1),
        (("HDEL", "h", "a", "b", "x"), 2),
        (("HDEL", "h", "c"), 1),
        (("EXISTS", "h"), 0),
        (("HGETALL", "h"), []),
    ],
    "sorted sets": [
        (("ZADD", "z", 1, "a", 2, "b", 2, "B", "+inf", "c"), 4),
        (("ZADD", "z", "XX", "CH", 3, "a", 9, "new"), 1),
        (("ZADD", "z", "GT", 1, "a"), 0),
        (("ZADD", "z", "LT", "CH", 1, "a"), 1),
        (("ZRANGE", "z", 0, -1, "WITHSCORES"), [b"a", b"1", b"B", b"2", b"b", b"2", b"c", b"inf"]),
        (("ZREVRANGE", "z", 0, 1), [b"c", b"b"]),
        (("ZRANGE", "z", "(1", "+inf", "BYSCORE", "LIMIT", 1, 1), [b"b"]),
        (("ZRANGE", "z", 2, "-inf", "BYSCORE", "REV"), [b"b", b"B", b"a"]),
        (("ZRANGE", "z", 1, 2, "REV"), [b"b", b"B"]),
        (("ZCOUNT", "z", "-inf", "(2"), 1),
        (("ZRANK", "z", "b"), 2),
        (("ZREVRANK", "z", "b"), 1),
        (("ZRANK", "z", "x"), None),
        (("ZSCORE", "z", "b"), b"2"),
        (("ZADD", "z", -9007199254740991, "low"), 1),
        (("ZSCORE", "z", "low"), b"-9007199254740991"),
        (("ZREM", "z", "a", "b", "B", "c", "x"), 4),
        (("ZCARD", "z"), 1),
    ],
    "lists and sets": [
        (("RPUSH", "l", "b", "c"), 2),
        (("LPUSH", "l", "a", "z"), 4),
        (("LRANGE", "l", 0, -1), [b"z", b"a", b"b", b"c"]),
        (("LTRIM", "l", 1, 2), b"OK"),
        (("LPOP", "l"), b"a"),
        (("RPOP", "l", 5), [b"b"]),
        (("LLEN", "l"), 0),
        (("SADD", "s", "a", "b", "a"), 2),
        (("SISMEMBER", "s", "b"), 1),
        (("SREM", "s", "b", "x"), 1),
        (("SMEMBERS", "s"), [b"a"]),
        (("SCARD", "s"), 1),
    ],
    "bitmaps": [
        (("SETBIT", "b", 7, 1), 0),
        (("SETBIT", "b", 100, 1), 0),
        (("SETBIT", "b", 7, 1), 1),
        (("GETBIT", "b", 100), 1),
        (("GETBIT", "b", 5000), 0),
        (("BITCOUNT", "b"), 2),
        (("BITCOUNT", "b", 1, -1), 1),
        (("STRLEN", "b"), 13),
        (("TYPE", "b"), b"string"),
    ],
    "streams": [
        (("XADD", "s", "5-1", "a", 1), b"5-1"),
        (("XADD", "s", "5-*", "a", 2), b"5-2"),
        (("XADD", "s", "MAXLEN", 2, "9-0", "a", 3), b"9-0"),
        (("XLEN", "s"), 2),
        (("XRANGE", "s", "-", "+"), [[b"5-2", [b"a", b"2"]], [b"9-0", [b"a", b"3"]]]),
        (("XRANGE", "s", "(5-2", "+", "COUNT", 9), [[b"9-0", [b"a", b"3"]]]),
        (("XREVRANGE", "s", "+", "-", "COUNT", 1), [[b"9-0", [b"a", b"3"]]]),
    ],
    "keys": [
        (("SET", "a:1", 1), b"OK"),
        (("HSET", "b:1", "f", 1), 1),
        (("KEYS", "a:*"), [b"a:1"]),
        (("RENAME", "a:1", "b:1"), b"OK"),
        (("GET", "b:1"), b"1"),
        (("SCAN", 0, "MATCH", "b:?", "COUNT", 100), [b"0", [b"b:1"]]),
        (("DBSIZE",), 1),
        (("FLUSHALL",), b"OK"),
        (("EXISTS", "b:1"), 0),
    ],
    "time to live": [
        (("SET", "a", 1, "EX", 100), b"OK"),
        (("TTL", "a"), 100),
        (("SET", "a", 2, "KEEPTTL"), b"OK"),
        (("TTL", "a"), 100),
        (("PERSIST", "a"), 1),
        (("TTL", "a"), -1),
        (("PEXPIRE", "a", 50_000), 1),
        (("EXPIRE", "a", 10, "GT"), 0),
        (("SET", "a", 3), b"OK"),
        (("PTTL", "a"), -1),
        (("EXPIRE", "a", 0), 1),
        (("TTL", "a"), -2),
    ],
}


@pytest.mark.parametrize("story", STORIES)
async def test_commands_reply_as_redis_documents(redis: Redis, story: str) -> None:
    for words, reply in STORIES[story]:
        assert await redis.call(*words) == reply, words


@pytest.mark.parametrize(
    ("words", "prefix"),
    [
        (("HGET", "string", "f"), "WRONGTYPE"),
        (("INCR", "string"), "ERR"),
        (("GET",), "ERR"),
        (("NOSUCH", "a"), "ERR"),
        (("SET", "a", "b", "NX", "XX"), "ERR"),
        (("SET", "a", "b", "PX", 0), "ERR"),
        (("ZADD", "z", "x", "m"), "ERR"),
        (("ZADD", "z", "GT", "NX", 1, "m"), "ERR"),
        (("XADD", "s", "0-0", "a", "b"), "ERR"),
        (("RENAME", "nothing", "b"), "ERR"),
    ],
)
async def test_refusals_are_errors_of_one_type(redis: Redis, words: tuple[RedisValue, ...], prefix: str) -> None:
    await redis.call("SET", "string", "x")
    with pytest.raises(RedisError) as caught:
        await redis.call(*words)
    assert caught.value.prefix == prefix
    assert await redis.call("KEYS", "*") == [b"string"]


async def test_half_a_surrogate_pair_is_invalid(redis: Redis) -> None:
    with pytest.raises(Invalid):
        await redis.call("SET", "a", "\ud800")


async def test_a_pipeline_runs_in_order_and_to_its_end(redis: Redis) -> None:
    assert await redis.pipeline([("SET", "a", 1), ("INCR", "a"), ("GET", "a")]) == [b"OK", 2, b"2"]
    with pytest.raises(RedisError, match="WRONGTYPE"):
        await redis.pipeline([("HGET", "a", "f"), ("SET", "b", 1)])
    assert await redis.call("GET", "b") == b"1"


async def test_a_key_is_gone_after_its_time(redis: Redis, redis_clock: trio.abc.Clock) -> None:
    await redis.call("SET", "lease", "me", "PX", 40)
    assert await redis.call("SET", "lease", "you", "NX") is None
    await trio.sleep(0.06)
    assert await redis.call("SET", "lease", "you", "NX") == b"OK"


async def test_time_is_civil_time(redis: Redis) -> None:
    seconds, micros = await redis.call("TIME")
    assert int(seconds) > 1_600_000_000
    assert 0 <= int(micros) < 1_000_000


async def test_a_cancelled_command_leaves_the_connection_usable(redis: Redis) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await redis.call("SET", "a", 1)
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await redis.script("return redis.call('SET', 'a', '1')", ["a"], [])
    assert await redis.call("PING") == b"PONG"


# ---- scripts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lua", "reply"),
    [
        ("return 3.9", 3),
        ("return -3.9", -3),
        ("return {1, 2.5, 'x', {true, false}, nil, 9}", [1, 2, b"x", [1, None]]),
        ("return nil", None),
        ("return false", None),
        ("return true", 1),
        ("return {ok = 'FINE'}", b"FINE"),
        ("return redis.status_reply('FINE')", b"FINE"),
        ("return redis.call('PING')", b"PONG"),
        ("return redis.call('PING').ok", b"PONG"),
        ("return redis.call('GET', 'nothing') == false", 1),
        ("return type(redis.call('INCR', 'n'))", b"number"),
        ("return {KEYS[1], ARGV[1], ARGV[2], #ARGV}", [b"k", b"\x00\xff", b"7", 2]),
        (
            "return redis.pcall('HGET', KEYS[1], 'f').err",
            b"WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("redis.call('SET', 'n', 2^53) return redis.call('GET', 'n')", b"9007199254740992"),
        ("redis.call('SET', 'n', 0.5) return redis.call('GET', 'n')", b"0.5"),
        ("return tostring(2^53)", b"9.007199254741e+15"),
        ("return tostring(1/0)", b"inf"),
        ("return tonumber('0x10')", 16),
        ("return cjson.encode({1, 2, {a = 1.5}})", b'[1,2,{"a":1.5}]'),
        ("return cjson.encode({})", b"{}"),
        ("return cjson.encode(2^53)", b"9.007199254741e+15"),
        ("return cjson.encode('a/\"\\n\\1\\127\\255')", b'"a\\/\\"\\n\\u0001\\u007f\xff"'),
        ("return cjson.encode({cjson.null, false})", b"[null,false]"),
        ('return cjson.decode(\'[1, "\\\\u00e9", {"a": [2]}]\')[3].a[1]', 2),
        ('return cjson.decode(\' {"a":"\\\\ud83d\\\\ude00"} \').a', "😀".encode()),
        ("return cjson.decode('null') == cjson.null", 1),
        ("return redis.sha1hex('')", b"da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ],
)
async def test_values_cross_to_lua_and_back(redis: Redis, lua: str, reply: Any) -> None:
    await redis.call("SET", "k", "x")
    assert await redis.script(lua, ["k"], [b"\x00\xff", 7]) == reply


@pytest.mark.parametrize(
    ("lua", "prefix"),
    [
        ("return redis.call('HGET', KEYS[1], 'f')", "WRONGTYPE"),
        ("return redis.pcall('HGET', KEYS[1], 'f')", "WRONGTYPE"),
        ("return redis.error_reply('MINE is bad')", "MINE"),
        ("return redis.error_reply('bad')", "ERR"),
        ("return {err = 'MINE is bad'}", "MINE"),
        ("error('boom')", "ERR"),
        ("error({err = 'MINE is bad'})", "MINE"),
        ("return nothing", "ERR"),
        ("nothing = 1", "ERR"),
        ("return (", "ERR"),
        ("return redis.call('NOSUCH')", "ERR"),
        ("return redis.call('GET')", "ERR"),
        ("return redis.call('SET', 'a', {})", "ERR"),
        ("return redis.call()", "ERR"),
        ("return cjson.encode({[1] = 1, [100] = 1})", "ERR"),
        ("return cjson.encode(0/0)", "ERR"),
        ("return cjson.encode({f = redis.call})", "ERR"),
        ("return cjson.decode('{\"a\":')", "ERR"),
        ("return cjson.decode('[1] x')", "ERR"),
        ("return io.open('/etc/passwd')", "ERR"),
        ("return os.execute('true')", "ERR"),
        ("return require('os')", "ERR"),
        ("return loadfile('x')", "ERR"),
        ("return debug.getinfo(1)", "ERR"),
        ("return loadstring('return nothing')()", "ERR"),
    ],
)
async def test_a_scripts_failure_is_an_error(redis: Redis, lua: str, prefix: str) -> None:
    await redis.call("SET", "k", "x")
    with pytest.raises(RedisError) as caught:
        await redis.script(lua, ["k"], [])
    assert caught.value.prefix == prefix
    assert await redis.script("return 1", [], []) == 1


async def test_what_a_failed_script_did_before_stays(redis: Redis) -> None:
    with pytest.raises(RedisError):
        await redis.script("redis.call('SET', 'a', '1') error('boom')", ["a"], [])
    assert await redis.call("GET", "a") == b"1"


async def test_a_script_runs_for_each_call_and_a_failure_is_its_calls_reply(redis: Redis) -> None:
    lua = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    first, second, third = await redis.scripts(lua, [(["n"], [1]), (["n"], ["bad"]), (["n"], [2])])
    assert (first, third) == (1, 3)
    assert isinstance(second, RedisError)
    assert await redis.scripts(lua, []) == []
    assert await redis.scripts(lua, [(["n"], [4]), (["n"], [8])]) == [7, 15]  # it is known by now


async def test_nothing_happens_between_a_scripts_commands(redis: Redis) -> None:
    lua = "local n = tonumber(redis.call('GET', KEYS[1]) or '0') redis.call('SET', KEYS[1], n + 1) return n"
    seen: list[int] = []

    async def run() -> None:
        seen.append(await redis.script(lua, ["n"], []))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(run)
    assert sorted(seen) == list(range(20))


# ---- pub/sub ---------------------------------------------------------------------------------------------------------


async def test_subscribers_hear_everything_in_order(redis: Redis) -> None:
    async with redis.subscribe("news", "board:*") as subscription:
        assert await redis.call("PUBLISH", "news", b"\x00") == 1
        assert await redis.call("PUBLISH", "board:1", "x") == 1
        assert await redis.call("PUBLISH", "elsewhere", "x") == 0
        await redis.script("return redis.call('PUBLISH', 'news', 'from Lua')", [], [])
        heard = []
        with trio.fail_after(5):
            async for each in subscription:
                heard.append(each)
                if len(heard) == 3:
                    break
    assert heard == [("news", b"\x00"), ("board:1", b"x"), ("news", b"from Lua")]


async def test_a_cancelled_reader_misses_nothing(redis: Redis) -> None:
    async with redis.subscribe("news") as subscription:
        messages = subscription.__aiter__()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(messages.__anext__)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await redis.call("PUBLISH", "news", "x")
        with trio.fail_after(5):
            assert await messages.__anext__() == ("news", b"x")


async def test_nobody_hears_after_leaving(redis: Redis) -> None:
    async with redis.subscribe("news", "n*"):
        assert await redis.call("PUBLISH", "news", "x") == 2
    with trio.fail_after(5):
        while await redis.call("PUBLISH", "news", "x"):
            await trio.sleep(0.01)
