"""Leaderboards: pages, a contestant's neighbourhood, and the stream of changes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors.boards import BoardView
from actors.gateway.api.streams import last_event_id, stream_response
from actors.gateway.queries import contest_row, contest_rules
from actors.gateway.routing import Answer, Call, EventStream, Routes
from actors.gateway.submission_queries import board_neighbours, board_page
from actors.gateway.views import LeaderboardView, leaderboard_view
from contracts.errors import Forbidden
from contracts.ports import Row
from contracts.scoring import Rules

routes = Routes("leaderboard")


class LeaderboardQuery(msgspec.Struct, frozen=True):
    """Which rows; ``view=jury`` (staff) looks behind the freeze."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    view: BoardView = BoardView.PUBLIC


class NeighboursQuery(msgspec.Struct, frozen=True):
    """How many rows on each side."""

    around: Annotated[int, msgspec.Meta(ge=0, le=50)] = 3
    view: BoardView = BoardView.PUBLIC


class StreamQuery(msgspec.Struct, frozen=True):
    """``view=jury`` (staff) looks behind the freeze."""

    view: BoardView = BoardView.PUBLIC


@routes.add("GET", "/leaderboard/{contest_id}", is_cacheable=True, also=(403,))
async def show_leaderboard(call: Call, contest_id: str, query: LeaderboardQuery) -> Answer[LeaderboardView]:
    """Rows of a contest's board, all of one version."""
    rules, services = await _enter(call, contest_id, query.view), call.services
    page = await board_page(
        services.rpc, services.boards, contest_id, query.view, offset=query.offset, limit=query.limit
    )
    return Answer(leaderboard_view(page, rules))


@routes.add("GET", "/leaderboard/{contest_id}/users/{user_id}", is_cacheable=True, also=(403,))
async def show_neighbours(call: Call, contest_id: str, user_id: str, query: NeighboursQuery) -> Answer[LeaderboardView]:
    """A contestant's row and its neighbours."""
    rules, services = await _enter(call, contest_id, query.view), call.services
    page = await board_neighbours(services.rpc, services.boards, contest_id, query.view, user_id, around=query.around)
    return Answer(leaderboard_view(page, rules))


@routes.add("GET", "/leaderboard/stream/{contest_id}", also=(403,))
async def watch_leaderboard(call: Call, contest_id: str, query: StreamQuery) -> Answer[EventStream]:
    """Watch a board.

    Server-sent events ``snapshot`` (the first rows), ``update`` (one changed row) and ``reset`` (a snapshot follows), with ``id: epoch:version``; a
    Last-Event-ID continues where the browser left off, if the events since are still here.
    """
    row, services = await _row(call, contest_id, query.view), call.services
    is_public = bool(row["is_public"]) and query.view is BoardView.PUBLIC
    await board_page(services.rpc, services.boards, contest_id, query.view, offset=0, limit=1)
    slot = await services.hub.admit(call.address, None if call.caller is None else call.caller.user_id)

    async def rules() -> Rules:
        return await contest_rules(services.database, contest_id)

    body = services.hub.board_stream(slot, contest_id, query.view, rules, last_event_id(call), is_public=is_public)
    return Answer(EventStream(), response=stream_response(body))


async def _enter(call: Call, contest_id: str, view: BoardView) -> Rules:
    """Return the contest's rules when the caller may see this view of its board."""
    return Rules((await _row(call, contest_id, view))["rules"])


async def _row(call: Call, contest_id: str, view: BoardView) -> Row:
    if view is BoardView.JURY and not call.is_staff:
        raise Forbidden("Only staff may look behind the freeze.")
    return await contest_row(call.services.database, contest_id, call.caller)
