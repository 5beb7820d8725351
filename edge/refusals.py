"""What a server does not permit, told to operators, and not each time.

Whoever asked for it waits and asks again, every few seconds and perhaps for days: the log has its waiting, and must not repeat the reason each time.
"""

from __future__ import annotations

import threading
import time

import structlog

AGAIN_S = 3600.0  # what is still not permitted by then, or not again, is told again
TOLD_MOST = 256  # of which we remember when they were told; the house asks for some fifty different things

_log = structlog.get_logger("edge")
_told: dict[tuple[str, ...], float] = {}
_lock = threading.Lock()  # edges tell from Trio's thread and from asyncio's


def tell(neighbour: str, refusal: str, *, remedy: str, **more: str) -> None:
    """Log how somebody was refused, what mends it, and ``more`` where that does not say who asked for what; once in AGAIN_S. Nothing secret may be in any."""
    what, now = (neighbour, refusal, *more.values()), time.monotonic()
    with _lock:
        if now - _told.get(what, -AGAIN_S) < AGAIN_S:
            return
        _told.pop(what, None)  # so that the oldest is the first
        if len(_told) >= TOLD_MOST:
            del _told[next(iter(_told))]
        _told[what] = now
    _log.error("not_permitted", neighbour=neighbour, refusal=refusal, **more, remedy=remedy)


def forget() -> None:
    """Count nothing as told."""
    with _lock:
        _told.clear()
