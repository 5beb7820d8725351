"""The setting ``CODEWARZ_RPC`` as data: ``grpc://:SECRET@HOST:PORT?core=HOST:PORT,HOST:PORT&leaderboard=HOST:PORT&judge=HOST:PORT``.

HOST:PORT is where this process answers for what it serves, and may be missing; the query says where services are found. ``grpcs://`` encrypts, with
``ca`` (who vouches for the servers; by default the system's authorities), and ``cert`` and ``key`` of this process when it serves. The password is the
secret that the processes of a cluster share, apart from judges: what escapes from a sandbox must not be able to ask for whatever a gateway may. Theirs is
another one, their URL's password, and ``judge_secret=SECRET`` in the query of everybody else's. Without ``judge_secret`` judges are asked, and may ask, as all.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from contracts.errors import Invalid
from edge.rpc.wire import SERVICES

ADDRESSES_MAX = 64  # of one service
FILES = ("ca", "cert", "key")
JUDGE = "judge"  # the service that judges answer for
JUDGE_SECRET = "judge_secret"  # noqa: S105 - its name in the query
SHAPE = "write grpc://HOST:PORT?core=HOST:PORT&leaderboard=HOST:PORT&judge=HOST:PORT"
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[0-9A-Za-z._-]+)):(?P<port>[0-9]{1,5})\Z")
_SECRET = re.compile(r"[!-~]{1,512}\Z")


@dataclass(frozen=True)
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class RpcUrl:
    """All that ``CODEWARZ_RPC`` says. The secrets are in no repr."""

    listen: Address | None = None
    services: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    judge_secret: str = field(default="", repr=False)
    is_encrypted: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(cls, text: str) -> RpcUrl:
        """Read the setting; Invalid, with one line that does not repeat the secret."""
        try:
            parts = urlsplit(text)
        except ValueError:
            _refuse(SHAPE)
        if parts.scheme not in ("grpc", "grpcs"):
            _refuse(f"its scheme is neither grpc nor grpcs: {SHAPE}")
        if "@" in parts.query:
            _refuse(f"an @ has no meaning behind a ? (in the secret, write ? as %3F and @ as %40): {SHAPE}")
        if parts.path not in ("", "/") or parts.fragment:
            _refuse(
                f"a path or a fragment has no meaning here (in the secret, write / as %2F, # as %23, ? as %3F): {SHAPE}"
            )
        services, files, judge_secret = _query(parts, is_encrypted=parts.scheme == "grpcs")
        listen, secret = _authority(parts)
        if judge_secret and judge_secret == secret:
            _refuse(f"{JUDGE_SECRET} is the secret of all the others: judges need one of their own")
        if (files["cert"] is None) != (files["key"] is None):
            _refuse("cert and key belong together")
        if parts.scheme == "grpcs" and listen is not None and files["cert"] is None:
            _refuse("to serve with grpcs it needs cert=FILE and key=FILE")
        return cls(listen, services, secret, judge_secret, parts.scheme == "grpcs", **files)

    def secret_for(self, name: Address) -> str:
        """Return the secret that is shown at an address: where only judges answer it is theirs, as they must not learn the other."""
        serves = {service for service, addresses in self.services.items() if name in addresses}
        return self.judge_secret if self.judge_secret and serves == {JUDGE} else self.secret

    def server_context(self) -> ssl.SSLContext | None:
        """Return what a server encrypts with, None for clear text; Invalid when a file cannot be used."""
        if not self.is_encrypted or self.cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _loaded("cert or key", lambda: context.load_cert_chain(str(self.cert), str(self.key)))
        return _for_http2(context)

    def client_context(self) -> ssl.SSLContext | None:
        """Return what a client verifies servers with, names included; None for clear text. Invalid when a file cannot be used."""
        if not self.is_encrypted:
            return None
        context = ssl.create_default_context()
        if self.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            _loaded("ca", lambda: context.load_verify_locations(str(self.ca)))
        return _for_http2(context)


def _query(
    parts: SplitResult, *, is_encrypted: bool
) -> tuple[dict[str, tuple[Address, ...]], dict[str, Path | None], str]:
    services: dict[str, tuple[Address, ...]] = {}
    files: dict[str, Path | None] = dict.fromkeys(FILES)
    judge_secret = ""
    for name, value in parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True):
        if name in services or files.get(name) is not None or (name == JUDGE_SECRET and judge_secret):
            _refuse(f"{name} is said twice: put its addresses between commas")
        if name in SERVICES:
            services[name] = _addresses(name, value)
        elif name == JUDGE_SECRET:
            judge_secret = _secret(value, JUDGE_SECRET)
            if not judge_secret:
                _refuse(f"{JUDGE_SECRET} is empty")
        elif name not in FILES:
            _refuse(f"{name[:40]!r} is none of {', '.join((*SERVICES, *FILES, JUDGE_SECRET))}")
        elif not is_encrypted:
            _refuse(f"{name} needs grpcs://")
        elif not value:
            _refuse(f"{name} names no file")
        else:
            files[name] = Path(value)
    return services, files, judge_secret


def _addresses(service: str, value: str) -> tuple[Address, ...]:
    texts = value.split(",")
    if len(texts) > ADDRESSES_MAX:
        _refuse(f"{service} has more than {ADDRESSES_MAX} addresses")
    return tuple(_address(each, service) for each in texts)


def _address(text: str, of: str) -> Address:
    found = _ADDRESS.match(text)
    if found is None or int(found["port"]) > 65_535:
        _refuse(f"{text[:80]!r} is no address of {of}: write HOST:PORT")
    return Address(found["six"] or found["host"], int(found["port"]))


def _authority(parts: SplitResult) -> tuple[Address | None, str]:
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    if name:
        _refuse("it has a user's name: the secret goes behind a colon, as in grpc://:SECRET@HOST:PORT")
    secret = _secret(unquote(password), "the secret")
    if not host:
        return None, secret
    found = _ADDRESS.match(host)
    if found is None or int(found["port"]) > 65_535:
        _refuse(f"the address to serve at cannot be read: {SHAPE}")  # not repeated: it may be half a secret
    return Address(found["six"] or found["host"], int(found["port"])), secret


def _secret(value: str, what: str) -> str:
    if value and not _SECRET.match(value):
        _refuse(f"{what} must be at most 512 printable ASCII characters without spaces")
    return value


def _loaded(what: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"CODEWARZ_RPC: {what} cannot be used ({error})") from error


def _for_http2(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a handshake is work, and each connection has one
    context.set_alpn_protocols(["h2"])
    return context


def _refuse(why: str) -> NoReturn:
    raise Invalid(f"CODEWARZ_RPC: {why}") from None  # what came before it may say a part of the secret
