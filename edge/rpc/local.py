"""Requests to services in this process: a direct call.

Rule 1: messages are not copied. They are frozen, so nobody can tell.
Rule 2: a caller learns the truth: no service, Unavailable (nothing happened); no answer in time, DeadlineExceeded; the service left in the middle, EdgeLost.
Rule 3: what the handler raises reaches the caller unchanged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import trio

from contracts.errors import DeadlineExceeded, EdgeLost, Unavailable
from contracts.messages import Request
from contracts.ports import Handler

R = TypeVar("R")
CALLS_MAX = 1024  # under way per service, as a gRPC server bounds its concurrent streams


class _Served:
    """One service and the calls under way in it."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.calls: set[trio.CancelScope] = set()
        self.is_gone = False


class LocalRpc:
    """The ``Rpc`` port without a wire: the handler runs in its caller's task, under the caller's deadline."""

    def __init__(self, *, calls_max: int = CALLS_MAX) -> None:
        self._services: dict[str, _Served] = {}
        self._calls_max = calls_max

    def __repr__(self) -> str:
        return f"<LocalRpc {' '.join(f'{name}={len(each.calls)}' for name, each in self._services.items())}>"

    async def call(self, service: str, request: Request[R], *, timeout: float) -> R:
        """Return the reply, or raise what the service raised, DeadlineExceeded, Unavailable or EdgeLost."""
        await trio.lowlevel.checkpoint()
        served = self._services.get(service)
        if served is None:
            raise Unavailable(f"nobody serves {service!r} at the moment", retry_after_s=1.0)
        if len(served.calls) >= self._calls_max:
            raise Unavailable(f"{service!r} has {self._calls_max} calls under way already", retry_after_s=1.0)
        with trio.move_on_after(max(timeout, 0.0)) as scope:
            served.calls.add(scope)
            try:
                return cast("R", await served.handler(request, timeout=timeout))
            finally:
                served.calls.discard(scope)
        if served.is_gone:
            raise EdgeLost(f"{service!r} stopped while it answered a {type(request).__name__}")
        raise DeadlineExceeded(f"{service!r} did not answer a {type(request).__name__} within {timeout:g} s")

    @asynccontextmanager
    async def serve(self, service: str, handler: Handler) -> AsyncIterator[None]:
        """Answer the service's requests during the block; its end fails the calls under way. Serving one twice is a RuntimeError."""
        if service in self._services:
            raise RuntimeError(f"{service!r} is served already: its former incarnation has not ended")
        served: _Served = _Served(handler)
        self._services[service] = served
        try:
            yield
        finally:
            del self._services[service]
            served.is_gone = True
            for scope in tuple(served.calls):
                scope.cancel()
