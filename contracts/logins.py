"""Who may touch what in PostgreSQL: a login for each role that uses the database, and what it may do with every table.

Rule 1: what is not written down here is refused. A table that a migration adds needs a line in ``TABLES``; columns that only some of its readers need are
        named one by one, so that a new column of such a table is nobody's until somebody says so.
Rule 2: no login here may change the schema, and none owns anything. The schema's owner migrates, and nothing that serves people knows its password.
Rule 3: only core writes, and to logs (``verdicts``, ``rejudgings``, ``audit_log``) it can only add.

Gateways read password hashes, for they check passwords when somebody signs in, and programs, for they show them to whose they are. They read no refresh tokens
and no packages, in which a problem's secret tests are. Leaderboards read what boards are folded from, and none of these; gateways that as well,
for `codewarz board verify` may ask their processes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

PASSWORD_LEAST = 16  # characters: whoever reaches the server may try as often as they like
PASSWORD_MOST = 256
_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}\Z")  # what PostgreSQL takes without quotes; pg_… is its own
_PASSWORD = re.compile(rf"[!-~]{{{PASSWORD_LEAST},{PASSWORD_MOST}}}\Z")  # SASLprep (RFC 4013) leaves these as they are
_FORM = "write it as core=NAME:PASSWORD gateway=NAME:PASSWORD leaderboard=NAME:PASSWORD"


class Kind(StrEnum):
    """What a login is for. Judges have none."""

    CORE = "core"
    GATEWAY = "gateway"
    LEADERBOARD = "leaderboard"


Columns = tuple[str, ...]
WHOLE: Columns = ()  # all columns, those of later migrations too
Access = Mapping[str, Columns]  # what may be done (a privilege's name), and with which columns


@dataclass(frozen=True)
class Login:
    """One login. Without a password it was made by somebody else, and only its privileges are seen to."""

    kind: Kind
    name: str
    password: str = field(repr=False)


def _may(*privileges: str, **columns: Columns) -> Access:
    return {**dict.fromkeys(privileges, WHOLE), **columns}


def _reads(*columns: str) -> Access:
    return {"SELECT": columns}


_KEEPS = _may("SELECT", "INSERT", "UPDATE", "DELETE")
_CHANGES = _may("SELECT", "INSERT", "UPDATE")
_LISTS = _may("SELECT", "INSERT", "DELETE")
_ADDS = _may("SELECT", "INSERT")
_BACKLOG = _reads("created_at_ms", "sent_at_ms", "parked_at_ms")  # /health/outbox counts

TABLES: dict[str, dict[Kind, Access]] = {
    "schema_migrations": {Kind.CORE: _reads()},
    "users": {
        Kind.CORE: _may("SELECT", "INSERT", UPDATE=("password_hash",)),  # nobody's role or name ever changes
        Kind.GATEWAY: _reads(
            "id", "username", "username_key", "email", "email_key", "password_hash", "role", "created_at_ms"
        ),
        Kind.LEADERBOARD: _reads("id", "username"),
    },
    "sessions": {Kind.CORE: _KEEPS, Kind.GATEWAY: _reads("id", "user_id", "revoked_at_ms")},
    "refresh_tokens": {Kind.CORE: _KEEPS},
    "api_tokens": {
        Kind.CORE: _CHANGES,
        Kind.GATEWAY: _reads("id", "user_id", "name", "token_hash", "created_at_ms", "expires_at_ms", "revoked_at_ms"),
    },
    "contests": {
        Kind.CORE: _CHANGES,
        Kind.GATEWAY: _reads(),
        Kind.LEADERBOARD: _reads("id", "rules", "starts_at_ms", "ends_at_ms", "freezes_at_ms", "version"),
    },
    "problems": {Kind.CORE: _CHANGES, Kind.GATEWAY: _reads()},
    "problem_versions": {Kind.CORE: _ADDS, Kind.GATEWAY: _reads("problem_id", "version", "summary", "is_flagged")},
    "contest_problems": {
        Kind.CORE: _KEEPS,
        Kind.GATEWAY: _reads(),
        Kind.LEADERBOARD: _reads("contest_id", "problem_id"),
    },
    "registrations": {
        Kind.CORE: _LISTS,
        Kind.GATEWAY: _reads(),
        Kind.LEADERBOARD: _reads("contest_id", "user_id"),
    },
    "submissions": {
        Kind.CORE: _CHANGES,
        Kind.GATEWAY: _reads(
            "id",
            "kind",
            "user_id",
            "contest_id",
            "problem_id",
            "language",
            "source",
            "attempt",
            "verdict",
            "score",
            "submitted_at_ms",
            "judged_at_ms",
        ),
        Kind.LEADERBOARD: _reads("id", "kind", "user_id", "contest_id", "problem_id", "submitted_at_ms"),
    },
    "verdicts": {
        Kind.CORE: _ADDS,
        Kind.GATEWAY: _reads(
            "submission_id", "attempt", "verdict", "score", "tests", "compile_output", "output", "judge_error"
        ),
        Kind.LEADERBOARD: _reads("submission_id", "attempt", "verdict", "score"),
    },
    "idempotency_keys": {Kind.CORE: _LISTS},
    "rejudgings": {Kind.CORE: _ADDS},
    "outbox_messages": {Kind.CORE: _KEEPS, Kind.GATEWAY: _BACKLOG, Kind.LEADERBOARD: _BACKLOG},
    "audit_log": {Kind.CORE: _may("INSERT")},
}
SEQUENCES: dict[Kind, Access] = {Kind.CORE: _may("USAGE")}  # whose tables it adds to


def parse(text: str) -> tuple[Login, ...]:
    """Read ``core=NAME:PASSWORD gateway=… leaderboard=…``: name and password as they stand in a URL, each kind once at most, ``:PASSWORD`` left out where
    somebody else makes the login. Raises ValueError with a line that says what is wrong, and never what the passwords are."""
    logins: dict[Kind, Login] = {}
    for number, word in enumerate(text.split(), start=1):
        kind, separator, rest = word.partition("=")
        if not separator or kind not in set(Kind):
            raise ValueError(
                f"word {number} does not begin with one of {', '.join(f'{each}=' for each in Kind)}: {_FORM}"
            )
        name, separator, password = rest.partition(":")
        login = Login(Kind(kind), unquote(name), unquote(password))
        if not _NAME.match(login.name):
            raise ValueError(f"the login of {kind} has no name of small letters, digits and _ (and not pg_…): {_FORM}")
        if separator and not _PASSWORD.match(login.password):
            raise ValueError(
                f"the password of {kind} needs {PASSWORD_LEAST} to {PASSWORD_MOST} characters of ASCII, without spaces:"
                " make one with `openssl rand -hex 24`"
            )
        if login.kind in logins or any(login.name == other.name for other in logins.values()):
            raise ValueError(f"the login of {kind}, or its name, is there twice: {_FORM}")
        logins[login.kind] = login
    return tuple(logins.values())
