"""A browser, or a script: requests to any gateway over a network that may fail, and streams of events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from chaos.simulation.cluster import Cluster
from chaos.simulation.faults import Fault
from chaos.simulation.front import Answer, ConnectionFailed, Exchange
from chaos.simulation.machine import Machine
from chaos.simulation.world import World

TIMEOUT_S = 15.0
WAN_S = (0.005, 0.06)
OVERLOADED = (503, 504)
BREAKING = (Fault.ACTOR_CRASH, Fault.BUGGIFY)  # they crash requests under way as well, and a crashed request is a 500


class Event(msgspec.Struct, frozen=True):
    """A server-sent event."""

    name: str
    id: str
    data: Any


class Browser:
    """Somebody's browser. ``token`` is an API token: no cookies, so no CSRF either."""

    def __init__(self, world: World, cluster: Cluster, name: str, token: str = "") -> None:
        self.name = name
        self._world = world
        self._cluster = cluster
        self._headers = {"Host": "codewarz"}
        self._may_break = any(world.options.has(fault) for fault in BREAKING)
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def gateway(self) -> Machine:
        """Return any gateway, as a load balancer that knows nothing would."""
        return self._world.work.choice([each for each in self._cluster.machines.values() if each.role == "gateway"])

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        at: Machine | None = None,
    ) -> Answer:
        """Send a request and return the answer; ConnectionFailed when there is none, and then nobody knows what happened."""
        world = self._world
        what = f"{method} {path}"
        with trio.move_on_after(TIMEOUT_S):
            async with self._open(method, path, body, headers or {}, at) as exchange:
                await exchange.started.wait()
                pieces = [piece async for piece in exchange.chunks]
                if exchange.head is None:
                    raise ConnectionFailed(f"{what}: the connection broke")
                if exchange.head.headers.get("content-length", str(sum(map(len, pieces)))) != str(
                    sum(map(len, pieces))
                ):
                    raise ConnectionFailed(f"{what}: the answer broke off")
                await world.clock.sleep(world.work.uniform(*WAN_S))
                if world.strikes(Fault.AMBIGUOUS, 0.03):
                    world.trace(self.name, f"✗ {what}: the answer was lost")
                    raise ConnectionFailed(f"{what}: the answer was lost")
                answer = msgspec.structs.replace(exchange.head, body=b"".join(pieces))
                world.trace(self.name, f"{what} {answer.status}")
                if answer.status >= 500 and answer.status not in OVERLOADED and not self._may_break:
                    world.violated("I8", f"{what} was answered {answer.status}: {answer.body[:200]!r}")
                return answer
        world.trace(self.name, f"✗ {what}: no answer")
        raise ConnectionFailed(f"{what}: no answer within {TIMEOUT_S:g} s")

    @asynccontextmanager
    async def stream(self, path: str, last_event_id: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        """Open a stream of events; ConnectionFailed when it cannot be had."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        async with self._open("GET", path, None, headers, None) as exchange:
            with trio.move_on_after(TIMEOUT_S):
                await exchange.started.wait()
            if exchange.head is None or exchange.head.status != 200:
                status = "no answer" if exchange.head is None else exchange.head.status
                self._world.trace(self.name, f"GET {path} {status}")
                raise ConnectionFailed(f"{path}: {status}")
            self._world.trace(self.name, f"GET {path} opened")
            yield self._events(exchange)

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: object, headers: dict[str, str], at: Machine | None
    ) -> AsyncIterator[Exchange]:
        world = self._world
        machine = at or self.gateway()
        content = b"" if body is None else msgspec.json.encode(body)
        given = self._headers | headers
        if content:
            given |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        await world.clock.sleep(world.work.uniform(*WAN_S))
        if machine.front is None or world.is_cut(self.name, machine.name) or world.strikes(Fault.ERROR, 0.01):
            raise ConnectionFailed(f"{machine.name} cannot be reached")
        exchange = Exchange(method, path, given, content, "192.0.2.1")
        machine.front.open(exchange)
        try:
            yield exchange
        finally:
            exchange.hang_up()

    async def _events(self, exchange: Exchange) -> AsyncIterator[Event]:
        world = self._world
        waiting = b""
        async for piece in exchange.chunks:
            if world.strikes(Fault.SLOW_CONSUMER, 0.3):
                await world.clock.sleep(world.work.uniform(0.5, 20.0))
            waiting += piece
            *events, waiting = waiting.split(b"\n\n")
            for text in events:
                event = _parse(text.decode())
                if event is not None:
                    yield event


def _parse(text: str) -> Event | None:
    """Read one event; None for a comment, or for a line that only says when to come again."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
    if "data" not in fields:
        return None
    return Event(fields.get("event", "message"), fields.get("id", ""), msgspec.json.decode(fields["data"]))
