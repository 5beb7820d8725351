"""A blocking client, for tests that compare with a real server or tease one behind an edge's back. Its own commands, no edge of ours, and errors are values."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from redis._parsers import _RESP2Parser
from redis.connection import Connection

from chaos.engines import Redis
from chaos.engines.redis import ADMINISTRATOR
from contracts.ports import RedisReply, RedisValue
from edge.redis_error import RedisError
from edge.redis_words import packed


class _Parser(_RESP2Parser):
    @classmethod
    def parse_error(cls, response: str) -> RedisError:
        return RedisError(response)


class BlockingClient:
    """One connection to a private server."""

    def __init__(self, engine: Redis) -> None:
        made: Any = Connection  # its types say nothing
        self.connection = made(
            host="127.0.0.1", port=engine.port, protocol=2, parser_class=_Parser, socket_timeout=30, driver_info=None
        )
        assert self.call("AUTH", ADMINISTRATOR, engine.password) == b"OK"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.disconnect()

    def call(self, *words: RedisValue) -> RedisReply:
        self.send(*words)
        return self.connection.read_response()

    def send(self, *words: RedisValue) -> None:
        """Send a command of which nobody awaits the reply."""
        self.connection.send_packed_command([packed(words)], check_health=False)
