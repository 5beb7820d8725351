"""Requests to services in other processes: the ``Rpc`` port over gRPC, on the asyncio loop beside Trio.

Rule 1: a caller learns the truth. Unavailable: nothing happened; DeadlineExceeded and EdgeLost: the outcome is unknown; anything else is the service's word.
Rule 2: what crosses between the threads is bytes. Structs are written and read in Trio.
Rule 3: services are served for as long as their blocks last, whether this edge is open or not: when it is opened again, they are there again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar, cast

import trio

from contracts.errors import NotFound, TooLarge, Unavailable
from contracts.messages import Request
from contracts.ports import Handler
from edge.aio import AsyncioLoop
from edge.rpc import context
from edge.rpc.balance import Balance
from edge.rpc.client import Call
from edge.rpc.http2 import MESSAGE_MAX
from edge.rpc.server import Server
from edge.rpc.service import Service
from edge.rpc.url import RpcUrl
from edge.rpc.wire import METHODS

R = TypeVar("R")


class GrpcRpc:
    """The port. Use as ``async with``, again and again if need be; calls outside of the block are Unavailable.

    Takes ``CODEWARZ_RPC`` or what was parsed of it, and the loop, which must outlast it. Raises Invalid when a file of the URL cannot be used; entering
    it raises Unavailable when its address cannot be had, and never because a service is away.
    """

    def __init__(self, url: str | RpcUrl, aio: AsyncioLoop) -> None:
        self.url = RpcUrl.parse(url) if isinstance(url, str) else url
        self.port = self.url.listen.port if self.url.listen is not None else 0
        self._aio = aio
        self._contexts = self.url.server_context(), self.url.client_context()
        self._services: dict[str, Service] = {}
        self._inside: _Inside | None = None
        self._home: AbstractAsyncContextManager[trio.Nursery] | None = None

    def __repr__(self) -> str:
        listen = f"{self.url.listen.host}:{self.port}" if self.url.listen is not None else "no address"
        return f"<GrpcRpc {'open' if self._inside else 'closed'} at {listen} serves={','.join(self._services) or '-'}>"

    async def __aenter__(self) -> Self:
        if self._home is not None:
            raise RuntimeError("this edge is open already: its former incarnation has not ended")
        # By hand, so that an error of the block leaves it as it is, not in a group.
        self._home = trio.open_nursery()
        nursery = await self._home.__aenter__()
        try:
            await nursery.start(self._hold)
        except BaseException:
            await self._leave(nursery)
            raise
        self._nursery = nursery
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave(self._nursery)

    async def _leave(self, nursery: trio.Nursery) -> None:
        home, self._home, self._inside = self._home, None, None
        assert home is not None
        nursery.cancel_scope.cancel()
        await home.__aexit__(None, None, None)

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep the asyncio side alive."""
        inside = _Inside(self._aio, self.url, self._services, self._contexts)

        def started() -> None:
            self.port = inside.port or self.port
            self._inside = inside
            task_status.started()

        try:
            await self._aio.call(inside.run, started)
        finally:
            self._inside = None

    async def call(self, service: str, request: Request[R], *, timeout: float) -> R:
        """Return the reply; raises what the service answered with, Unavailable, DeadlineExceeded, EdgeLost, and TooLarge above ``MESSAGE_MAX``."""
        method = METHODS.get((service, type(request)))
        inside = self._inside
        if method is None or inside is None:
            await trio.lowlevel.checkpoint()
            if method is None:
                raise NotFound(f"{service!r} has no answer to a {type(request).__name__}")
            raise Unavailable("the rpc edge of this process is closed", retry_after_s=1.0)
        deadline = time.monotonic() + timeout
        body = method.encode_request(request)
        if len(body) > MESSAGE_MAX:
            raise TooLarge(f"{method.path} of {len(body)} bytes, where {MESSAGE_MAX} are the most")
        call = Call(method.path, body, context.outgoing(), deadline)
        reply = await self._aio.call(inside.balance.unary, service, call)
        return cast("R", method.decode_reply(reply))

    @asynccontextmanager
    async def serve(self, service: str, handler: Handler) -> AsyncIterator[None]:
        """Answer the service's requests during the block; its end fails the calls under way. Serving one twice is a RuntimeError."""
        if service in self._services:
            raise RuntimeError(f"{service!r} is served already: its former incarnation has not ended")
        home = trio.open_nursery()  # by hand, as above
        nursery = await home.__aenter__()
        self._services[service] = Service(service, handler, nursery)
        try:
            yield
        finally:
            del self._services[service]
            nursery.cancel_scope.cancel()
            await home.__aexit__(None, None, None)


class _Inside:
    """The asyncio side of one incarnation."""

    def __init__(
        self,
        aio: AsyncioLoop,
        url: RpcUrl,
        services: dict[str, Service],
        contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None],
    ) -> None:
        self._aio = aio
        self._url = url
        self._services = services
        self._contexts = contexts
        self.port = 0
        self.balance: Balance
        self.server: Server

    async def run(self, started: Callable[[], None]) -> None:
        """Serve and connect until cancelled."""
        server_context, client_context = self._contexts
        failed: Unavailable | None = None
        async with asyncio.TaskGroup() as group:
            self.balance = Balance(self._url, client_context, group.create_task)
            self.server = Server(self._aio, self._services, self._url, group)
            try:
                if self._url.listen is not None:
                    self.port = await self.server.listen(self._url.listen, server_context)
                self._aio.post_to_trio(started)
                await asyncio.Event().wait()
            except Unavailable as error:
                failed = error  # raised below: from in here it would come in a group
            finally:
                await self.balance.close()
                await self.server.close()
        if failed is not None:
            raise failed
