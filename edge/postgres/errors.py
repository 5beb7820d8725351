"""The one mapping of asyncpg's errors to ours.

Rule 1: *Unavailable* says that nothing happened: no connection could be made, or the server refused the statement and undid it. *EdgeLost* and
        *DeadlineExceeded* say that the outcome is unknown.
Rule 2: no value of a statement is in an error: PostgreSQL and asyncpg quote them, and they are e-mail addresses, hashes and programs.
Rule 3: what only a bug of ours can cause (bad SQL, a value of another type than the column's) is returned as it is.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg
from asyncpg import exceptions as pg

from contracts.errors import (
    CodeWarzError,
    Collided,
    Conflict,
    DeadlineExceeded,
    Duplicate,
    EdgeLost,
    Invalid,
    NotPermitted,
    TooLarge,
    Unavailable,
)
from edge import refusals
from edge.postgres.address import Address

AGAIN_S = 1.0  # after which a caller may come again
SOON_S = 0.1  # the same for a conflict of two transactions: one of them has won by then

_COME_AGAIN: tuple[tuple[type[pg.PostgresError], float, str], ...] = (  # nothing happened, and later it may work
    (pg.LockNotAvailableError, AGAIN_S, "others hold what this needs for too long: try again"),
    (pg.InvalidCachedStatementError, SOON_S, "the database's schema has changed just now: try again"),
    (pg.UndefinedTableError, AGAIN_S, "the database has no such table yet: start a core, or run codewarz migrate"),
    (pg.ReadOnlySQLTransactionError, AGAIN_S, "the database is a read-only copy: name the primary"),
)

_NOT_PERMITTED = "this process's login may not do that in the database: ask a core's; where a grant is missing, run codewarz migrate as the owner"
_REMEDY = "name the login of this process's role in its URL, or run `codewarz migrate` as the owner: it grants what contracts/logins.py says"

_KEY = re.compile(
    r"\((?P<columns>[^=]*)\)=\("
)  # of "Key (user_id, key)=(…) already exists.", whatever the server's language


def mapped(exc: Exception, address: Address) -> Exception:
    """Return what a statement's error means to its caller."""
    if isinstance(exc, CodeWarzError):
        return exc
    if isinstance(exc, pg.DataError) and exc.__cause__ is not None:  # asyncpg's own: it could not encode a parameter
        return _of_parameter(str(exc), exc.__cause__)
    if isinstance(exc, pg.PostgresError):
        return _of_server(exc, address)
    if (isinstance(exc, asyncpg.InterfaceError) and "closed" in str(exc)) or is_dying(exc):
        return EdgeLost(f"the connection to the database at {address} was lost")
    if isinstance(exc, TimeoutError) and exc.errno is None:
        return DeadlineExceeded(f"the database at {address} did not answer in time")
    if isinstance(exc, OSError):
        return EdgeLost(f"the connection to the database at {address} was lost ({_reason(exc)})")
    return exc


def unreachable(exc: Exception, address: Address) -> Exception:
    """Return what the error of an attempt to connect means to the caller: nothing was sent, so nothing happened."""
    if isinstance(exc, CodeWarzError):
        return exc
    if isinstance(exc, pg.InsufficientPrivilegeError):  # to connect
        return _not_permitted(exc, address)
    if isinstance(exc, pg.InvalidPasswordError | pg.InvalidAuthorizationSpecificationError):
        text = f"refuses the user {address.user!r}: check user, password and sslmode in the URL"
    elif isinstance(exc, pg.InvalidCatalogNameError):
        text = f"has no database {address.database!r}: create it, or name another in the URL"
    elif isinstance(exc, pg.TooManyConnectionsError):
        text = "has no connection left: raise its max_connections, or run fewer processes"
    elif isinstance(exc, ssl.SSLCertVerificationError):
        text = f"shows a certificate that is not to be trusted ({exc.verify_message}): check sslrootcert and the host's name"
    elif isinstance(exc, TimeoutError) and exc.errno is None:
        text = "did not answer in time"
    elif isinstance(exc, pg.PostgresError | OSError | asyncpg.InterfaceError) or is_dying(exc):
        text = f"cannot be reached ({_reason(exc)})"
    else:
        return exc
    return Unavailable(f"the database at {address} {text}", retry_after_s=AGAIN_S)


@contextmanager
def mapping(address: Address, how: Callable[[Exception, Address], Exception] = mapped) -> Iterator[None]:
    """Raise what the block's error means in its place."""
    try:
        yield
    except Exception as exc:
        error = how(exc, address)
        if error is exc:
            raise
        raise error from exc


def is_lost(exc: Exception) -> bool:
    """Whether the error says that the connection is gone (and not only a statement)."""
    return isinstance(exc, pg.PostgresConnectionError | pg.AdminShutdownError | pg.CrashShutdownError) or (
        isinstance(exc, OSError) and not (isinstance(exc, TimeoutError) and exc.errno is None)
    )


def is_dying(exc: Exception) -> bool:
    """Whether asyncpg refuses to say anything on a connection whose server has said its last word, in the moment before the end of it is noticed."""
    return isinstance(exc, asyncpg.InternalClientError) and "another operation" in str(exc)


def _of_server(exc: pg.PostgresError, address: Address) -> Exception:
    if is_lost(exc) or isinstance(exc, pg.CannotConnectNowError | pg.IdleInTransactionSessionTimeoutError):
        return EdgeLost(f"the connection to the database at {address} was lost ({_reason(exc)})")
    if isinstance(exc, pg.UniqueViolationError):
        constraint = _constraint(exc)
        return Duplicate(f"this exists already ({constraint})", constraint)
    if isinstance(exc, pg.ForeignKeyViolationError):
        return Conflict("this refers to something that does not exist, or something else still refers to it")
    if isinstance(exc, pg.IntegrityConstraintViolationError | pg.DataError):
        return Invalid(f"the database does not allow this value: {_what_is_wrong(exc)}")
    if isinstance(exc, pg.TransactionRollbackError):
        return Collided(
            f"two transactions stood in each other's way and this one was undone: try again ({_reason(exc)})",
            retry_after_s=SOON_S,
        )
    if isinstance(exc, pg.InsufficientPrivilegeError):
        return _not_permitted(exc, address)
    for kind, after_s, text in _COME_AGAIN:
        if isinstance(exc, kind):
            return Unavailable(f"{text} ({_reason(exc)})", retry_after_s=after_s)
    if isinstance(exc, pg.QueryCanceledError):
        return DeadlineExceeded(f"the database at {address} stopped a statement that took too long")
    if isinstance(exc, pg.ProgramLimitExceededError):
        return TooLarge("a value is too large for the database")
    if isinstance(exc, pg.InsufficientResourcesError | pg.PostgresSystemError | pg.OperatorInterventionError):
        return Unavailable(f"the database at {address} is in trouble ({_reason(exc)})", retry_after_s=AGAIN_S)
    return exc


def _not_permitted(exc: pg.InsufficientPrivilegeError, address: Address) -> NotPermitted:
    """Tell it once: the server names the table, and no value."""
    refusals.tell("postgres", _reason(exc), remedy=_REMEDY, user=address.user)
    return NotPermitted(f"{_NOT_PERMITTED} ({_reason(exc)})", retry_after_s=AGAIN_S)


def _of_parameter(text: str, cause: BaseException) -> Exception:
    if isinstance(cause, OverflowError):
        return Invalid("a number is beyond the column's range")
    if isinstance(cause, UnicodeEncodeError):
        return Invalid("a text holds half a surrogate pair, which is not a character")
    position, types = re.search(r"\$\d+", text), re.search(r"expected [\w ]+, got \w+", str(cause))
    return TypeError(
        f"{position[0] if position else 'a parameter'} is not of the type that the database takes there"
        + (f": {types[0]}" if types else "")
    )


def _constraint(exc: pg.UniqueViolationError) -> str:
    """Name the constraint by table and columns, as SQLite does ("votes.user_id,poll_id"); an expression index by its own name."""
    match = _KEY.search(exc.detail or "")
    columns = [] if match is None else [column.strip().strip('"') for column in match["columns"].split(",")]
    if not columns or not all(re.fullmatch(r"\w+", column) for column in columns):
        return str(exc.constraint_name)
    return f"{exc.table_name}.{','.join(columns)}"


def _what_is_wrong(exc: pg.PostgresError) -> str:
    """Say it with names, never with values."""
    if exc.constraint_name:
        return f"{exc.table_name} violates {exc.constraint_name}"
    if exc.column_name:
        return f"{exc.table_name}.{exc.column_name} must have one"
    if isinstance(exc, pg.CharacterNotInRepertoireError | pg.UntranslatableCharacterError):
        return "a text holds a character that it cannot keep"
    return type(exc).__name__.removesuffix("Error")


def _reason(exc: Exception) -> str:
    return (
        (exc.strerror if isinstance(exc, OSError) else None) or str(exc).splitlines()[0]
        if str(exc)
        else type(exc).__name__
    )
