"""Strings, counters and bitmaps."""

from __future__ import annotations

from typing import Any

from edge.memory_redis.keyspace import (
    INT_MAX,
    INT_MIN,
    OK,
    OVERFLOW,
    SYNTAX,
    WRONG_TYPE,
    Commands,
    Keyspace,
    Words,
    integer,
)
from edge.redis_error import RedisError

COMMANDS = Commands()
BIT_OFFSET = "ERR bit offset is not an integer or out of range"
BITS_MAX = 1 << 32


def text(keys: Keyspace, key: bytes) -> bytes | None:
    """Return a string's value; a bitmap under construction is a string too."""
    value = keys.peek(key)
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    raise RedisError(WRONG_TYPE)


@COMMANDS.define("GET", 1, 1)
def _get(keys: Keyspace, words: Words) -> Any:
    return text(keys, words[0])


@COMMANDS.define("MGET", 1, None)
def _mget(keys: Keyspace, words: Words) -> Any:
    values = (keys.peek(key) for key in words)
    return [bytes(value) if isinstance(value, bytes | bytearray) else None for value in values]


@COMMANDS.define("STRLEN", 1, 1)
def _strlen(keys: Keyspace, words: Words) -> Any:
    return len(text(keys, words[0]) or b"")


@COMMANDS.define("GETDEL", 1, 1)
def _getdel(keys: Keyspace, words: Words) -> Any:
    value = text(keys, words[0])
    keys.delete(words[0])
    return value


class _SetOptions:
    """What follows SET key value. The same option twice is allowed, contrary ones are not."""

    def __init__(self, keys: Keyspace, words: Words) -> None:
        self.condition = self.unit = amount = b""
        self.gets = self.keeps_ttl = False
        rest = iter(words)
        for word in rest:
            option = word.upper()
            if option in (b"NX", b"XX") and self.condition in (b"", option):
                self.condition = option
            elif option == b"GET":
                self.gets = True
            elif option == b"KEEPTTL" and not self.unit:
                self.keeps_ttl = True
            elif option in (b"PX", b"EX") and self.unit in (b"", option) and not self.keeps_ttl:
                self.unit, amount = option, next(rest, b"")
                if not amount:
                    raise RedisError(SYNTAX)
            else:
                raise RedisError(SYNTAX)
        self.deadline = _deadline(keys, self.unit, amount) if self.unit else None


def _deadline(keys: Keyspace, unit: bytes, amount: bytes) -> int:
    life_ms = integer(amount) * (1000 if unit == b"EX" else 1)
    if not 0 < life_ms <= INT_MAX >> 1:
        raise RedisError("ERR invalid expire time in 'set' command")
    return keys.now_ms + life_ms


@COMMANDS.define("SET", 2, None)
def _set(keys: Keyspace, words: Words) -> Any:
    key, value = words[0], words[1]
    options = _SetOptions(keys, words[2:])
    old = text(keys, key) if options.gets else None
    exists = keys.peek(key) is not None
    if (options.condition == b"NX" and exists) or (options.condition == b"XX" and not exists):
        return old
    keys.put(key, value, keep_ttl=options.keeps_ttl)
    if options.deadline is not None:
        keys.expire(key, options.deadline)
    return old if options.gets else OK


def _add(keys: Keyspace, key: bytes, amount: int) -> int:
    value = integer(text(keys, key) or b"0") + amount
    if not INT_MIN <= value <= INT_MAX:
        raise RedisError(OVERFLOW)
    keys.put(key, b"%d" % value, keep_ttl=True)
    return value


@COMMANDS.define("INCR", 1, 1)
def _incr(keys: Keyspace, words: Words) -> Any:
    return _add(keys, words[0], 1)


@COMMANDS.define("DECR", 1, 1)
def _decr(keys: Keyspace, words: Words) -> Any:
    return _add(keys, words[0], -1)


@COMMANDS.define("INCRBY", 2, 2)
def _incrby(keys: Keyspace, words: Words) -> Any:
    return _add(keys, words[0], integer(words[1]))


def _bit_offset(word: bytes) -> tuple[int, int]:
    offset = integer(word, BIT_OFFSET)
    if not 0 <= offset < BITS_MAX:
        raise RedisError(BIT_OFFSET)
    return offset >> 3, 7 - (offset & 7)  # the first bit is the highest of its byte


@COMMANDS.define("SETBIT", 3, 3)
def _setbit(keys: Keyspace, words: Words) -> Any:
    index, shift = _bit_offset(words[1])
    if words[2] not in (b"0", b"1"):
        raise RedisError("ERR bit is not an integer or out of range")
    value = keys.peek(words[0])
    if not isinstance(value, bytearray):
        value = bytearray(
            text(keys, words[0]) or b""
        )  # from now on changed in place: a filter of a mebibyte is not copied for a bit
        keys.put(words[0], value, keep_ttl=True)
    if index >= len(value):
        value.extend(bytes(index + 1 - len(value)))
    old = value[index] >> shift & 1
    value[index] = value[index] & ~(1 << shift) | int(words[2]) << shift
    return old


@COMMANDS.define("GETBIT", 2, 2)
def _getbit(keys: Keyspace, words: Words) -> Any:
    index, shift = _bit_offset(words[1])
    value = keys.peek(words[0])
    if value is not None and not isinstance(value, bytes | bytearray):
        raise RedisError(WRONG_TYPE)
    return 0 if value is None or index >= len(value) else value[index] >> shift & 1


@COMMANDS.define("BITCOUNT", 1, 4)
def _bitcount(keys: Keyspace, words: Words) -> Any:
    value = text(keys, words[0])
    if value is None:
        return 0
    if len(words) == 2:
        raise RedisError(SYNTAX)
    bounds = (integer(words[1]), integer(words[2])) if len(words) > 2 else (0, -1)
    unit = words[3].upper() if len(words) == 4 else b"BYTE"
    if unit not in (b"BYTE", b"BIT"):
        raise RedisError(SYNTAX)
    length = len(value) * (8 if unit == b"BIT" else 1)
    start, end = (bound + length if bound < 0 else bound for bound in bounds)
    if bounds[1] < bounds[0] < 0:
        return 0
    start, end = (
        max(start, 0),
        min(max(end, 0), length - 1),
    )  # an end before the first still counts the first, unlike in a list
    if start > end:
        return 0
    if unit == b"BYTE":
        return int.from_bytes(value[start : end + 1]).bit_count()
    bits = int.from_bytes(value) >> (length - 1 - end)
    return (bits & ((1 << (end - start + 1)) - 1)).bit_count()
