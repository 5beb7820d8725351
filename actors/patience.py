"""Waiting for a neighbour that is away: that is nobody's crash, so no restart is spent on it and no supervisor gives up over it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import structlog
import trio

from contracts.errors import Unavailable
from supervisor.context import Context

FIRST_S = 0.2
CAP_S = 2.0
HEALTHY_S = 10.0  # a session that lasted so long was a good one: the next pause is the first again

_log = structlog.get_logger("patience")


async def again_and_again(ctx: Context[Any], session: Callable[[], Awaitable[None]], what: str) -> NoReturn:
    """Run ``session`` for ever: again after it returned, and after a pause when it ended because a neighbour was away.

    The actor counts as ready after its first failure as well: what depends on it must know how to do without, and others need not wait. Anything but
    Unavailable is a crash as ever.
    """
    while True:
        await until_done(ctx, session, what)
        await trio.lowlevel.checkpoint()


async def until_done(ctx: Context[Any], session: Callable[[], Awaitable[None]], what: str) -> None:
    """Run ``session`` until it returns once; again after a pause, ready meanwhile, as often as a neighbour is away."""
    pause_s = FIRST_S
    while True:
        began = trio.current_time()
        lost: BaseExceptionGroup[Unavailable] | None = None
        try:
            await session()
        except* Unavailable as group:
            lost = group
        if lost is None:
            return
        if trio.current_time() - began >= HEALTHY_S:
            pause_s = FIRST_S
        _log.warning("neighbour_away", what=what, error=_first(lost), again_in_s=pause_s)
        ctx.ready()
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, CAP_S)


def _first(group: BaseExceptionGroup[Unavailable]) -> str:
    """Return what the first of them says."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.detail if isinstance(error, Unavailable) else repr(error)
