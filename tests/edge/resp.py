"""Just enough of a RESP2 client to hold a real Redis server against the ``Redis`` port. For tests only."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import trio

from contracts import ports
from contracts.ports import RedisReply, RedisValue
from edge.memory_redis.server import encoded
from edge.redis_error import RedisError


def packed(words: Sequence[RedisValue]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in map(encoded, words):
        parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
    return b"".join(parts)


class BlockingClient:
    """One connection; errors are returned, not raised."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file: BinaryIO = self.socket.makefile("rb")

    def call(self, *words: RedisValue) -> Any:
        self.socket.sendall(packed(words))
        return self.read()

    def read(self) -> Any:
        line = self.file.readline()
        assert line.endswith(b"\r\n"), "the server closed the connection"
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        length = int(rest)
        if length < 0:
            return None
        if kind == b"$":
            return self.file.read(length + 2)[:-2]
        return [self.read() for _ in range(length)]

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class RespRedis:
    """The ``Redis`` port over a real server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aenter__(self) -> Self:
        self.client = BlockingClient(self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()

    async def call(self, *words: RedisValue) -> RedisReply:
        return (await self.pipeline([words]))[0]

    async def pipeline(self, commands: Sequence[Sequence[RedisValue]]) -> list[RedisReply]:
        await trio.lowlevel.checkpoint()
        self.client.socket.sendall(b"".join(map(packed, commands)))
        replies = [self.client.read() for _ in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        return await self.call("EVAL", lua, len(keys), *keys, *arguments)

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[ports.Subscription]:
        stream = await trio.open_unix_socket(str(self.path))
        async with stream:
            subscription = _Subscription(stream)
            for name in channels:
                await stream.send_all(packed(["PSUBSCRIBE" if name.endswith("*") else "SUBSCRIBE", name]))
            for _ in channels:
                await subscription.frame()
            yield subscription


class _Subscription:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self.buffer += await self.stream.receive_some()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    async def frame(self) -> list[bytes]:
        words = []
        for _ in range(int((await self.line())[1:])):
            head = await self.line()
            words.append(await self.line() if head[:1] == b"$" else head)
        return words

    def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        *_, channel, payload = await self.frame()
        return channel.decode(), payload
