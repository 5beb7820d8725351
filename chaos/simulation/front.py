"""Where browsers meet a gateway: the real application, called in its process instead of over a socket."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from actors.gateway.app import make_app
from actors.gateway.services import Services
from chaos.simulation.world import World, at
from supervisor.context import Context

if TYPE_CHECKING:
    from chaos.simulation.machine import Machine

BUFFERED = 32  # chunks of a stream between server and client, as a socket's buffers would hold


class ConnectionFailed(Exception):
    """What a browser sees when there is no answer: nobody listens, the connection broke, or it took too long."""


class Answer(msgspec.Struct):
    """A whole response. ``body`` is empty for a stream."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Exchange:
    """One request under way: what the application sends goes to ``chunks``, of which ``hang_up`` is the end."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes, address: str) -> None:
        target, _, query = path.partition("?")
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": (address, 40_000),
            "server": ("codewarz", 80),
            "extensions": {},
            "state": {},
        }
        self._body = body
        self._is_read = False
        self._gone = trio.Event()
        self._send, self.chunks = trio.open_memory_channel[bytes](BUFFERED)
        self.head: Answer | None = None
        self.started = trio.Event()

    async def receive(self) -> dict[str, Any]:
        """Give the application the request, then word that the client has gone."""
        if not self._is_read:
            self._is_read = True
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take a piece of the response."""
        if message["type"] == "http.response.start":
            headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self.head = Answer(message["status"], headers)
            self.started.set()
            await trio.lowlevel.checkpoint()
            return
        if self._gone.is_set():
            await trio.lowlevel.checkpoint()
            return
        try:
            if message.get("body"):
                await self._send.send(message["body"])
        except trio.BrokenResourceError:
            self._gone.set()
        if not message.get("more_body", False):
            self.close()

    def close(self) -> None:
        """The server has nothing more to say, or is gone."""
        self._send.close()
        self.started.set()

    def hang_up(self) -> None:
        """The client leaves."""
        self._gone.set()
        self.chunks.close()


class Stand:
    """Stands for an object that changes from life to life, in an application that is made once and used in all of them."""

    __slots__ = ("_for",)

    def __init__(self) -> None:
        self._for: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._for, name)

    def become(self, now: Any) -> None:
        """Stand for ``now`` from here on."""
        self._for = now

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._for(*arguments)


class Booth:
    """A gateway's application. Making one takes as long as thirty submissions, so a process that dies leaves it to its successor: it keeps nothing."""

    def __init__(self) -> None:
        self._stands: dict[str, Any] = {field.name: Stand() for field in fields(Services) if field.name in CHANGING}
        self.app: Any = None

    def opened(self, services: Services) -> Any:
        """Return the application with these services in it."""
        for name, stand in self._stands.items():
            stand.become(getattr(services, name))
        if self.app is None:
            self.app = make_app(replace(services, **self._stands))
        return self.app


booths: dict[str, Booth] = {}
"""The applications by gateway, for every run of this interpreter."""

# What of the services belongs to one life of a process.
CHANGING = ("database", "redis", "rpc", "clock", "rng", "hub", "is_ready", "limiter")


class Front:
    """A gateway's HTTP actor in a simulation: its requests run in its own nursery and die with it."""

    def __init__(self, world: World, machine: Machine, app: Any) -> None:
        self._world = world
        self._machine = machine
        self._app = app
        self._nursery: trio.Nursery | None = None
        self._is_draining = False

    async def run(self, ctx: Context[None]) -> None:
        """Answer until drained; then let what is under way finish."""
        self._is_draining = False
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                ctx.ready()
                await ctx.draining.wait()
                self._is_draining = True
        finally:
            self._nursery = None

    def open(self, exchange: Exchange) -> None:
        """Begin a request; ConnectionFailed when nobody listens."""
        if self._nursery is None or self._is_draining or self._machine.is_dead:
            raise ConnectionFailed(f"nobody listens at {self._machine.name}")
        scope = exchange.scope
        with at(self._machine):
            self._nursery.start_soon(self._answer, exchange, name=f"{scope['method']} {scope['path']}")

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        finally:
            exchange.close()
