"""The correlation id: one for each request, in its answer, its logs, its messages and the judging that it causes."""

from __future__ import annotations

import random
import re
from typing import cast

from quart import g, request

from contracts.ids import make_id
from contracts.ports import WallClock

HEADER = "x-correlation-id"
_VALID = re.compile(r"[0-9A-Za-z._:-]{1,128}\Z")


def correlation_id(clock: WallClock, rng: random.Random) -> str:
    """Return this request's correlation id: the caller's when it is valid, else a new one."""
    if "correlation_id" not in g:
        given = request.headers.get(HEADER, "")
        g.correlation_id = given if _VALID.match(given) else make_id(clock.now_ms(), rng)
    return cast("str", g.correlation_id)
