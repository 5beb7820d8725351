"""The progress of a judging, kept in Redis while it lasts and published step by step.

Whoever watches subscribes to the channel first, then reads ``so_far`` and drops what it has seen by ``(attempt, run, seq)``. After the verdict the database has
everything, so the list only lives a little longer than its judging.
"""

from __future__ import annotations

import msgspec
import structlog

from contracts.errors import CodeWarzError, Unavailable
from contracts.messages import Progress
from contracts.ports import Redis
from contracts.reading import Unreadable, reader

PROGRESS_PREFIX = "progress:"
_TTL_S = 900
_MOST = 1000  # steps kept of one judging

_log = structlog.get_logger("progress")
_read = reader(msgspec.json.Decoder(Progress))


def channel(submission_id: str) -> str:
    """Return the pub/sub channel, which is also the key of the list."""
    return PROGRESS_PREFIX + submission_id


async def so_far(redis: Redis, submission_id: str) -> list[Progress]:
    """Return the steps of the current judging, oldest first; without what cannot be read: it is shown while it lasts, and the verdict comes all the same."""
    steps: list[Progress] = []
    try:
        for kept in await redis.call("LRANGE", channel(submission_id), -_MOST, -1):
            try:
                steps.append(_read(kept))
            except Unreadable as error:
                _log.error("unreadable_step", submission=submission_id, error=error.detail)
    except Unavailable:
        raise
    except CodeWarzError as error:  # a key of another kind
        _log.error("unreadable_progress", submission=submission_id, error=error.detail)
    return steps


async def begin(redis: Redis, step: Progress) -> None:
    """Publish the first step of a judging and forget those of an earlier one."""
    key, text = channel(step.submission_id), msgspec.json.encode(step)
    await redis.pipeline([["DEL", key], ["RPUSH", key, text], ["EXPIRE", key, _TTL_S], ["PUBLISH", key, text]])


async def report(redis: Redis, step: Progress) -> None:
    """Keep and publish one further step."""
    key, text = channel(step.submission_id), msgspec.json.encode(step)
    await redis.pipeline(
        [["RPUSH", key, text], ["LTRIM", key, -_MOST, -1], ["EXPIRE", key, _TTL_S], ["PUBLISH", key, text]]
    )


async def announce(redis: Redis, *verdicts: Progress) -> None:
    """Publish verdicts: durable already, so nothing is kept and saying it twice does no harm."""
    commands: list[list[str | bytes]] = []
    for step in verdicts:
        key = channel(step.submission_id)
        commands += [["DEL", key], ["PUBLISH", key, msgspec.json.encode(step)]]
    await redis.pipeline(commands)
