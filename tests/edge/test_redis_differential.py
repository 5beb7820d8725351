"""The in-process Redis against a real server: the same commands and scripts get the same replies, word for word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import contracts
from chaos.engines import Redis
from contracts.errors import CodeWarzError
from contracts.ports import RedisValue
from edge.memory_redis import MemoryRedis
from edge.redis_error import RedisError
from tests.edge.conftest import FixedWall
from tests.edge.resp import BlockingClient

Words = tuple[RedisValue, ...]
EXAMPLES = settings(max_examples=120)


@pytest.fixture(scope="module")
def server(redis_engine: Redis) -> Iterator[BlockingClient]:
    with BlockingClient(redis_engine) as client:
        yield client


def run(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    trio.run(play, clock=MockClock(autojump_threshold=0))


async def reply_of(call: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await call
    except RedisError as error:
        return error


UNORDERED = {"SMEMBERS", "KEYS", "HGETALL", "HKEYS", "HVALS"}


def comparable(command: str, reply: Any) -> Any:
    if isinstance(reply, CodeWarzError):
        return ("error", reply.detail)
    if command in UNORDERED and isinstance(reply, list):
        return sorted(reply)
    return reply


# ---- commands --------------------------------------------------------------------------------------------------------

keys = st.sampled_from(["a", "b", "c"])
fields = st.sampled_from(["f", "g", b"\x00\xff", ""])
members = st.sampled_from(["m", "n", "M", "", b"\xff", "mm"])
values = st.one_of(
    st.integers(-3, 12),
    st.sampled_from(["", "x", "007", "+1", " 1", "1.5", "9223372036854775807"]),
    st.binary(max_size=4),
)
scores = st.one_of(st.integers(-4, 4), st.sampled_from([0.5, -1.25, "inf", "-inf", 2**53, "nan", "x", "1e3"]))
bounds = st.one_of(scores, st.integers(-4, 4).map(lambda n: f"({n}"), st.sampled_from(["(inf", "("]))
indices = st.one_of(st.integers(-7, 7), st.sampled_from(["x", "1.0"]))


def row(name: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Words]:
    return st.tuples(st.just(name), *parts)


def many(
    name: str, key: st.SearchStrategy[Any], *item: st.SearchStrategy[Any], least: int = 1
) -> st.SearchStrategy[Words]:
    items = st.lists(st.tuples(*item), min_size=least, max_size=4)
    return st.tuples(key, items).map(lambda pair: (name, pair[0], *(word for each in pair[1] for word in each)))


def flags(*names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), max_size=3)


def spliced(base: st.SearchStrategy[Words], at: int, extra: st.SearchStrategy[list[str]]) -> st.SearchStrategy[Words]:
    return st.tuples(base, extra).map(lambda pair: (*pair[0][:at], *pair[1], *pair[0][at:]))


limits: st.SearchStrategy[list[Any]] = st.one_of(
    st.just([]), st.tuples(st.just("LIMIT"), st.integers(-1, 3), st.integers(-1, 3)).map(list)
)
zrange = st.tuples(row("ZRANGE", keys, indices, indices), flags("REV", "WITHSCORES"), limits).map(
    lambda t: (*t[0], *t[1], *t[2])
)
zrange_by_score = st.tuples(row("ZRANGE", keys, bounds, bounds), flags("REV", "WITHSCORES"), limits).map(
    lambda t: (*t[0], "BYSCORE", *t[1], *t[2])
)
command = st.one_of(
    spliced(row("SET", keys, values), 3, flags("NX", "XX", "GET", "KEEPTTL")),
    row("SET", keys, values, st.sampled_from(["EX", "PX"]), st.sampled_from([100, 100_000, 0, -1, "x"])),
    st.one_of(*(row(name, keys) for name in ("GET", "GETDEL", "INCR", "DECR", "STRLEN", "TYPE", "TTL", "PERSIST"))),
    st.one_of(
        *(
            row(name, keys)
            for name in ("HGETALL", "HLEN", "HKEYS", "HVALS", "ZCARD", "LLEN", "SMEMBERS", "SCARD", "XLEN")
        )
    ),
    row("INCRBY", keys, values),
    many("MGET", keys, keys),
    many("DEL", keys, keys),
    many("EXISTS", keys, keys),
    spliced(row("EXPIRE", keys, st.sampled_from([100, 200, 0, -5, "x"])), 3, flags("NX", "XX", "GT", "LT")),
    row("RENAME", keys, keys),
    row("KEYS", st.sampled_from(["*", "?", "[ab]", "[^a]", "a", "\\a", "[a-b]*"])),
    many("HSET", keys, fields, values),
    row("HSETNX", keys, fields, values),
    row("HGET", keys, fields),
    row("HEXISTS", keys, fields),
    many("HMGET", keys, fields),
    many("HDEL", keys, fields),
    row("HINCRBY", keys, fields, values),
    spliced(many("ZADD", keys, scores, members), 2, flags("NX", "XX", "GT", "LT", "CH", "INCR")),
    row("ZINCRBY", keys, scores, members),
    many("ZREM", keys, members),
    row("ZSCORE", keys, members),
    many("ZMSCORE", keys, members),
    row("ZRANK", keys, members),
    row("ZREVRANK", keys, members),
    row("ZCOUNT", keys, bounds, bounds),
    zrange,
    zrange_by_score,
    row("ZREVRANGE", keys, indices, indices),
    row("ZRANGEBYSCORE", keys, bounds, bounds),
    row("ZREMRANGEBYRANK", keys, indices, indices),
    row("ZREMRANGEBYSCORE", keys, bounds, bounds),
    many("RPUSH", keys, values),
    many("LPUSH", keys, values),
    row("LRANGE", keys, indices, indices),
    row("LTRIM", keys, indices, indices),
    row("LPOP", keys),
    row("RPOP", keys, indices),
    many("SADD", keys, members),
    many("SREM", keys, members),
    row("SISMEMBER", keys, members),
    row("SETBIT", keys, st.integers(-1, 40), st.integers(0, 2)),
    row("GETBIT", keys, st.integers(-1, 50)),
    row("BITCOUNT", keys),
    row("BITCOUNT", keys, indices, indices, st.sampled_from(["BYTE", "BIT", "X"])),
    row("XADD", keys, st.sampled_from(["1-1", "1-2", "2", "2-*", "0-0", "x", "3-"]), fields, values),
    row("XADD", keys, st.just("MAXLEN"), st.integers(-1, 2), st.sampled_from(["4-1", "5-*"]), fields, values),
    row("XRANGE", keys, st.sampled_from(["-", "1", "(1-1", "2-0", "x"]), st.sampled_from(["+", "1", "(2", "-"])),
)


@EXAMPLES
@given(commands=st.lists(command, min_size=1, max_size=30))
def test_commands_reply_alike(server: BlockingClient, commands: list[Words]) -> None:
    async def play() -> None:
        memory = MemoryRedis(FixedWall())
        server.call("FLUSHALL")
        for words in commands:
            name = str(words[0])
            ours, theirs = await reply_of(memory.call(*words)), server.call(*words)
            assert comparable(name, ours) == comparable(name, theirs), words

    run(play)


# ---- scripts ---------------------------------------------------------------------------------------------------------


def quoted(text: bytes) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in text) + '"'


numbers = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([1e15, 0.1, 1e300]),
).filter(lambda number: str(number) != "-0.0")  # loses its sign on the way to Python
scalars = st.one_of(
    numbers.map(lambda n: f"({n!r})"),
    st.binary(max_size=6).map(quoted),
    st.sampled_from(["true", "false", "nil", "cjson.null"]),
)
lua_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "{" + ", ".join(items) + "}"),
        st.dictionaries(st.sampled_from(["a", "b", "ok", "err", "k1"]), inner, max_size=3).map(
            lambda d: "{" + ", ".join(f"{key} = {value}" for key, value in d.items()) + "}"
        ),
    ),
    max_leaves=8,
)


def nested(reply: Any) -> Any:
    """Make errors inside a reply comparable."""
    if isinstance(reply, RedisError):
        return ("error", reply.detail)
    return [nested(each) for each in reply] if isinstance(reply, list) else reply


async def alike(server: BlockingClient, lua: str, names: list[str], arguments: list[RedisValue]) -> None:
    memory = MemoryRedis(FixedWall())
    server.call("FLUSHALL")
    ours = await reply_of(memory.script(lua, names, arguments))
    theirs = server.call("EVAL", lua, len(names), *names, *arguments)
    if isinstance(ours, RedisError) and isinstance(theirs, RedisError):
        assert ours.prefix == theirs.prefix, (lua, ours, theirs)
        return
    assert nested(ours) == nested(theirs), (lua, str(arguments))


@EXAMPLES
@given(value=lua_values)
def test_lua_values_come_back_alike(server: BlockingClient, value: str) -> None:
    run(lambda: alike(server, f"return {value}", [], []))
    run(lambda: alike(server, f"return {{{value}, 7}}", [], []))
    run(lambda: alike(server, f"return tostring(({value}) == nil) .. type({value})", [], []))


@EXAMPLES
@given(value=lua_values)
def test_cjson_writes_alike(server: BlockingClient, value: str) -> None:
    run(lambda: alike(server, f"return cjson.encode({value})", [], []))


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**14), 10**14),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=1)),
    max_leaves=6,
)


@EXAMPLES
@given(value=json_values, ascii_only=st.booleans(), cut=st.one_of(st.just(0), st.integers(0, 6)))
def test_cjson_reads_alike(server: BlockingClient, value: object, ascii_only: bool, cut: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1 if cut == 1 else None)
    text = text[: len(text) - cut] if cut > 1 else text
    if "\\u0000" in text:
        text = text.replace("\\u0000", "\\u0001")
    run(lambda: alike(server, "return cjson.encode(cjson.decode(ARGV[1]))", [], [text]))
    run(lambda: alike(server, "return cjson.decode(ARGV[1])", [], [text]))


lua_numbers = st.one_of(numbers, st.integers(-5, 5))


@EXAMPLES
@given(commands=st.lists(command, min_size=1, max_size=8), number=lua_numbers)
def test_commands_inside_scripts_reply_alike(server: BlockingClient, commands: list[Words], number: float) -> None:
    """Each command through redis.pcall, its reply turned to text inside Lua, and a number written by Lua at the end."""
    show = """
local function show(v)
  if type(v) ~= 'table' then return type(v) .. ':' .. tostring(v) end
  if v.err then return 'err:' .. string.match(v.err, '^%S+') end
  if v.ok then return 'ok:' .. v.ok end
  local parts = {}
  for i = 1, #v do parts[i] = show(v[i]) end
  if ARGV[1] == 'sort' then table.sort(parts) end
  return '{' .. table.concat(parts, ',') .. '}'
end
"""
    lines, arguments = [show, "local out = {}"], ["sort"]
    for words in commands:
        places = []
        for word in words:
            arguments.append(word)  # type: ignore[arg-type] # words of every kind travel as arguments
            places.append(f"ARGV[{len(arguments)}]")
        lines.append(f"out[#out + 1] = show(redis.pcall({', '.join(places)}))")
    lines.append(f"redis.call('SET', 'n', ({number!r})) out[#out + 1] = redis.call('GET', 'n')")
    lines.append("return out")
    run(lambda: alike(server, "\n".join(lines), [], list(arguments)))


@pytest.mark.parametrize(
    "lua",
    [
        "return redis.error_reply('A B')",
        "return redis.error_reply('-A B')",
        "return redis.error_reply('A')",
        "return redis.error_reply('')",
        "return redis.error_reply(1)",
        "return {redis.error_reply('A B'), 1}",
        "return {redis.status_reply('A'), {ok = 'B'}}",
        "error({err = 'A B'})",
        "error()",
        "error('A B', 0)",
        "return pcall(redis.call, 'NOSUCH')",
        "local ok, e = pcall(redis.call, 'NOSUCH') return {tostring(ok), type(e), e.err}",
        "local ok, e = pcall(error, 'x') return {tostring(ok), e}",
        "return type(redis.call)",
        "return tostring(KEYS) == tostring(KEYS)",
        "return {#KEYS, #ARGV}",
        "KEYS[1] = 'x' return KEYS[1]",
        "local _ENV = nil return 1",
        "return _VERSION",
        "return math.floor(-1.5) .. string.rep('x', 3) .. table.concat({1, 2}, ',')",
        "return select('#', unpack({1, 2, 3}))",
        "return 2^63",
        "return -2^63",
        "return 1/0",
        "return -1e300",
        "return tostring(0/0) ~= nil",
        "return {1, nil, 3}",
        "return function() end",
        "return coroutine.wrap(function() return 7 end)()",
        "return redis.sha1hex(ARGV[1])",
        "return type(cjson.null)",
        "return cjson.encode({1, nil, 3})",
        "return cjson.encode({[1.5] = 1})",
        "return cjson.encode({[true] = 1})",
        "return cjson.decode('[1,]')",
        "return cjson.decode('')",
        "return cjson.decode('{\"a\" 1}')",
        "return cjson.decode('[' )",
        "return cjson.decode('\"\\\\ud800\"')",
        "return cjson.decode('\"\\\\x\"')",
        "return cjson.decode('tru')",
        "return cjson.decode('-')",
        "return cjson.decode(nil)",
        "return cjson.decode('1e5')",
        "return cjson.decode(' [ 1 , 2.0 , -0 ] ')",
        "local t = {} for i = 1, 2000 do t = {t} end return cjson.encode(t)",
    ],
)
def test_odd_scripts_reply_alike(server: BlockingClient, lua: str) -> None:
    run(lambda: alike(server, lua, ["k"], ["a", b"\xff"]))


# ---- the scripts of the house ----------------------------------------------------------------------------------------

LUA = {path.stem: path.read_text() for path in (Path(contracts.__file__).parent / "lua").glob("*.lua")}
VIEW = ["meta", "rank", "rows", "cells"]
users, problems = st.sampled_from(["ada", "bob", "cyd"]), st.sampled_from(["p", "q"])
verdicts = st.sampled_from(["AC", "WA", "CE"])
lines = st.tuples(
    problems, st.sampled_from("1234"), st.integers(1, 3), st.integers(900, 70_000_000), verdicts, st.integers(0, 100_00)
)


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(users, st.lists(lines, max_size=3)), max_size=12), rules=st.sampled_from(["icpc", "ioi"])
)
def test_the_boards_scripts_reply_alike(server: BlockingClient, steps: list[Any], rules: str) -> None:
    async def play() -> None:
        memory = MemoryRedis(FixedWall())
        server.call("FLUSHALL")

        async def both(name: str, names: list[str], arguments: list[RedisValue]) -> None:
            ours = await reply_of(memory.script(LUA[name], names, arguments))
            theirs = server.call("EVAL", LUA[name], len(names), *names, *arguments)
            assert nested(ours) == nested(theirs), (name, arguments)

        async def same_time() -> None:
            """Check that both have noted when they were written to, each by its own clock, and let them go on alike."""
            ours, theirs = await memory.call("HGET", "meta", "written_us"), server.call("HGET", "meta", "written_us")
            assert ours == b"%d" % (FixedWall().now_ms() * 1000)
            assert abs(int(theirs) / 1e6 - time.time()) < 60
            await memory.call("HSET", "meta", "written_us", 7)
            server.call("HSET", "meta", "written_us", 7)

        # The first version is the server's time, and so is when something was written: the two differ in that, and go on alike from there.
        staged = [f"staged {name}" for name in VIEW[1:]]
        stage = [*staged, "beginning"]
        rows: list[RedisValue] = [
            "ada",
            "-0",
            '{"user_id":"ada","username":"Ada","cells":{}}',
            "ada|p",
            "9,1,2000,WA,0",
        ]
        await both("board_stage", stage, [60_000, 1, *rows])
        for word in ("none yet", "asked again"):
            await both("board_state", ["meta", "beginning"], [word, 60_000])
        assert await memory.call("PTTL", "beginning") > 0
        for word in ("withdrawn", "none yet"):  # each withdrawal takes the word of a view that is not there
            await both("board_remove", [*VIEW, "beginning"], ["bob", "p", "q"])
            await both("board_state", ["meta", "beginning"], [word, 60_000])
        load: list[RedisValue] = ["none yet", "e", rules, 1000, 60_000_000, 50_000_000, 1, 1, 1]
        names = [*VIEW, *staged, "beginning"]
        await both("board_load", names, ["asked again", *load[1:]])  # it is another one by now
        await both("board_stage", stage, [60_000, 1, *rows])
        await both("board_load", names, [*load[:-1], 2])  # not all of it is there
        await both("board_stage", stage, [60_000, 1, *rows])
        first = await memory.script(LUA["board_load"], names, load)
        assert first == [1, FixedWall().now_ms()]
        done, version = server.call("EVAL", LUA["board_load"], len(names), *names, *load)
        assert done == 1
        assert version > FixedWall().now_ms() // 2
        await same_time()
        await both("board_state", ["meta", "beginning"], ["made by now", 60_000])
        await memory.call("HSET", "meta", "version", 7)
        server.call("HSET", "meta", "version", 7)
        for user, entries in steps:
            await both("board_apply", VIEW, [user, user.title(), *(word for line in entries for word in line)])
            await same_time()
            await both("board_state", ["meta", "beginning"], ["made long ago", 60_000])
            await both("board_page", VIEW[:3], [0, 10, ""])
        await both("board_page", VIEW[:3], [-1, 2, "bob"])
        for _ in range(2):
            await both("board_remove", [*VIEW, "beginning"], ["bob", "p", "q"])
            await same_time()
            await both("board_state", ["meta", "beginning"], ["made long ago", 60_000])
        await both("board_page", VIEW[:3], [0, 10, ""])
        assert await memory.call("DBSIZE") == server.call("DBSIZE")
        for name in VIEW:
            command = "ZRANGE" if name == "rank" else "HGETALL"
            words = (command, name, *((0, -1, "WITHSCORES") if name == "rank" else ()))
            assert await memory.call("TTL", name) == server.call("TTL", name) == -1
            assert comparable(command, await memory.call(*words)) == comparable(command, server.call(*words))

    run(play)


def test_the_leases_scripts_reply_alike(server: BlockingClient) -> None:
    async def play() -> None:
        memory = MemoryRedis(FixedWall())
        server.call("FLUSHALL")
        for name, owner in (
            ("acquire", "a"),
            ("acquire", "b"),
            ("renew", "a"),
            ("renew", "b"),
            ("release", "b"),
            ("release", "a"),
            ("renew", "a"),
        ):
            arguments: list[RedisValue] = [owner, 30_000]
            ours = await memory.script(LUA[f"lease_{name}"], ["lease"], arguments)
            assert ours == server.call("EVAL", LUA[f"lease_{name}"], 1, "lease", *arguments), (name, owner)

    run(play)
