"""The languages on offer: judges announce what they have, gateways show it.

An announcement expires unless it is renewed, so a language goes when the last judge that has it goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from contracts.errors import CodeWarzError, Unavailable
from contracts.messages import Offer
from contracts.ports import Redis, RedisValue
from contracts.reading import Unreadable, reader

_PREFIX = "judge:languages:"
_TTL_S = 60
RENEW_S = 20

_log = structlog.get_logger("languages")
_read = reader(msgspec.json.Decoder(list[Offer]))


async def announce(redis: Redis, judge: str, offers: Sequence[Offer]) -> None:
    """Say what ``judge`` can judge; call again every RENEW_S seconds. A list of judges that somebody has spoiled is begun anew."""
    told: list[list[RedisValue]] = [
        ["SET", _PREFIX + judge, msgspec.json.encode(offers), "EX", _TTL_S],
        ["SADD", _PREFIX, judge],
    ]
    try:
        await redis.pipeline(told)
    except Unavailable:
        raise
    except CodeWarzError as error:  # a key of another kind
        _log.error("unreadable_languages", error=error.detail)
        await redis.pipeline([["DEL", _PREFIX], *told])


async def offered(redis: Redis) -> list[Offer]:
    """Return what any living judge offers, by name; [] when none is up (submissions are accepted all the same). What cannot be read counts as none."""
    offers: dict[str, Offer] = {}
    try:
        judges = sorted(await redis.call("SMEMBERS", _PREFIX))
        replies = await redis.call("MGET", *(_PREFIX.encode() + judge for judge in judges)) if judges else []
        gone = [judge for judge, reply in zip(judges, replies, strict=True) if reply is None]
        if gone:
            await redis.call("SREM", _PREFIX, *gone)
    except Unavailable:
        raise
    except CodeWarzError as error:  # a key of another kind
        _log.error("unreadable_languages", error=error.detail)
        return []
    for judge, reply in zip(judges, replies, strict=True):
        try:
            offers |= {offer.id: offer for offer in _read(reply)} if reply is not None else {}
        except Unreadable as error:
            _log.error("unreadable_languages", judge=judge.decode(errors="replace"), error=error.detail)
    return sorted(offers.values(), key=lambda offer: offer.name)
