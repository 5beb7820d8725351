"""Every route of ``/api/v1``, in one table."""

from __future__ import annotations

from actors.gateway.api import auth, contests, leaderboard, problems, rejudgings, submissions
from actors.gateway.routing import Route

API_PREFIX = "/api/v1"

ROUTES: tuple[Route, ...] = tuple(
    route
    for family in (auth, contests, problems, submissions, leaderboard, rejudgings)
    for route in family.routes.table
)
