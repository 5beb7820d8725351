"""Submissions and runs: sending them, reading them, watching them being judged."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
import structlog

from actors.gateway import submission_queries
from actors.gateway.api.streams import last_event_id, stream_response
from actors.gateway.frames import Steps
from actors.gateway.problem_queries import terms
from actors.gateway.queries import contest_row
from actors.gateway.routing import Answer, Call, EventStream, Routes, Who
from actors.gateway.submission_queries import SubmissionsQuery, judging_steps, submission_row
from actors.gateway.views import AcceptedRun, AcceptedSubmission, RunView, SubmissionList, SubmissionView
from contracts.errors import FieldError, Invalid, TooLarge
from contracts.messages import Accepted, Kind, Submit

SUBMIT_TIMEOUT_S = 10.0
KEY_MAX = 255

routes = Routes("submissions")

_log = structlog.get_logger("gateway")

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Language = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class NewSubmission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Code to be judged: at most 64 KiB of UTF-8."""

    problem_id: Id
    language: Language
    source: Annotated[str, msgspec.Meta(min_length=1)]
    contest_id: Id | None = None


class NewRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Code to be run on own input (``stdin``, at most 64 KiB), or without it on the samples."""

    problem_id: Id
    language: Language
    source: Annotated[str, msgspec.Meta(min_length=1)]
    contest_id: Id | None = None
    stdin: str | None = None


@routes.add("POST", "/submissions", who=Who.USER, status=202, limit="submissions", also=(404, 409))
async def submit(call: Call, body: NewSubmission) -> Answer[AcceptedSubmission]:
    """Submit code.

    The answer comes when the submission is durable. With an ``Idempotency-Key`` header a repeated request is answered with the first
    submission; the same key with another body is 422.
    """
    accepted = await _send(call, body, Kind.SUBMISSION, None)
    return Answer(
        AcceptedSubmission(accepted.submission_id),
        headers={"Location": f"/api/v1/submissions/{accepted.submission_id}"},
    )


@routes.add("POST", "/runs", who=Who.USER, status=202, limit="runs", also=(404, 409))
async def start_run(call: Call, body: NewRun) -> Answer[AcceptedRun]:
    """Run code on own input or the samples; nothing is counted."""
    if body.stdin is not None:
        _check_size("stdin", body.stdin, call.services.limits.source)
    accepted = await _send(call, body, Kind.RUN, body.stdin)
    return Answer(AcceptedRun(accepted.submission_id), headers={"Location": f"/api/v1/runs/{accepted.submission_id}"})


@routes.add("GET", "/submissions", who=Who.USER)
async def list_submissions(call: Call, query: SubmissionsQuery) -> Answer[SubmissionList]:
    """Own submissions, newest first; staff see everybody's."""
    services = call.services
    return Answer(await submission_queries.submissions(services.database, services.redis, query, call.user))


@routes.add("GET", "/submissions/{submission_id}", who=Who.USER)
async def show_submission(call: Call, submission_id: str) -> Answer[SubmissionView]:
    """One submission; somebody else's does not exist, unless staff asks."""
    services = call.services
    return Answer(await submission_queries.submission(services.database, services.redis, submission_id, call.user))


@routes.add("GET", "/runs/{run_id}", who=Who.USER)
async def show_run(call: Call, run_id: str) -> Answer[RunView]:
    """One run with its output."""
    services = call.services
    return Answer(await submission_queries.run(services.database, services.redis, run_id, call.user))


@routes.add("GET", "/submissions/{submission_id}/stream", who=Who.USER)
async def watch_submission(call: Call, submission_id: str) -> Answer[EventStream]:
    """Watch a submission (or a run) being judged.

    Server-sent events ``state``, ``test`` and, last, ``verdict``; ``reset`` when events were missed or the judging started over, and everything again.
    """
    services = call.services
    await submission_row(services.database, submission_id, call.user)
    slot = await services.hub.admit(call.address, call.user.user_id)

    async def read() -> Steps:
        return await judging_steps(services.database, services.redis, submission_id)

    body = services.hub.submission_stream(slot, submission_id, read, last_event_id(call))
    return Answer(EventStream(), response=stream_response(body))


async def _send(call: Call, body: NewSubmission | NewRun, kind: Kind, stdin: str | None) -> Accepted:
    services = call.services
    key = _idempotency_key(call)
    _check_size("source", body.source, services.limits.source)
    if body.contest_id is not None:
        await contest_row(services.database, body.contest_id, call.caller)
    offered, most = await terms(services.database, services.redis, body.problem_id, call.caller, call.now_ms)
    _check_size("source", body.source, most)
    if all(body.language != each.id for each in offered):
        names = ", ".join(each.id for each in offered)
        raise Invalid("The request is not valid.", errors=(FieldError("/language", f"must be one of: {names}"),))
    request = Submit(
        submission_id=call.new_id(),
        user_id=call.user.user_id,
        problem_id=body.problem_id,
        language=body.language,
        source=body.source,
        contest_id=body.contest_id,
        kind=kind,
        stdin=stdin,
        idempotency_key=key,
        body_hash=hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest(),
        correlation_id=call.correlation_id,
    )
    accepted = await services.rpc.call("core", request, timeout=SUBMIT_TIMEOUT_S)
    # buggify at gateway.accepted
    _log.info("accepted", submission=accepted.submission_id, kind=kind, replayed=accepted.replayed)
    return accepted


def _check_size(field: str, text: str, limit: int) -> None:
    if len(text.encode()) > limit:
        raise TooLarge(
            f"The {field} is larger than {limit} bytes.",
            errors=(FieldError(f"/{field}", f"must be at most {limit} bytes of UTF-8"),),
        )


def _idempotency_key(call: Call) -> str | None:
    key = call.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
        raise Invalid(f"The Idempotency-Key must be 1 to {KEY_MAX} printable ASCII characters.")
    return key
