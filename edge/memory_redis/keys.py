"""Commands on keys of any type, on the whole keyspace, and on the server."""

from __future__ import annotations

from collections import deque
from typing import Any

from edge.memory_redis.keyspace import (
    INT_MAX,
    NO_SUCH_KEY,
    OK,
    SYNTAX,
    Commands,
    Hash,
    Keyspace,
    Members,
    Status,
    Words,
    glob,
    integer,
)
from edge.memory_redis.streams import Stream
from edge.memory_redis.zsets import SortedSet
from edge.redis_error import RedisError

COMMANDS = Commands()
_TYPES: dict[type, bytes] = {
    bytes: b"string",
    bytearray: b"string",
    Hash: b"hash",
    deque: b"list",
    Members: b"set",
    SortedSet: b"zset",
    Stream: b"stream",
}


@COMMANDS.define("DEL", 1, None)
def _del(keys: Keyspace, words: Words) -> Any:
    return sum(keys.peek(key) is not None and keys.delete(key) for key in words)


COMMANDS[b"UNLINK"] = COMMANDS[b"DEL"]


@COMMANDS.define("EXISTS", 1, None)
def _exists(keys: Keyspace, words: Words) -> Any:
    return sum(keys.peek(key) is not None for key in words)


@COMMANDS.define("TYPE", 1, 1)
def _type(keys: Keyspace, words: Words) -> Any:
    value = keys.peek(words[0])
    return Status(b"none" if value is None else _TYPES[type(value)])


@COMMANDS.define("RENAME", 2, 2)
def _rename(keys: Keyspace, words: Words) -> Any:
    source, target = words
    value = keys.peek(source)
    if value is None:
        raise RedisError(NO_SUCH_KEY)
    if source != target:
        deadline = keys.deadline(source)
        keys.delete(source)
        keys.delete(target)
        keys.put(target, value)
        keys.expire(target, deadline)
    return OK


def _expire(keys: Keyspace, name: str, words: Words, unit_ms: int) -> int:
    key, options = words[0], {word.upper() for word in words[2:]}
    if not options <= {b"NX", b"XX", b"GT", b"LT"}:
        raise RedisError(f"ERR Unsupported option {words[2].decode('utf-8', 'replace')}")
    if b"NX" in options and len(options) > 1:
        raise RedisError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= options:
        raise RedisError("ERR GT and LT options at the same time are not compatible")
    amount = integer(words[1])
    if abs(amount) > (INT_MAX >> 1) // unit_ms:
        raise RedisError(f"ERR invalid expire time in '{name}' command")
    if keys.peek(key) is None:
        return 0
    old, new = keys.deadline(key), keys.now_ms + amount * unit_ms
    if (
        (b"NX" in options and old is not None)
        or (b"XX" in options and old is None)
        or (b"GT" in options and (old is None or new <= old))
        or (b"LT" in options and old is not None and new >= old)
    ):
        return 0
    if amount <= 0:
        keys.delete(key)
    else:
        keys.expire(key, new)
    return 1


@COMMANDS.define("EXPIRE", 2, None)
def _expire_s(keys: Keyspace, words: Words) -> Any:
    return _expire(keys, "expire", words, 1000)


@COMMANDS.define("PEXPIRE", 2, None)
def _expire_ms(keys: Keyspace, words: Words) -> Any:
    return _expire(keys, "pexpire", words, 1)


def _remaining_ms(keys: Keyspace, key: bytes) -> int:
    if keys.peek(key) is None:
        return -2
    deadline = keys.deadline(key)
    return -1 if deadline is None else max(deadline - keys.now_ms, 0)


@COMMANDS.define("PTTL", 1, 1)
def _pttl(keys: Keyspace, words: Words) -> Any:
    return _remaining_ms(keys, words[0])


@COMMANDS.define("TTL", 1, 1)
def _ttl(keys: Keyspace, words: Words) -> Any:
    remaining = _remaining_ms(keys, words[0])
    return remaining if remaining < 0 else (remaining + 500) // 1000


@COMMANDS.define("PERSIST", 1, 1)
def _persist(keys: Keyspace, words: Words) -> Any:
    if keys.peek(words[0]) is None or keys.deadline(words[0]) is None:
        return 0
    keys.expire(words[0], None)
    return 1


@COMMANDS.define("KEYS", 1, 1)
def _keys(keys: Keyspace, words: Words) -> Any:
    matches = glob(words[0]).match
    return [key for _, key in keys.live_keys() if matches(key)]


@COMMANDS.define("SCAN", 1, None)
def _scan(keys: Keyspace, words: Words) -> Any:
    """The cursor is the last key's birth, so a key that lives through the whole scan is returned exactly once."""
    cursor, count, pattern, kind = integer(words[0], "ERR invalid cursor"), 10, None, None
    if len(words) % 2 == 0:
        raise RedisError(SYNTAX)
    for option, value in zip(words[1::2], words[2::2], strict=True):
        match option.upper():
            case b"COUNT":
                count = integer(value)
            case b"MATCH":
                pattern = glob(value)
            case b"TYPE":
                kind = value.lower()
            case _:
                raise RedisError(SYNTAX)
    if count < 1:
        raise RedisError(SYNTAX)
    waiting = [(birth, key) for birth, key in keys.live_keys() if birth > cursor]
    page = waiting[:count]
    found = [
        key
        for _, key in page
        if (pattern is None or pattern.match(key)) and (kind is None or _TYPES[type(keys.peek(key))] == kind)
    ]
    return [b"%d" % page[-1][0] if len(waiting) > count else b"0", found]


@COMMANDS.define("DBSIZE", 0, 0)
def _dbsize(keys: Keyspace, _words: Words) -> Any:
    return len(keys)


@COMMANDS.define("FLUSHALL", 0, 1)
def _flushall(keys: Keyspace, _words: Words) -> Any:
    keys.clear()
    return OK


@COMMANDS.define("PING", 0, 1)
def _ping(_keys: Keyspace, words: Words) -> Any:
    return words[0] if words else Status(b"PONG")


@COMMANDS.define("TIME", 0, 0)
def _time(keys: Keyspace, _words: Words) -> Any:
    now_ms = keys.wall.now_ms()
    return [b"%d" % (now_ms // 1000), b"%d" % (now_ms % 1000 * 1000)]


@COMMANDS.define("PUBLISH", 2, 2)
def _publish(keys: Keyspace, words: Words) -> Any:
    return keys.publish(words[0], words[1])
