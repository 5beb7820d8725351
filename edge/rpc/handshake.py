"""A client's connection from its first byte on: in its TLS handshake, and as TLS after that.

asyncio tells a protocol of a connection when the handshake is done, and counts none before. Here it is told at once, so that whoever begins a handshake and
does not end it is a stranger like any other, who can be sent away.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import cast

BYTES_MAX = (
    64 * 1024
)  # that a handshake may bring: a hello has some 500, and with a chain of certificates some thousands


class Arrivals(asyncio.Protocol):
    """A protocol that hears of a connection before it is encrypted."""

    @abstractmethod
    def arrive(self, cut: Callable[[], None]) -> None:
        """Hear that somebody is there; ``cut`` sends them away at once."""

    @abstractmethod
    def depart(self) -> None:
        """Hear that they are gone, with their handshake done (after ``connection_lost``, or before) or not."""


class Handshake(SSLProtocol):
    """asyncio's TLS in front of ``protocol``, as ``create_server(ssl=…)`` has it; bounded in time by ``seconds`` and in bytes by ``BYTES_MAX``."""

    def __init__(self, protocol: Arrivals, context: ssl.SSLContext, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = loop.create_future()
        self._done.add_done_callback(_seen)
        super().__init__(loop, protocol, context, self._done, server_side=True, ssl_handshake_timeout=seconds)  # type: ignore[arg-type]  # any number
        self._arrivals = protocol
        self._bytes = 0
        self._raw: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._raw = cast("asyncio.Transport", transport)
        self._arrivals.arrive(self._raw.abort)
        if not self._raw.is_closing():
            super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came. What comes with the handshake's last bytes is not counted to it."""
        super().buffer_updated(nbytes)
        if not self._done.done():
            self._bytes += nbytes
            if self._bytes > BYTES_MAX:
                self._raw.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, at whatever point."""
        super().connection_lost(exc)
        self._arrivals.depart()


def _seen(done: asyncio.Future[None]) -> None:
    """A handshake that failed is the stranger's affair."""
    if not done.cancelled():
        done.exception()
