"""gRPC as processes see it: any living process that serves is as good as another, and a call runs in the server's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import outcome
import trio

from chaos.simulation.faults import Fault
from chaos.simulation.world import Link, World, at
from contracts.errors import CodeWarzError, DeadlineExceeded, EdgeLost, Unavailable
from contracts.messages import PersistVerdict, Request
from contracts.ports import Handler

if TYPE_CHECKING:
    from chaos.simulation.machine import Machine

R = TypeVar("R")
CALLS_MOST = 256
FROZEN_S = 6.0  # after which callers know that a server does not answer, and prefer others


class _Server:
    """A service in one process, and the nursery that its calls run in."""

    def __init__(self, machine: Machine, handler: Handler, nursery: trio.Nursery) -> None:
        self.machine = machine
        self.handler = handler
        self.nursery = nursery
        self.calls = 0
        self.is_gone = False


class Exchange:
    """Who serves what, over all processes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.servers: dict[str, list[_Server]] = {}


class _Call:
    """A request under way."""

    def __init__(self) -> None:
        self.answer: outcome.Outcome[Any] | None = None
        self.over = trio.Event()

    def end(self, answer: outcome.Outcome[Any]) -> None:
        if self.answer is None:
            self.answer = answer
            self.over.set()


class SimulatedRpc:
    """The ``Rpc`` port of one process."""

    def __init__(self, exchange: Exchange, link: Link) -> None:
        self._exchange = exchange
        self._world = exchange.world
        self._link = link

    async def call(self, service: str, request: Request[R], *, timeout: float) -> R:
        """Send a request to any process that serves it."""
        what = _words(service, request)
        server = self._choose(service)
        way = Link(self._world, self._link.machine, server.machine.name)
        call = _Call()
        with trio.move_on_after(max(timeout, 0.0)):
            await way.there(what, loss=0.01)
            if server.is_gone:
                raise Unavailable(f"{what}: nobody listens there any more", retry_after_s=1.0)
            if server.calls >= CALLS_MOST:
                raise Unavailable(f"{service!r} has too many calls under way already", retry_after_s=1.0)
            self._begin(server, request, call, timeout)
            if self._world.strikes(Fault.DUPLICATE, 0.02):
                self._begin(server, request, _Call(), timeout)
            await call.over.wait()
            await way.back(what, loss=0.01)
            assert call.answer is not None
            return cast("R", call.answer.unwrap())
        raise DeadlineExceeded(f"{what}: no answer within {timeout:g} s")

    def _choose(self, service: str) -> _Server:
        living = self._exchange.servers.get(service, [])
        living = [each for each in living if each.machine.still_s < FROZEN_S] or living
        if not living:
            raise Unavailable(f"nobody serves {service!r} at the moment", retry_after_s=1.0)
        return living[0] if len(living) == 1 else self._world.chance.choice(living)

    def _begin(self, server: _Server, request: Request[Any], call: _Call, timeout: float) -> None:
        server.calls += 1
        with at(server.machine):
            server.nursery.start_soon(self._serve, server, request, call, timeout, name=f"rpc {type(request).__name__}")

    async def _serve(self, server: _Server, request: Request[Any], call: _Call, timeout: float) -> None:
        """Answer in the server's process; whoever asked may be gone by then."""
        try:
            with trio.move_on_after(timeout):
                answer = await server.handler(request, timeout=timeout)
                if answer is None and isinstance(request, PersistVerdict):
                    self._world.saw("stale_verdict")
                call.end(outcome.Value(answer))
                return
            call.end(outcome.Error(DeadlineExceeded("the handler took too long")))
        except CodeWarzError as error:
            call.end(outcome.Error(error))
        finally:
            server.calls -= 1
            call.end(outcome.Error(EdgeLost("the server went away in the middle")))

    @asynccontextmanager
    async def serve(self, service: str, handler: Handler) -> AsyncIterator[None]:
        """Answer a service's requests during the block."""
        async with trio.open_nursery() as nursery:
            server = _Server(self._link.machine, handler, nursery)
            living = self._exchange.servers.setdefault(service, [])
            living.append(server)
            try:
                yield
            finally:
                living.remove(server)
                server.is_gone = True
                nursery.cancel_scope.cancel()


def _words(service: str, request: Request[Any]) -> str:
    """Return a request for the trace, with the submission that it is about."""
    about = getattr(request, "submission_id", "") or ""
    return f"{service}.{type(request).__name__} {about}".rstrip()
