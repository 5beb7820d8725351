"""Hashes, lists and sets."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from edge.memory_redis.keyspace import (
    INT_MAX,
    INT_MIN,
    OK,
    OVERFLOW,
    Commands,
    Hash,
    Keyspace,
    Members,
    Words,
    integer,
    span,
    wrong_arity,
)
from edge.redis_error import RedisError

COMMANDS = Commands()
_NONE: Hash = Hash()


# ---- hashes ----------------------------------------------------------------------------------------------------------


def _hash(keys: Keyspace, key: bytes) -> Hash:
    """Return a hash to read."""
    value = keys.read(key, Hash)
    return _NONE if value is None else value


@COMMANDS.define("HSET", 3, None)
def _hset(keys: Keyspace, words: Words) -> Any:
    if len(words) % 2 == 0:
        raise wrong_arity("hset")
    value = keys.write(words[0], Hash)
    before = len(value)
    value.update(zip(words[1::2], words[2::2], strict=True))
    return len(value) - before


@COMMANDS.define("HSETNX", 3, 3)
def _hsetnx(keys: Keyspace, words: Words) -> Any:
    value = keys.write(words[0], Hash)
    if words[1] in value:
        return 0
    value[words[1]] = words[2]
    return 1


@COMMANDS.define("HGET", 2, 2)
def _hget(keys: Keyspace, words: Words) -> Any:
    return _hash(keys, words[0]).get(words[1])


@COMMANDS.define("HMGET", 2, None)
def _hmget(keys: Keyspace, words: Words) -> Any:
    value = _hash(keys, words[0])
    return [value.get(field) for field in words[1:]]


@COMMANDS.define("HGETALL", 1, 1)
def _hgetall(keys: Keyspace, words: Words) -> Any:
    return [word for pair in _hash(keys, words[0]).items() for word in pair]


@COMMANDS.define("HKEYS", 1, 1)
def _hkeys(keys: Keyspace, words: Words) -> Any:
    return list(_hash(keys, words[0]))


@COMMANDS.define("HVALS", 1, 1)
def _hvals(keys: Keyspace, words: Words) -> Any:
    return list(_hash(keys, words[0]).values())


@COMMANDS.define("HLEN", 1, 1)
def _hlen(keys: Keyspace, words: Words) -> Any:
    return len(_hash(keys, words[0]))


@COMMANDS.define("HEXISTS", 2, 2)
def _hexists(keys: Keyspace, words: Words) -> Any:
    return int(words[1] in _hash(keys, words[0]))


@COMMANDS.define("HDEL", 2, None)
def _hdel(keys: Keyspace, words: Words) -> Any:
    value = keys.read(words[0], Hash)
    if value is None:
        return 0
    removed = sum(value.pop(field, None) is not None for field in words[1:])
    keys.settle(words[0], value)
    return removed


@COMMANDS.define("HINCRBY", 3, 3)
def _hincrby(keys: Keyspace, words: Words) -> Any:
    amount = integer(words[2])
    total = integer(_hash(keys, words[0]).get(words[1], b"0"), "ERR hash value is not an integer") + amount
    if not INT_MIN <= total <= INT_MAX:
        raise RedisError(OVERFLOW)
    keys.write(words[0], Hash)[words[1]] = b"%d" % total
    return total


# ---- lists -----------------------------------------------------------------------------------------------------------


@COMMANDS.define("RPUSH", 2, None)
def _rpush(keys: Keyspace, words: Words) -> Any:
    value = keys.write(words[0], deque)
    value.extend(words[1:])
    return len(value)


@COMMANDS.define("LPUSH", 2, None)
def _lpush(keys: Keyspace, words: Words) -> Any:
    value = keys.write(words[0], deque)
    value.extendleft(words[1:])
    return len(value)


@COMMANDS.define("LLEN", 1, 1)
def _llen(keys: Keyspace, words: Words) -> Any:
    return len(keys.read(words[0], deque) or ())


@COMMANDS.define("LRANGE", 3, 3)
def _lrange(keys: Keyspace, words: Words) -> Any:
    start, stop = integer(words[1]), integer(words[2])
    value = keys.read(words[0], deque)
    if value is None:
        return []
    chosen = span(start, stop, len(value))
    return list(islice(value, min(chosen.start, len(value)), chosen.stop))


@COMMANDS.define("LTRIM", 3, 3)
def _ltrim(keys: Keyspace, words: Words) -> Any:
    start, stop = integer(words[1]), integer(words[2])
    value = keys.read(words[0], deque)
    if value is not None:
        chosen = span(start, stop, len(value))
        kept = list(islice(value, min(chosen.start, len(value)), chosen.stop))
        value.clear()
        value.extend(kept)
        keys.settle(words[0], value)
    return OK


def _pop(keys: Keyspace, words: Words, *, left: bool) -> Any:
    count = 1
    if len(words) > 1:
        count = integer(words[1], "ERR value is out of range, must be positive")
        if count < 0:
            raise RedisError("ERR value is out of range, must be positive")
    value = keys.read(words[0], deque)
    if value is None:
        return None
    take = value.popleft if left else value.pop
    taken = [take() for _ in range(min(count, len(value)))]
    keys.settle(words[0], value)
    return taken if len(words) > 1 else taken[0]


@COMMANDS.define("LPOP", 1, 2)
def _lpop(keys: Keyspace, words: Words) -> Any:
    return _pop(keys, words, left=True)


@COMMANDS.define("RPOP", 1, 2)
def _rpop(keys: Keyspace, words: Words) -> Any:
    return _pop(keys, words, left=False)


# ---- sets ------------------------------------------------------------------------------------------------------------


@COMMANDS.define("SADD", 2, None)
def _sadd(keys: Keyspace, words: Words) -> Any:
    value = keys.write(words[0], Members)
    before = len(value)
    value.update(dict.fromkeys(words[1:]))
    return len(value) - before


@COMMANDS.define("SREM", 2, None)
def _srem(keys: Keyspace, words: Words) -> Any:
    value = keys.read(words[0], Members)
    if value is None:
        return 0
    before = len(value)
    for member in words[1:]:
        value.pop(member, None)
    removed = before - len(value)
    keys.settle(words[0], value)
    return removed


@COMMANDS.define("SMEMBERS", 1, 1)
def _smembers(keys: Keyspace, words: Words) -> Any:
    return list(keys.read(words[0], Members) or ())


@COMMANDS.define("SISMEMBER", 2, 2)
def _sismember(keys: Keyspace, words: Words) -> Any:
    return int(words[1] in (keys.read(words[0], Members) or ()))


@COMMANDS.define("SCARD", 1, 1)
def _scard(keys: Keyspace, words: Words) -> Any:
    return len(keys.read(words[0], Members) or ())
