"""A service while it is served, and one request to it on its way from the asyncio side to its handler in Trio and back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio

from contracts.errors import CodeWarzError, DeadlineExceeded, TooLarge
from contracts.ports import Handler as Answering
from edge.rpc.http2 import MESSAGE_MAX
from edge.rpc.wire import Method

_log = structlog.get_logger("rpc")


@dataclass(slots=True)
class Incoming:
    """One request as it came. ``deadline`` is on ``time.monotonic``; ``has_begun`` once a handler saw it."""

    service: Service
    method: Method
    deadline: float
    bound: Mapping[str, str]
    has_begun: bool = False

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(self.deadline - time.monotonic(), 0.0)


@dataclass(eq=False)
class Service:
    """One service while it is served. ``calls`` is the asyncio side's, the rest is Trio's."""

    name: str
    handler: Answering
    nursery: trio.Nursery
    calls: int = field(default=0)

    async def answer(self, call: Incoming, message: bytes) -> bytes:
        """Have the handler answer, in Trio, within what is left of the deadline."""
        call.has_begun = True
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**call.bound)
        request = call.method.decode_request(message)
        left_s = call.left_s
        with trio.move_on_after(left_s):
            try:
                reply = await self.handler(request, timeout=left_s)
                return self._written(call.method, reply)
            except CodeWarzError:
                raise
            except Exception as error:
                _log.exception("rpc_handler_failed", method=call.method.path)
                raise CodeWarzError(f"{self.name!r} failed on {call.method.path}: its log says why") from error
        raise DeadlineExceeded(f"{self.name!r} did not answer {call.method.path} within {left_s:g} s")

    @staticmethod
    def _written(method: Method, reply: Any) -> bytes:
        try:
            written = method.encode_reply(reply)
        except CodeWarzError as error:
            raise ValueError(error.detail) from error  # our own reply: nothing that the caller did
        if len(written) > MESSAGE_MAX:
            raise TooLarge(f"the reply to {method.path} has {len(written)} bytes, and {MESSAGE_MAX} are the most")
        return written
