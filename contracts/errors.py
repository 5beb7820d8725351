"""Errors that cross a boundary: each says whose fault it is and what to do, and the gateway maps each class to one HTTP status.

An edge maps its driver's errors to these once, ``from exc``; an actor raises them as its answer to a request. Anything else that escapes is a bug: it crashes
the incarnation and its supervisor deals with it.
"""

from __future__ import annotations

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with one field: ``pointer`` is a JSON pointer into the request's body ("" for the whole)."""

    pointer: str
    detail: str


class CodeWarzError(Exception):
    """Base of every error that may be answered to a caller. ``detail`` is a sentence for people."""

    code = "error"
    status = 500

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = (), retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s

    @property
    def title(self) -> str:
        """The class in words: "Not found"."""
        return self.code.replace("_", " ").capitalize()


class Malformed(CodeWarzError):
    """The request cannot be read at all (not JSON, wrong type of body)."""

    code, status = "malformed", 400


class Unauthenticated(CodeWarzError):
    """Nobody is signed in, or the credentials are wrong, expired or revoked."""

    code, status = "unauthenticated", 401


class Forbidden(CodeWarzError):
    """The caller is known and may not do this."""

    code, status = "forbidden", 403


class NotFound(CodeWarzError):
    """No such thing, or none that this caller may know of."""

    code, status = "not_found", 404


class Conflict(CodeWarzError):
    """The request is right by itself but collides with what is there."""

    code, status = "conflict", 409


class PreconditionFailed(CodeWarzError):
    """The thing is no longer what the caller saw when it decided to change it (If-Match)."""

    code, status = "precondition_failed", 412


class TooLarge(CodeWarzError):
    """A body or a package is above its limit."""

    code, status = "too_large", 413


class UnsupportedMedia(CodeWarzError):
    """The body's media type is not the one this route takes."""

    code, status = "unsupported_media_type", 415


class Invalid(CodeWarzError):
    """The request can be read but asks for something impossible; ``errors`` says which fields."""

    code, status = "invalid", 422


class TooMany(CodeWarzError):
    """The caller's rate limit is used up; ``retry_after_s`` says when to come again."""

    code, status = "too_many_requests", 429


class Unavailable(CodeWarzError):
    """A part is overloaded, starting or down; nothing happened, and the same request may be sent again after ``retry_after_s``."""

    code, status = "unavailable", 503


class Busy(Unavailable):
    """Unavailable in words for whoever asks. Those of any other may name machines and accounts of ours: they are for operators."""


class NotPermitted(Unavailable):
    """A neighbour does not let our user do this, so nothing happened. It is well again as soon as somebody grants it, or names another user: wait for that."""


class DeadlineExceeded(Unavailable):
    """No answer in time. The outcome is unknown: repeat with the same idempotency key or identifier."""

    code, status = "deadline_exceeded", 504


class Collided(Unavailable):
    """Two transactions stood in each other's way and this one was undone, wholly. The other is through by now, so it may begin again at once."""

    code = "collided"


class SetAside(CodeWarzError):
    """The request crashed whoever handled it, twice, and was set aside for the operators. It changed nothing, and sent again it would crash them again."""

    code, status = "set_aside", 500


class Unroutable(CodeWarzError):
    """The broker returned a mandatory message: no queue is bound for its routing key."""

    code = "unroutable"


class PublishRefused(CodeWarzError):
    """The broker answered a publish with nack (a bounded queue that rejects, or an alarm)."""

    code = "publish_refused"


class EdgeLost(Unavailable):
    """The connection to a neighbour is gone. The edge's actor crashes and is restarted; the outcome of a call under way is unknown."""

    code, status = "edge_lost", 503


class Duplicate(Conflict):
    """A unique key of the database exists already; ``constraint`` names it ("users.username_key")."""

    code = "duplicate"

    def __init__(self, detail: str, constraint: str) -> None:
        super().__init__(detail)
        self.constraint = constraint
