"""What a broker's URL may say: ``amqp://user:password@host:port/vhost``, or ``amqps://…?cafile=…`` with the certificate and the host's name verified."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from yarl import URL

from contracts.errors import FieldError, Invalid

PORTS = {"amqp": 5672, "amqps": 5671}  # IANA's
FORM = "it must be amqp://user:password@host:port/vhost or amqps://…"
HEARTBEAT_S = 3  # RabbitMQ advises against less than 5 on slow networks; ours is the same rack, and a silent death must be known within 10 s


@dataclass(frozen=True)
class Address:
    """Where RabbitMQ is and who we are there. Its text is without the password."""

    host: str
    port: int
    vhost: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL; Invalid when it is none of ours, or its ``cafile`` cannot be read."""
        try:
            split = urlsplit(url)
            port = split.port
        except ValueError:
            raise _invalid(FORM) from None  # its text may be a part of the password
        if "@" in split.path + split.query + split.fragment:
            raise _invalid(f"in a password, write / as %2F, # as %23, ? as %3F and @ as %40: {FORM}")
        if split.scheme not in PORTS or not split.hostname or split.fragment:
            raise _invalid(FORM)
        options = dict(parse_qsl(split.query, keep_blank_values=True))
        cafile = options.pop("cafile", None)
        if options or (cafile is not None and split.scheme != "amqps"):
            raise _invalid("its only option is cafile, with amqps")
        return cls(
            host=split.hostname,
            port=port or PORTS[split.scheme],
            vhost=unquote(split.path[1:]) or "/",
            user=unquote(split.username or "guest"),
            password=unquote(split.password or "guest"),
            tls=_context(cafile) if split.scheme == "amqps" else None,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}{self.vhost if self.vhost.startswith('/') else '/' + self.vhost}"

    def driver_url(self) -> URL:
        """Return it as the driver reads it; the driver shows it without the password."""
        return URL.build(
            scheme="amqps" if self.tls else "amqp",
            user=self.user,
            password=self.password,
            host=self.host,
            port=self.port,
            path="/" if self.vhost == "/" else "/" + self.vhost.replace("/", "%2F"),
            query={"heartbeat": str(HEARTBEAT_S)},
        )


def _context(cafile: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:
        raise _invalid(f"cafile {cafile!r} cannot be used: {error}") from error


def _invalid(why: str) -> Invalid:
    detail = f"the broker's URL is not right: {why}"
    return Invalid(detail, errors=(FieldError(pointer="/broker_url", detail=why),))
