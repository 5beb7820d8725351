"""Contests: reading, registration, and what staff do with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from actors.gateway import queries
from actors.gateway.cursors import PageQuery
from actors.gateway.dispatch import etag_of
from actors.gateway.problem_queries import contest_problems
from actors.gateway.routing import Answer, Call, Routes, Who
from actors.gateway.sentences import COLOUR, LABEL, LINE
from actors.gateway.times import to_ms
from actors.gateway.views import AttachedProblem, ContestList, ContestProblemList, ContestView, RegistrationView, points
from contracts.errors import Conflict, FieldError, Invalid, PreconditionFailed
from contracts.messages import (
    AttachProblem,
    ChangeContest,
    ContestSettings,
    CreateContest,
    DetachProblem,
    Register,
    Withdraw,
)
from contracts.scoring import Rules

T = TypeVar("T")
TIMEOUT_S = 10.0
CHANGES_MOST = 5  # tries to get between the changes of others

routes = Routes("contests")

Time = Annotated[datetime, msgspec.Meta(tz=True)]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=LINE)]
Description = Annotated[str, msgspec.Meta(max_length=20_000)]
Visibility = Literal["public", "private"]


class NewContest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contest: the freeze, if any, lies between start and end; a private one is seen by staff and its participants only."""

    title: Title
    rules: Rules
    start: Time
    end: Time
    freeze: Time | None = None
    description: Description = ""
    visibility: Visibility = "public"


class ContestChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a contest; what is left out stays. ``"freeze": null`` thaws the board."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    rules: Rules | msgspec.UnsetType = msgspec.UNSET
    start: Time | msgspec.UnsetType = msgspec.UNSET
    end: Time | msgspec.UnsetType = msgspec.UNSET
    freeze: Time | msgspec.UnsetType | None = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    visibility: Visibility | msgspec.UnsetType = msgspec.UNSET


class ProblemPlacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A problem's place in a contest: label ("A"), balloon colour ("#d33" or a CSS name), points (IOI)."""

    problem_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    label: Annotated[str, msgspec.Meta(pattern=LABEL)]
    colour: Annotated[str, msgspec.Meta(pattern=COLOUR)] = ""
    points: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 100.0


class WhichProblem(msgspec.Struct, frozen=True):
    """The problem to take out."""

    problem_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


@routes.add("GET", "/contests", is_cacheable=True)
async def list_contests(call: Call, query: PageQuery) -> Answer[ContestList]:
    """Contests, the latest start first."""
    services = call.services
    return Answer(await queries.contests(services.database, services.clock, query, call.caller))


@routes.add("GET", "/contests/{contest_id}", is_cacheable=True)
async def show_contest(call: Call, contest_id: str) -> Answer[ContestView]:
    """One contest."""
    return Answer(await _view(call, contest_id))


@routes.add("POST", "/contests", who=Who.STAFF, status=201, limit="writes")
async def create_contest(call: Call, body: NewContest) -> Answer[ContestView]:
    """Make a contest."""
    settings = ContestSettings(
        title=body.title,
        rules=body.rules,
        starts_at_ms=to_ms(body.start, "/start"),
        ends_at_ms=to_ms(body.end, "/end"),
        freezes_at_ms=None if body.freeze is None else to_ms(body.freeze, "/freeze"),
        description=body.description,
        is_public=body.visibility == "public",
    )
    _check_times(settings)
    contest_id = call.new_id()
    request = CreateContest(contest_id=contest_id, settings=settings, created_by=call.user.user_id)
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(await _view(call, contest_id), headers={"Location": f"/api/v1/contests/{contest_id}"})


@routes.add("PATCH", "/contests/{contest_id}", who=Who.STAFF, limit="writes", also=(409, 412))
async def change_contest(call: Call, contest_id: str, body: ContestChanges) -> Answer[ContestView]:
    """Change some of a contest's settings; its board is made afresh.

    Two changes at once to different settings both count. With ``If-Match`` and the contest's ETag nothing is changed that the caller has not seen: 412.
    """
    for attempt in range(1, CHANGES_MOST + 1):
        row = await queries.contest_row(call.services.database, contest_id, call.caller)
        await _check_match(call, contest_id)
        settings = _changed(body, queries.settings_of(row))
        _check_times(settings)
        request = ChangeContest(contest_id=contest_id, settings=settings, version=row["version"])
        try:
            await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
        except Conflict:  # somebody else was faster: merge with what they made of it
            if attempt == CHANGES_MOST:
                raise
        else:
            break
    view = await _view(call, contest_id)
    return Answer(view, headers={"ETag": etag_of(msgspec.json.encode(view))})


async def _check_match(call: Call, contest_id: str) -> None:
    if_match = call.headers.get("If-Match")
    if if_match is None:
        return
    etag = etag_of(msgspec.json.encode(await _view(call, contest_id)))
    if not {etag, "*"} & {tag.strip() for tag in if_match.split(",")[:32]}:
        raise PreconditionFailed("This contest has changed since you looked at it: look again, then decide.")


def _changed(body: ContestChanges, now: ContestSettings) -> ContestSettings:
    return ContestSettings(
        title=_or(body.title, now.title),
        rules=_or(body.rules, now.rules),
        starts_at_ms=now.starts_at_ms if body.start is msgspec.UNSET else to_ms(body.start, "/start"),
        ends_at_ms=now.ends_at_ms if body.end is msgspec.UNSET else to_ms(body.end, "/end"),
        freezes_at_ms=_freeze(body, now),
        description=_or(body.description, now.description),
        is_public=now.is_public if body.visibility is msgspec.UNSET else body.visibility == "public",
    )


@routes.add("POST", "/contests/{contest_id}/registration", who=Who.USER, limit="writes", also=(409,))
async def register(call: Call, contest_id: str) -> Answer[RegistrationView]:
    """Take part in a contest; twice is once."""
    await queries.contest_row(call.services.database, contest_id, call.caller)
    request = Register(contest_id=contest_id, user_id=call.user.user_id)
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(RegistrationView(contest_id, call.user.user_id))


@routes.add("DELETE", "/contests/{contest_id}/registration", who=Who.USER, status=204, limit="writes", also=(409,))
async def withdraw(call: Call, contest_id: str) -> Answer[None]:
    """Leave a contest in which one has not submitted."""
    await queries.contest_row(call.services.database, contest_id, call.caller)
    request = Withdraw(contest_id=contest_id, user_id=call.user.user_id)
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(None)


@routes.add("GET", "/contests/{contest_id}/problems", is_cacheable=True)
async def list_contest_problems(call: Call, contest_id: str) -> Answer[ContestProblemList]:
    """A contest's problems by label; hidden until the start."""
    services = call.services
    return Answer(await contest_problems(services.database, services.clock, contest_id, call.caller))


@routes.add("POST", "/contests/{contest_id}/problems", who=Who.STAFF, status=201, limit="writes", also=(409,))
async def attach_problem(call: Call, contest_id: str, body: ProblemPlacement) -> Answer[AttachedProblem]:
    """Put a problem into a contest, or change its place there."""
    hundredths = round(body.points * 100)
    request = AttachProblem(
        contest_id=contest_id,
        problem_id=body.problem_id,
        label=body.label,
        colour=body.colour,
        points=hundredths,
    )
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(AttachedProblem(contest_id, body.problem_id, body.label, body.colour, points(hundredths)))


@routes.add(
    "DELETE", "/contests/{contest_id}/problems/{problem_id}", who=Who.STAFF, status=204, limit="writes", also=(409,)
)
async def detach_problem(call: Call, contest_id: str, problem_id: str) -> Answer[None]:
    """Take a problem without submissions out of a contest."""
    return await _detach(call, contest_id, problem_id)


@routes.add("DELETE", "/contests/{contest_id}/problems", who=Who.STAFF, status=204, limit="writes", also=(409,))
async def detach_named_problem(call: Call, contest_id: str, query: WhichProblem) -> Answer[None]:
    """Take the problem that the query names out of a contest."""
    return await _detach(call, contest_id, query.problem_id)


async def _detach(call: Call, contest_id: str, problem_id: str) -> Answer[None]:
    request = DetachProblem(contest_id=contest_id, problem_id=problem_id)
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(None)


async def _view(call: Call, contest_id: str) -> ContestView:
    return await queries.contest(call.services.database, call.services.clock, contest_id, call.caller)


def _freeze(body: ContestChanges, now: ContestSettings) -> int | None:
    if body.freeze is msgspec.UNSET:
        return now.freezes_at_ms
    return None if body.freeze is None else to_ms(body.freeze, "/freeze")


def _or(value: T | msgspec.UnsetType, default: T) -> T:
    return default if isinstance(value, msgspec.UnsetType) else value


def _check_times(settings: ContestSettings) -> None:
    errors = []
    if settings.ends_at_ms <= settings.starts_at_ms:
        errors.append(FieldError("/end", "must be after the start"))
    freeze = settings.freezes_at_ms
    if freeze is not None and not settings.starts_at_ms <= freeze <= settings.ends_at_ms:
        errors.append(FieldError("/freeze", "must lie between the start and the end"))
    if errors:
        raise Invalid("The request is not valid.", errors=tuple(errors))
