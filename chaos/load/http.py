"""HTTP as people's programs speak it: requests and event streams over connections of their own, on Trio and h11."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import h11
import msgspec
import trio

from chaos.engines.child import HOST

CHUNK = 16 * 1024
TIMEOUT_S = 15.0  # above the product's own deadlines, so that it is heard when it answers late


class Lost(Exception):
    """No answer, or half of one: whether anything happened is not known."""


class Answer(msgspec.Struct, frozen=True):
    """What came back; ``cookies`` are those that it set."""

    status: int
    body: bytes
    retry_after_s: float = 0.0
    cookies: Mapping[str, str] = {}

    def json(self) -> Any:
        """Return the body as data."""
        return msgspec.json.decode(self.body)


class Event(msgspec.Struct, frozen=True):
    """A server-sent event."""

    name: str
    id: str
    data: Any


async def request(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one request to a gateway and return its answer; Lost when there is none within TIMEOUT_S."""
    content = b"" if body is None else msgspec.json.encode(body)
    sent = {"Content-Type": "application/json"} if content else {}
    with trio.move_on_after(TIMEOUT_S):
        async with _asked(port, method, path, {**sent, **(headers or {})}, content) as exchange:
            content = b""
            while piece := await exchange.piece():
                content += piece
            return exchange.answer(content)
    raise Lost(f"{method} {path}: no answer within {TIMEOUT_S:g} s")


@asynccontextmanager
async def stream(port: int, path: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Events]:
    """Open a stream of events, which end when the gateway ends it; Lost when it cannot be had or breaks."""
    async with _asked(port, "GET", path, headers or {}, b"") as exchange:
        if exchange.head.status_code != 200:
            raise Lost(f"{path}: {exchange.head.status_code}")
        yield Events(exchange)


class _Exchange:
    """One request and its answer on a connection of its own."""

    def __init__(self, connection: trio.SocketStream) -> None:
        self._connection = connection
        self._state = h11.Connection(h11.CLIENT)
        self.head: h11.Response

    async def ask(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> None:
        """Send the request and read the answer's head."""
        given = {"Host": HOST, "Connection": "close", **headers}
        if content:
            given["Content-Length"] = str(len(content))
        parts: list[h11.Event] = [h11.Request(method=method, target=path, headers=list(given.items()))]
        parts += [h11.Data(data=content)] if content else []
        data = b"".join(self._state.send(each) or b"" for each in (*parts, h11.EndOfMessage()))
        await self._connection.send_all(data)
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        assert isinstance(event, h11.Response)
        self.head = event

    async def piece(self) -> bytes:
        """Return the next piece of the answer's body; nothing at its end."""
        event = await self._next()
        while isinstance(event, h11.Data):
            if event.data:
                return bytes(event.data)
            event = await self._next()
        return b""

    def answer(self, body: bytes) -> Answer:
        """Return the answer."""
        headers = [(name.decode(), value.decode()) for name, value in self.head.headers]
        pairs = [value.partition(";")[0].partition("=") for name, value in headers if name == "set-cookie"]
        after = dict(headers).get("retry-after", "0")
        return Answer(
            self.head.status_code,
            body,
            float(after) if after.isdecimal() else 0.0,
            {name: value for name, _, value in pairs},
        )

    async def _next(self) -> Any:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(await self._connection.receive_some(CHUNK))
        return event


@asynccontextmanager
async def _asked(
    port: int, method: str, path: str, headers: Mapping[str, str], content: bytes
) -> AsyncIterator[_Exchange]:
    """Connect, send the request and read the answer's head, within TIMEOUT_S; whatever breaks here or in the block is Lost."""
    what = f"{method} {path}"
    try:
        with trio.fail_after(TIMEOUT_S) as limit:
            async with await trio.open_tcp_stream(HOST, port) as connection:
                exchange = _Exchange(connection)
                await exchange.ask(method, path, headers, content)
                limit.deadline = math.inf
                yield exchange
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise Lost(f"{what}: {error!r}") from error
    except trio.TooSlowError as error:
        raise Lost(f"{what}: no answer within {TIMEOUT_S:g} s") from error


class Events:
    """The events of one stream, one after the other; they end with the stream."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._waiting = b""
        self._ready: deque[Event] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            piece = await self._exchange.piece()
            if not piece:
                raise StopAsyncIteration
            *events, self._waiting = (self._waiting + piece).split(b"\n\n")
            self._ready.extend(event for text in events if (event := parse(text.decode())) is not None)
        return self._ready.popleft()


def parse(text: str) -> Event | None:
    """Read one event; None for a comment, or for a line that only says when to come again."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
    if "data" not in fields:
        return None
    return Event(fields.get("event", "message"), fields.get("id", ""), msgspec.json.decode(fields["data"]))
