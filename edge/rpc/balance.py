"""Which server answers a call: the addresses of a service, which of them are up, and whose turn it is.

Rule 1: a call goes to an address that is up, in turn. It never waits for one that is being connected to while another is up.
Rule 2: an address that cannot be reached is left out for a pause that doubles from ``PAUSE_FIRST_S`` to ``PAUSE_MAX_S``, then asked again when a call comes.
Rule 3: a call that did not begin anywhere (refused, not sent, or the server says so) goes to the next address; one that may have begun is never repeated here.
Rule 4: a name stands for all the addresses that it resolves to. It is asked again when it is older than ``NAME_S``, and sooner when an address failed.
Rule 5: nothing here runs by itself, apart from the pulse of connections that are open: without calls nothing is resolved and nothing connected.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from contracts.errors import CodeWarzError, DeadlineExceeded, Unavailable
from edge.deadline import timeout
from edge.rpc.client import Call, Connection
from edge.rpc.failures import NotBegun
from edge.rpc.http2 import CLOSE_S
from edge.rpc.url import ADDRESSES_MAX, Address, RpcUrl

PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 1.0
NAME_S = 30.0
NAME_AGAIN_S = 1.0  # after a failure, at most so often
RESOLVE_S = 5.0
SHORT_S = 1.0  # a connection that ended sooner counts as one that could not be made

_log = structlog.get_logger("rpc")

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the numbers that a name stands for, in the resolver's order; OSError when it stands for none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))[:ADDRESSES_MAX]


class Endpoint:
    """One address of one name, and its connection if it has one."""

    def __init__(self, address: Address, name: Address, side: Side, failed: Callable[[], None]) -> None:
        self.who = str(address) if address.host == name.host else f"{name} ({address.host})"
        self.connection: Connection | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.error = ""
        self._address = address
        self._name = name
        self._side = side
        self._tell_failed = failed
        self._failures = 0
        self._again_at = 0.0
        self._began_at = 0.0

    @property
    def pause_s(self) -> float:
        """Seconds until it may be tried again."""
        return max(self._again_at - time.monotonic(), 0.0)

    def wake(self) -> None:
        """Begin to connect, unless it is connected, connecting or left out for now."""
        if self.connection is None and self.attempt is None and not self.pause_s:
            self.attempt = self._side.spawn(self._connect())

    def drop(self) -> None:
        """Close the connection when its calls have ended; the name does not stand for this address any more."""
        self._again_at = float("inf")
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.retire()

    def shut(self) -> None:
        """Close the connection; its calls fail with EdgeLost."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.shut()

    async def _connect(self) -> None:
        connection = Connection(self.who, self._side.fixed(self._name), self._ended)
        connections = self._side.connections
        try:
            await connection.open(self._address, self._name.host, self._side.context)
        except OSError as error:
            self._failed(f"{self.who} cannot be reached ({error})")
            return
        finally:
            self.attempt = None
        if connection.is_ended:
            self._failed(f"{self.who} closed the connection at once")
            return
        connections.add(connection)
        connection.lost.add_done_callback(lambda _: connections.discard(connection))
        if self._failures:
            _log.info("rpc_peer_up", peer=self.who)
        self.connection = connection
        self._began_at = time.monotonic()

    def _ended(self, connection: Connection) -> None:
        if self.connection is not connection:
            return
        self.connection = None
        if time.monotonic() - self._began_at < SHORT_S:
            self._failed(f"{self.who} closed the connection soon ({connection.reason})")
        else:
            self._failures = 0

    def _failed(self, error: str) -> None:
        if not self._failures:
            _log.warning("rpc_peer_down", peer=self.who, error=error)
        self.error = error
        pause_s = min(PAUSE_FIRST_S * 2 ** min(self._failures, 10), PAUSE_MAX_S)
        self._failures += 1
        self._again_at = time.monotonic() + pause_s * random.uniform(0.75, 1.0)  # noqa: S311 - so that not all come at once
        self._tell_failed()


class Target:
    """One ``HOST:PORT`` of the setting: an address, or a name that stands for some."""

    def __init__(self, name: Address, side: Side) -> None:
        self._name = name
        self._side = side
        self._endpoints: dict[str, Endpoint] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self._has_failed = False
        self.error = ""
        self._is_number = _is_number(name.host)
        if self._is_number:
            self._endpoints[name.host] = Endpoint(name, name, side, self.failed)

    async def endpoints(self) -> list[Endpoint]:
        """Return the addresses that it stands for, none when that is not known."""
        if not self._is_number:
            age_s = time.monotonic() - self._asked_at
            is_due = age_s > NAME_S or (age_s > NAME_AGAIN_S and (self._has_failed or not self._endpoints))
            if is_due and self._refreshing is None:
                self._refreshing = self._side.spawn(self._refresh())
            if not self._endpoints and self._refreshing is not None:
                await asyncio.wait((self._refreshing,))
        return list(self._endpoints.values())

    def failed(self) -> None:
        """Hear that an address failed: the name may stand for others by now."""
        self._has_failed = True

    def shut(self) -> None:
        """Close every connection."""
        for each in self._endpoints.values():
            each.shut()

    async def _refresh(self) -> None:
        try:
            async with timeout(RESOLVE_S):
                found = await resolve(self._name.host, self._name.port)
        except OSError as error:  # TimeoutError is one; what was known stays known
            self.error = f"the name {self._name.host} cannot be resolved ({error})"
            _log.warning("rpc_name_unknown", name=self._name.host, error=str(error))
        else:
            for gone in self._endpoints.keys() - set(found):
                self._endpoints.pop(gone).drop()
            for new in found:
                if new not in self._endpoints:
                    self._endpoints[new] = Endpoint(Address(new, self._name.port), self._name, self._side, self.failed)
        finally:
            self._asked_at = time.monotonic()
            self._has_failed = False
            self._refreshing = None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Side:
    """What every endpoint needs of the process: where its tasks live, how it encrypts, and what it says of itself in each call."""

    def __init__(self, url: RpcUrl, context: ssl.SSLContext | None, spawn: Spawn) -> None:
        self.context = context
        self.connections: set[Connection] = set()  # open, used or retired
        self.spawn = spawn
        self._scheme = "https" if context is not None else "http"
        self._url = url

    def fixed(self, name: Address) -> list[tuple[str, str]]:
        """Return the headers that every call to a server of this name has."""
        headers = [
            (":scheme", self._scheme),
            (":authority", str(name)),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "codewarz"),
        ]
        secret = self._url.secret_for(name)
        if secret:
            headers.append(("authorization", f"Bearer {secret}"))
        return headers


class Balance:
    """Calls to services at their addresses."""

    def __init__(self, url: RpcUrl, context: ssl.SSLContext | None, spawn: Spawn) -> None:
        side = self._side = Side(url, context, spawn)
        names = {each for addresses in url.services.values() for each in addresses}
        self._targets = {name: Target(name, side) for name in names}
        self._services: Mapping[str, list[Target]] = {
            service: [self._targets[each] for each in dict.fromkeys(addresses)]
            for service, addresses in url.services.items()
        }
        self._turn = 0
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Balance {' '.join(map(str, self._targets))}>"

    async def close(self) -> None:
        """Close every connection; calls under way fail with EdgeLost."""
        self._is_closed = True
        for each in self._targets.values():
            each.shut()
        lost = [each.lost for each in self._side.connections]
        if lost:
            await asyncio.wait(lost, timeout=2 * CLOSE_S)

    async def unary(self, service: str, call: Call) -> bytes:
        """Return the reply's message, or raise what the server said; Unavailable, DeadlineExceeded, EdgeLost."""
        targets = self._services.get(service)
        if targets is None:
            raise Unavailable(f"CODEWARZ_RPC names no address of {service!r}")
        try:
            async with timeout(call.left_s):
                return await self._somewhere(service, targets, call)
        except TimeoutError as error:
            if call.is_sent:
                raise DeadlineExceeded(f"{service!r} did not answer {call.path} in time") from error
            raise Unavailable(f"{service!r} could not be reached in time for {call.path}", retry_after_s=1.0) from error

    async def _somewhere(self, service: str, targets: list[Target], call: Call) -> bytes:
        tried: set[Endpoint] = set()
        last: CodeWarzError | None = None
        while True:
            connection = await self._next(service, targets, tried, last)
            try:
                return await connection.unary(call)
            except NotBegun as error:
                last = error.error

    async def _next(
        self, service: str, targets: list[Target], tried: set[Endpoint], last: CodeWarzError | None
    ) -> Connection:
        """Return the connection whose turn it is, of those that this call has not tried; Unavailable when there is none."""
        while True:
            if self._is_closed:
                raise Unavailable("the rpc edge of this process is closed", retry_after_s=1.0)
            endpoints = [each for target in targets for each in await target.endpoints() if each not in tried]
            for each in endpoints:
                each.wake()
            up = [each for each in endpoints if each.connection is not None]
            chosen = self._choose(up)
            if chosen is not None:
                tried.add(chosen)
                assert chosen.connection is not None
                return chosen.connection
            attempts = [each.attempt for each in endpoints if each.attempt is not None]
            if not attempts:
                raise last or self._nobody(service, targets, endpoints)
            await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)

    def _choose(self, up: list[Endpoint]) -> Endpoint | None:
        well = [each for each in up if each.connection is not None and not each.connection.is_suspect]
        those = well or up
        self._turn += 1
        return those[self._turn % len(those)] if those else None

    @staticmethod
    def _nobody(service: str, targets: list[Target], endpoints: list[Endpoint]) -> Unavailable:
        reasons = [each.error for each in targets] + [each.error for each in endpoints]
        again_s = min((each.pause_s for each in endpoints), default=1.0)
        return Unavailable(
            f"no server of {service!r} can be reached: {'; '.join(filter(None, reasons)) or 'none is known'}",
            retry_after_s=max(again_s, 0.1),
        )
