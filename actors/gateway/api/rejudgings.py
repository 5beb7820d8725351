"""Judging again."""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors.gateway.routing import Answer, Call, Routes, Who
from actors.gateway.views import RejudgingView
from contracts.errors import FieldError, Invalid
from contracts.messages import Rejudge

REJUDGE_TIMEOUT_S = 60.0

routes = Routes("rejudgings")

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class NewRejudging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to judge again: all given conditions must match, at least one is needed. ``dry_run`` only counts."""

    submission_id: Id | None = None
    problem_id: Id | None = None
    contest_id: Id | None = None
    dry_run: bool = False


@routes.add("POST", "/rejudgings", who=Who.STAFF, status=202, limit="writes", also=(404, 409))
async def rejudge(call: Call, body: NewRejudging) -> Answer[RejudgingView]:
    """Judge submissions again, at a lower priority than live judging."""
    if body.submission_id is None and body.problem_id is None and body.contest_id is None:
        raise Invalid(
            "The request is not valid.",
            errors=(FieldError("", "say what to judge again: submission_id, problem_id or contest_id"),),
        )
    request = Rejudge(
        rejudging_id=call.new_id(),
        submission_id=body.submission_id,
        problem_id=body.problem_id,
        contest_id=body.contest_id,
        dry_run=body.dry_run,
        requested_by=call.user.user_id,
        correlation_id=call.correlation_id,
    )
    done = await call.services.rpc.call("core", request, timeout=REJUDGE_TIMEOUT_S)
    return Answer(RejudgingView(done.rejudging_id, done.submissions))
