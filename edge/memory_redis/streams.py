"""Streams: an append-only log with rising identifiers, trimmed by length."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import Any

from edge.memory_redis.keyspace import INT_MAX, SYNTAX, Commands, Keyspace, Words, integer, wrong_arity
from edge.redis_error import RedisError

COMMANDS = Commands()
StreamId = tuple[int, int]
Entry = tuple[StreamId, list[bytes]]
SEQ_MAX = (1 << 64) - 1
_ENDS = {b"-": b"0-0", b"+": b"%d-%d" % (SEQ_MAX, SEQ_MAX)}
BAD_ID = "ERR Invalid stream ID specified as stream command argument"
_id = itemgetter(0)


class Stream:
    """Entries in order; ``last_id`` only rises, also when everything was trimmed away."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.last_id: StreamId = (0, 0)

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return True  # an empty stream exists


def _written(identifier: StreamId) -> bytes:
    return b"%d-%d" % identifier


def _parsed(word: bytes, missing_seq: int) -> StreamId:
    head, dash, tail = word.partition(b"-")
    if not head.isdigit() or (dash and not tail.isdigit()):
        raise RedisError(BAD_ID)
    identifier = int(head), int(tail) if dash else missing_seq
    if max(identifier) > SEQ_MAX:
        raise RedisError(BAD_ID)
    return identifier


def _next_id(keys: Keyspace, stream: Stream, word: bytes) -> StreamId:
    last_ms, last_seq = stream.last_id
    if word == b"*":
        now_ms = keys.wall.now_ms()
        return (now_ms, 0) if now_ms > last_ms else (last_ms, last_seq + 1)
    if word.endswith(b"-*"):
        stamp = _parsed(word[:-2], 0)[0]
        identifier = (stamp, last_seq + 1 if stamp == last_ms else 0)
    else:
        identifier = _parsed(word, 0)
    if identifier <= stream.last_id:
        raise RedisError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    return identifier


@COMMANDS.define("XADD", 4, None)
def _xadd(keys: Keyspace, words: Words) -> Any:
    index, longest, may_create = 1, None, True
    while index < len(words):
        option = words[index].upper()
        if option == b"NOMKSTREAM":
            may_create = False
            index += 1
        elif option == b"MAXLEN":
            index += 2 if words[index + 1] in (b"~", b"=") else 1
            if index >= len(words):
                raise RedisError(SYNTAX)
            longest = integer(words[index])  # ~ allows us to keep more; we trim exactly
            if longest < 0:
                raise RedisError("ERR The MAXLEN argument must be >= 0.")
            index += 1
        else:
            break
    fields = list(words[index + 1 :])
    if not fields or len(fields) % 2:
        raise wrong_arity("xadd")
    if words[index] != b"*" and _parsed(words[index].removesuffix(b"-*"), words[index].endswith(b"-*")) == (0, 0):
        raise RedisError("ERR The ID specified in XADD must be greater than 0-0")
    present = keys.read(words[0], Stream)
    if present is None and not may_create:
        return None
    identifier = _next_id(keys, present or Stream(), words[index])
    stream = keys.write(words[0], Stream)
    stream.entries.append((identifier, fields))
    stream.last_id = identifier
    if longest is not None and len(stream) > longest:
        del stream.entries[: len(stream) - longest]
    return _written(identifier)


@COMMANDS.define("XLEN", 1, 1)
def _xlen(keys: Keyspace, words: Words) -> Any:
    stream = keys.read(words[0], Stream)
    return 0 if stream is None else len(stream)


class _Interval:
    """A stretch of identifiers: ``-``, ``+``, ``5``, ``5-1``, ``(5-1``; without a sequence the whole millisecond is meant."""

    def __init__(self, low: bytes, high: bytes) -> None:
        low, high = _ENDS.get(low, low), _ENDS.get(high, high)
        self.is_low_open, self.is_high_open = low[:1] == b"(", high[:1] == b"("
        self.low, self.high = _parsed(low.removeprefix(b"("), 0), _parsed(high.removeprefix(b"("), SEQ_MAX)

    def within(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries inside."""
        first = (bisect_right if self.is_low_open else bisect_left)(entries, self.low, key=_id)
        last = (bisect_left if self.is_high_open else bisect_right)(entries, self.high, key=_id)
        return entries[first:last]


def _range(keys: Keyspace, words: Words, *, reverse: bool) -> Any:
    interval = _Interval(words[2], words[1]) if reverse else _Interval(words[1], words[2])
    count = INT_MAX
    if len(words) > 3:
        if len(words) != 5 or words[3].upper() != b"COUNT":
            raise RedisError(SYNTAX)
        count = max(integer(words[4]), 0)
    stream = keys.read(words[0], Stream) or Stream()
    entries = interval.within(stream.entries)
    if reverse:
        entries.reverse()
    return [[_written(identifier), list(fields)] for identifier, fields in entries[:count]]


@COMMANDS.define("XRANGE", 3, 5)
def _xrange(keys: Keyspace, words: Words) -> Any:
    return _range(keys, words, reverse=False)


@COMMANDS.define("XREVRANGE", 3, 5)
def _xrevrange(keys: Keyspace, words: Words) -> Any:
    return _range(keys, words, reverse=True)
