"""Where a PostgreSQL is and how it is spoken to, read from a URL. The password is in no repr and in no error."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from contracts.errors import Invalid

PORT = 5432
_FORM = "write postgresql://user:password@host:port/database"
_MODES = ("disable", "verify-full")


@dataclass(frozen=True)
class Address:
    """One database of one server. ``tls`` is None for a connection in clear; otherwise certificate and host name are verified."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``postgresql://user:password@host:port/database``, with ``?sslmode=verify-full`` (and ``&sslrootcert=file``, else the system's authorities).

        Without ``sslmode`` the connection is in clear. The modes that encrypt and verify nobody are refused: whoever can listen can also answer. Raises Invalid
        with one line that says what is wrong.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or PORT
        except ValueError:
            raise Invalid(f"the database's URL cannot be read: {_FORM}") from None  # its text may be the password
        if "@" in parts.path + parts.query + parts.fragment:
            raise Invalid(
                f"the database's URL cannot be read (in a password, write / as %2F, # as %23, ? as %3F, @ as %40): {_FORM}"
            )
        if parts.scheme != "postgresql":
            raise Invalid(f"the database's URL has the scheme {parts.scheme!r}: {_FORM}")
        database = unquote(parts.path.removeprefix("/"))
        if not (parts.hostname and parts.username and database) or "/" in database or parts.fragment:
            raise Invalid(f"the database's URL must name a user, a host and a database, and no more: {_FORM}")
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname, port, unquote(parts.username), password, database, _tls(parts))


def _tls(parts: SplitResult) -> ssl.SSLContext | None:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    mode, authority = options.pop("sslmode", "disable"), options.pop("sslrootcert", None)
    if options:
        raise Invalid(
            f"the database's URL has an option that is not known here: {min(options)!r} (known: sslmode, sslrootcert)"
        )
    if mode not in _MODES:
        raise Invalid(f"sslmode={mode} verifies nobody, or not enough: write one of {', '.join(_MODES)}")
    if mode == "disable":
        if authority is not None:
            raise Invalid("the database's URL has an sslrootcert and no sslmode=verify-full: nothing would be verified")
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as exc:
        raise Invalid(f"sslrootcert {authority} cannot be used ({exc.strerror or exc}): name a PEM file") from exc
