"""Lua scripts: the real text, run by the real Lua 5.1 that Redis embeds, over this process's keyspace.

Rule 1: a script is atomic: there is no checkpoint between its first and last instruction.
Rule 2: values cross as Redis documents it. To Lua: integer → number, bulk → string, nil → false, status → ``{ok}``, error → ``{err}``. Back: number → integer
        (the fraction is cut), true → 1, false → nil, a table up to its first nil. Only a negative zero loses its sign on the way.
Rule 3: a script sees no file, process, module or Python object, and runs at most 50 million instructions. Its memory has no bound of its own: lupa's makes
        Lua abort the whole process where a table is built from outside. Scripts are ours; what a user sends only ever reaches ARGV.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from lupa import lua51

from edge.memory_redis.keyspace import INT_MAX, INT_MIN, Status
from edge.memory_redis.prelude import CJSON, SANDBOX
from edge.redis_error import RedisError

SCRIPTS_MAX = 512  # Redis has no bound; a program has as many scripts as it has files, and more means that one is made anew for each call
INSTRUCTIONS_MAX = 50_000_000
BAD_ARGUMENT = "ERR Lua redis lib command arguments must be strings or integers"

Execute = Callable[[Sequence[bytes]], Any]


class Scripts:
    """A Lua state, and the scripts compiled in it."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._lua = lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
        self._table = self._lua.table_from
        self._type = lua51.lua_type
        cjson = self._lua.eval(b"function(text, ...) return assert(loadstring(text, '@cjson'))(...) end")(CJSON)
        self._compile, self._run = self._lua.eval(
            b"function(text, ...) return assert(loadstring(text, '@sandbox'))(...) end"
        )(SANDBOX, self._dispatch, _sha1hex, cjson, INSTRUCTIONS_MAX)
        self._compiled: dict[str, tuple[str, Any]] = {}

    def run(self, lua: str, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Any:
        """Run a script; return its reply or raise RedisError with what the script raised."""
        sha, chunk = self._compiled.get(lua) or self._load(lua)
        has_ended, result = _two(self._run(chunk, self._table(keys), self._table(arguments)))
        if has_ended:
            reply = self._reply(result)
            if isinstance(reply, RedisError):
                raise reply
            return reply
        if isinstance(result, BaseException):
            raise result
        raise RedisError(f"{self._error_text(result)} script: {sha}, on @user_script.")

    def _load(self, lua: str) -> tuple[str, Any]:
        text = lua.encode()
        chunk, why = _two(self._compile(text))
        if chunk is False:
            raise RedisError(f"ERR Error compiling script (new function): {why.decode('utf-8', 'replace')}")
        if len(self._compiled) >= SCRIPTS_MAX:
            raise RedisError(f"ERR more than {SCRIPTS_MAX} different scripts: pass what varies as arguments")
        loaded = self._compiled[lua] = _sha1hex(text).decode(), chunk
        return loaded

    # ---- from Lua ----

    def _dispatch(self, *arguments: Any) -> Any:
        """Answer redis.call: an error comes back as a table, for pcall to return and call to raise."""
        try:
            if not arguments:
                raise RedisError("ERR Please specify at least one argument for this redis.call() call")
            return self._to_lua(self._execute([_word(each) for each in arguments]))
        except RedisError as exc:
            return self._table({b"err": exc.detail.encode()})

    def _to_lua(self, reply: Any) -> Any:
        if reply is None:
            return False
        if type(reply) is bytes or type(reply) is int:
            return reply
        if isinstance(reply, Status):
            return self._table({b"ok": bytes(reply)})
        return self._table([self._to_lua(each) for each in reply])

    def _reply(self, value: Any) -> Any:
        if type(value) is bytes:
            return value
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if isinstance(value, int | float):
            return _cut(value)
        if self._type(value) != "table":
            return None
        return self._table_reply(value)

    def _table_reply(self, table: Any) -> Any:
        error = table[b"err"]
        if type(error) is bytes:
            text = _line(error.partition(b"\0")[0].rstrip(b"\r\n"))
            return RedisError(text.decode("utf-8", "replace"))  # raised when it is the whole reply
        status = table[b"ok"]
        if type(status) is bytes:
            return Status(_line(status))
        items: list[Any] = []
        while (item := table[len(items) + 1]) is not None:
            items.append(self._reply(item))
        return items

    def _error_text(self, error: Any) -> str:
        if self._type(error) == "table":
            error = error[b"err"]
            return error.decode("utf-8", "replace") if type(error) is bytes else "ERR unknown error"
        return f"ERR {error.decode('utf-8', 'replace') if type(error) is bytes else error}"


def _two(results: Any) -> tuple[Any, Any]:
    """Return the first two results of a Lua function; a single one does not come as a tuple, and trailing nils do not come at all."""
    if not isinstance(results, tuple):
        return results, None
    return results[0], results[1]


def _line(text: bytes) -> bytes:
    """Return what of a text fits into a status or error line."""
    return text.partition(b"\0")[0].replace(b"\r", b" ").replace(b"\n", b" ")


def _word(value: Any) -> bytes:
    """Write a command's argument as Redis writes what Lua gives it: numbers by ``%.17g``."""
    if type(value) is bytes:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"%.17g" % value
    raise RedisError(BAD_ARGUMENT)


def _cut(value: float) -> int:
    """Return a Lua number as a 64-bit integer, its fraction cut, as C's conversion does on x86-64 (out of range: the lowest)."""
    if not INT_MIN <= value <= INT_MAX:  # also NaN
        return INT_MIN
    return int(value)


def _sha1hex(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
