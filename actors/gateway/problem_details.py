"""Errors as RFC 9457 problem details: one shape for everything that goes wrong under ``/api``, ``/health`` and ``/metrics``."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from quart import Response
from werkzeug.exceptions import HTTPException

from contracts.errors import Busy, CodeWarzError, DeadlineExceeded, FieldError, Unavailable

MEDIA_TYPE = "application/problem+json"
AWAY = "A part of the platform is away for the moment; the same request may be sent again."
NO_ANSWER = "A part of the platform did not answer in time; what came of it is not known."
BROKEN = "Something broke on our side; the correlation id finds it in the logs."


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, for people (``detail``) and programs (``type``, ``status``, ``errors`` with a JSON pointer each)."""

    type: str
    title: str
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    detail: str
    correlation_id: str
    errors: list[FieldError] = []


def of_error(error: CodeWarzError, correlation_id: str, *, is_local: bool = False) -> ProblemDetails:
    """Describe an error of ours. A 500 says nothing of the inside; what is away is named, and why, to who sits at this machine only (``is_local``)."""
    return ProblemDetails(
        f"/problems/{error.code}",
        error.title,
        error.status,
        error.detail if is_local and error.status != 500 else told(error),
        correlation_id,
        list(error.errors),
    )


def told(error: CodeWarzError) -> str:
    """Return what a stranger may hear of an error."""
    if error.status == 500:
        return BROKEN
    if isinstance(error, DeadlineExceeded):
        return NO_ANSWER
    return AWAY if isinstance(error, Unavailable) and not isinstance(error, Busy) else error.detail


def of_http(error: HTTPException, correlation_id: str) -> ProblemDetails:
    """Describe what the framework found: no such route (404), method not allowed (405), and the like."""
    title = error.name
    code = title.lower().replace(" ", "_").replace("-", "_")
    return ProblemDetails(f"/problems/{code}", title, error.code or 500, error.description or title, correlation_id)


def response(problem: ProblemDetails) -> Response:
    """Return the problem as an HTTP answer."""
    return Response(msgspec.json.encode(problem), status=problem.status, content_type=MEDIA_TYPE)


def whole_seconds(seconds: float) -> str:
    """Return a wait as Retry-After has it: at least one second."""
    return str(max(1, math.ceil(seconds)))


def retry_after_s(error: CodeWarzError) -> float | None:
    """When to come again: what the error says, and a second for anything that is only away for now."""
    if error.retry_after_s is None and isinstance(error, Unavailable):
        return 1.0
    return error.retry_after_s
