"""One connection to a Redis server by redis-py: where it is, how it is opened, what is written and read. Everything here runs on the asyncio side.

redis-py connects, encrypts and parses. Logging in, batches, deadlines and reconnecting are ours (``redis_line``, ``redis_subscription``): its client would send
one command at a time, and its own repetitions of a command whose outcome is unknown could do it twice.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError as DriverError

from contracts.errors import CodeWarzError, Invalid, Unavailable
from contracts.ports import RedisReply
from edge.deadline import timeout
from edge.redis_error import RETRY_AFTER_S, RedisError, meaning
from edge.redis_words import packed

PORT = 6379
CA_OPTION = "ssl_ca_certs"

# Whatever a connection that ends may raise: redis-py's own errors, the socket's, a deadline's, and ValueError where somebody does not speak Redis's protocol.
LOSSES = (DriverError, OSError, TimeoutError, ValueError)


@dataclass(frozen=True)
class Address:
    """Where a server is and how to log in. Its text has no password in it."""

    host: str
    port: int
    database: int
    username: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(repr=False)

    def __str__(self) -> str:
        return f"redis at {self.host}:{self.port}"


def address_of(url: str) -> Address:
    """Read ``redis://user:password@host:port/0`` or ``rediss://…?ssl_ca_certs=file``; raise Invalid, which does not repeat the password, for anything else.

    With ``ssl_ca_certs`` only certificates of that authority are taken, else those that the system trusts; the host's name is verified in both cases.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        database = int(parts.path.strip("/") or "0")
    except ValueError:
        raise _bad() from None  # its text may be a part of the password
    if "@" in parts.query:
        raise _bad()
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.fragment or database < 0:
        raise _bad()
    tls = None
    if parts.scheme == "rediss":
        [authority] = options.pop(CA_OPTION, [""])[-1:]
        try:
            tls = ssl.create_default_context(cafile=authority or None)
        except OSError as exc:
            raise Invalid(f"the redis URL names {authority!r} for {CA_OPTION}, which cannot be read: {exc}") from exc
    if options:
        raise Invalid(f"the redis URL has options that nobody knows: {', '.join(sorted(options))}")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(parts.hostname, port, database, username, password, tls)


def _bad() -> Invalid:
    return Invalid(
        "the redis URL cannot be read: write redis://user:password@host:port/0, or rediss:// for TLS; in a password, / as %2F, # as %23, ? as %3F"
    )


class _Parser(_AsyncHiredisParser):
    """redis-py's parser around hiredis, with error replies as our own errors, word for word and as values.

    Some of its own classes would be raised in the middle of a reply.
    """

    @classmethod
    def parse_error(cls, response: str) -> RedisError:
        return RedisError(response.removeprefix("-"))


class Wire:
    """An open connection. Replies come in the order of what was sent, so whoever loses count must close it."""

    def __init__(self, address: Address, connect_s: float) -> None:
        made: Any = SSLConnection if address.tls is not None else Connection
        # No timeout of redis-py's: they would be measured for each reply, and ours are per command. No name either: that costs a trip.
        connection = made(
            host=address.host,
            port=address.port,
            protocol=2,
            parser_class=_Parser,
            socket_timeout=None,
            socket_connect_timeout=connect_s,
            driver_info=None,
        )
        if address.tls is not None:
            connection.ssl_context.context = address.tls  # made once, and with one authority where the URL names one
        self._connection: Any = connection

    @classmethod
    async def open(cls, address: Address, connect_s: float) -> Self:
        """Connect and log in within ``connect_s`` seconds. Raises Unavailable, also when the server refuses the password or the database."""
        wire = cls(address, connect_s)
        try:
            async with timeout(connect_s):
                await wire._connection.connect()
                await wire._log_in(address)
        except TimeoutError as exc:
            await wire.close()
            raise Unavailable(f"{address} did not answer within {connect_s:g} s", retry_after_s=1.0) from exc
        except LOSSES as exc:
            await wire.close()
            raise Unavailable(f"{address} cannot be reached: {exc}", retry_after_s=1.0) from exc
        except BaseException:
            await wire.close()
            raise
        return wire

    async def _log_in(self, address: Address) -> None:
        commands: list[Sequence[str | int]] = []
        if address.password:
            commands.append(["AUTH", *([address.username] if address.username else []), address.password])
        if address.database:
            commands.append(["SELECT", address.database])
        await self.send([packed(words) for words in commands])
        replies = [await self.read() for _ in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise refused(reply, address)

    async def send(self, commands: Sequence[bytes]) -> None:
        """Write packed commands, and wait while the server is slow to take them."""
        if commands:
            await self._connection.send_packed_command(commands, check_health=False)

    async def read(self) -> RedisReply:
        """Return the next reply; an error reply is a value too (RedisError)."""
        return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)

    async def close(self) -> None:
        """Close at once: nothing that was not sent yet is sent any more, and nobody waits for the other side."""
        writer = self._connection._writer  # noqa: SLF001 - closing it would go on sending, for as long as a frozen server takes nothing
        if writer is not None:
            writer.transport.abort()
        await self._connection.disconnect(nowait=True)


def refused(reply: RedisError, address: Address) -> CodeWarzError:
    """Return what a refused login or subscription means: nothing happened, and it is waited for until the URL, or the server, is mended."""
    error = meaning(reply.detail)
    if isinstance(error, RedisError):
        return Unavailable(f"{address} refuses what its URL says: {reply.detail}", retry_after_s=RETRY_AFTER_S)
    return error


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what ended a task group first: whatever came after is a consequence."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
