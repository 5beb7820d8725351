"""The keys, their types and their time to live; and what every command's module shares: the command table, number formats, error texts.

Rule 1: a key that is past its time is never seen: each access looks (lazily), and each command also buries a bounded number of the dead nobody asks for.
Rule 2: an empty hash, list, set or sorted set does not exist. An empty string or stream does.
Rule 3: time to live runs on the Trio clock, in whole milliseconds; what is shown as civil time (TIME, stream identifiers) comes from the injected clock.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import trio

from contracts.ports import WallClock
from edge.redis_error import RedisError

T = TypeVar("T")
Words = Sequence[bytes]
Run = Callable[["Keyspace", Words], Any]

EXPIRED_PER_COMMAND = 20  # as many as one round of Redis's own active expiry samples
KEYS_MAX = 1_000_000
_INTEGER = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\Z")
_FLOAT = re.compile(rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?)\Z", re.IGNORECASE)
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_SUCH_KEY = "ERR no such key"
OVERFLOW = "ERR increment or decrement would overflow"


class Status(bytes):
    """A status reply (+OK): bytes to a caller, ``{ok = …}`` to Lua."""

    __slots__ = ()


OK = Status(b"OK")


class Hash(dict[bytes, bytes]):
    """A hash."""


class Members(dict[bytes, None]):
    """A set that keeps its order, so that a simulation does not depend on the hash seed."""


class Command(NamedTuple):
    """One command: how many words it takes after its name (``most`` None: any number)."""

    run: Run
    least: int
    most: int | None

    def takes(self, words: int) -> bool:
        """Whether that many words after the name are right."""
        return self.least <= words and (self.most is None or words <= self.most)


class Commands(dict[bytes, Command]):
    """A table of commands, filled with ``@COMMANDS.define("GET", 1, 1)``."""

    def define(self, name: str, least: int, most: int | None) -> Callable[[Run], Run]:
        """Enter a function under a command's name."""

        def enter(run: Run) -> Run:
            self[name.encode()] = Command(run, least, most)
            return run

        return enter


def wrong_arity(name: str) -> RedisError:
    """Return the error for too few or too many words."""
    return RedisError(f"ERR wrong number of arguments for '{name.lower()}' command")


def integer(word: bytes, error: str = NOT_AN_INTEGER) -> int:
    """Read a 64-bit integer as strictly as Redis does: no plus sign, no leading zeros, no blanks."""
    if _INTEGER.match(word):
        value = int(word)
        if INT_MIN <= value <= INT_MAX:
            return value
    raise RedisError(error)


def number(word: bytes, error: str = NOT_A_FLOAT) -> float:
    """Read a double; infinities are numbers, NaN is not."""
    if not _FLOAT.match(word):
        raise RedisError(error)
    return float(word)


def number_reply(value: float) -> bytes:
    """Write a double as Redis 7.0 does in RESP2 (``%.17g``)."""
    return b"%.17g" % value


def span(start: int, stop: int, length: int) -> slice:
    """Return the slice that Redis's inclusive indices mean; negative ones count from the end."""
    first = max(start + length, 0) if start < 0 else start
    last = stop + length if stop < 0 else stop
    return slice(first, max(min(last, length - 1) + 1, first, 0))


def glob(pattern: bytes) -> re.Pattern[bytes]:
    """Compile Redis's glob: ``*``, ``?``, ``[a-c]``, ``[^a]`` and the backslash."""
    out, index = [], 0
    while index < len(pattern):
        letter = pattern[index : index + 1]
        index += 1
        if letter == b"*":
            out.append(b".*")
        elif letter == b"?":
            out.append(b".")
        elif letter == b"[" and (end := pattern.find(b"]", index + 1)) > 0:
            body = pattern[index:end].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
            out.append(b"[" + body + b"]")
            index = end + 1
        elif letter == b"\\" and index < len(pattern):
            out.append(re.escape(pattern[index : index + 1]))
            index += 1
        else:
            out.append(re.escape(letter))
    return re.compile(b"".join(out) + rb"\Z", re.DOTALL)


class Keyspace:
    """All keys of one server. ``publish`` is how a command reaches the subscribers."""

    def __init__(self, wall: WallClock, publish: Callable[[bytes, bytes], int], *, keys_max: int = KEYS_MAX) -> None:
        self.wall = wall
        self.publish = publish
        self.now_ms = 0
        self._keys_max = keys_max
        self._values: dict[bytes, Any] = {}
        self._born: dict[bytes, int] = {}  # a rising number per key, for SCAN's cursor
        self._births = 0
        self._deadlines: dict[bytes, int] = {}
        self._deaths: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._values)

    def tick(self) -> None:
        """Read the clock and bury some of the dead. Time stands still until the next tick, so a whole script sees one moment."""
        self.now_ms = int(trio.current_time() * 1000)
        for _ in range(EXPIRED_PER_COMMAND):
            if not self._deaths or self._deaths[0][0] >= self.now_ms:
                return
            deadline, key = heapq.heappop(self._deaths)
            if self._deadlines.get(key) == deadline:
                self.delete(key)

    def peek(self, key: bytes) -> Any:
        """Return the key's value whatever its type, or None."""
        deadline = self._deadlines.get(key)
        if deadline is not None and self.now_ms > deadline:
            self.delete(key)
            return None
        return self._values.get(key)

    def read(self, key: bytes, kind: type[T]) -> T | None:
        """Return the key's value, or None; WRONGTYPE when it is of another kind."""
        value = self.peek(key)
        if value is None:
            return None
        if not isinstance(value, kind):
            raise RedisError(WRONG_TYPE)
        return value

    def write(self, key: bytes, kind: type[T]) -> T:
        """Return the key's value to change in place, made empty when there was none. Call ``settle`` after removing from it."""
        value = self.read(key, kind)
        if value is None:
            value = kind()
            self._admit(key)
            self._values[key] = value
        return value

    def put(self, key: bytes, value: Any, *, keep_ttl: bool = False) -> None:
        """Replace the key's value, and unless told otherwise its time to live."""
        if self.peek(key) is None:
            self._admit(key)
        self._values[key] = value
        if not keep_ttl:
            self._deadlines.pop(key, None)

    def settle(self, key: bytes, value: Any) -> None:
        """Remove the key when nothing is left in it."""
        if not value:
            self.delete(key)

    def delete(self, key: bytes) -> bool:
        """Remove a key; return whether there was one."""
        self._deadlines.pop(key, None)
        self._born.pop(key, None)
        return self._values.pop(key, None) is not None

    def deadline(self, key: bytes) -> int | None:
        """Return the moment in Trio milliseconds after which the key is gone, or None."""
        return self._deadlines.get(key)

    def expire(self, key: bytes, deadline_ms: int | None) -> None:
        """Give an existing key a deadline on the Trio clock, or take it away."""
        if deadline_ms is None:
            self._deadlines.pop(key, None)
            return
        self._deadlines[key] = deadline_ms
        heapq.heappush(self._deaths, (deadline_ms, key))
        if len(self._deaths) > 2 * len(self._deadlines) + 64:  # renewals leave their old deadlines behind
            self._deaths = [(when, name) for name, when in self._deadlines.items()]
            heapq.heapify(self._deaths)

    def live_keys(self) -> Iterator[tuple[int, bytes]]:
        """Yield (birth, key) of every living key in order of birth."""
        for key in tuple(self._values):
            if self.peek(key) is not None:
                yield self._born[key], key

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._born.clear()
        self._deadlines.clear()
        self._deaths.clear()

    def _admit(self, key: bytes) -> None:
        if len(self._values) >= self._keys_max:
            raise RedisError("OOM command not allowed when used memory > 'maxmemory'.")
        self._births += 1
        self._born[key] = self._births
