"""What a server does not permit, told to operators once.

Whoever asked for it waits and asks again, every few seconds and perhaps for days: the log has its waiting, and must not repeat the reason each time.
"""

from __future__ import annotations

from functools import lru_cache

import structlog

TOLD_MOST = 256  # of which we remember that they were told; the house asks for some fifty different things

REMEDY = "name the user of this process's role in its URL, or give the user this permission: contracts/users says what each has"

_log = structlog.get_logger("edge")


@lru_cache(TOLD_MOST)
def tell(neighbour: str, refusal: str, *, remedy: str, **more: str) -> None:
    """Log how somebody was refused, what mends it, and ``more`` where that does not say who asked for what, unless told before. Nothing secret may be in it."""
    _log.error("not_permitted", neighbour=neighbour, refusal=refusal, **more, remedy=remedy)
