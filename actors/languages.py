"""The languages on offer: judges announce what they have, gateways show it.

An announcement expires unless it is renewed, so a language goes when the last judge that has it goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contracts.messages import Offer
from contracts.ports import Redis

_PREFIX = "judge:languages:"
_TTL_S = 60
RENEW_S = 20


_decode = msgspec.json.Decoder(list[Offer]).decode


async def announce(redis: Redis, judge: str, offers: Sequence[Offer]) -> None:
    """Say what ``judge`` can judge; call again every RENEW_S seconds."""
    await redis.pipeline(
        [
            ["SET", _PREFIX + judge, msgspec.json.encode(offers), "EX", _TTL_S],
            ["SADD", _PREFIX, judge],
        ]
    )


async def offered(redis: Redis) -> list[Offer]:
    """Return what any living judge offers, by name; [] when none is up (submissions are accepted all the same)."""
    judges = [judge.decode() for judge in await redis.call("SMEMBERS", _PREFIX)]
    if not judges:
        return []
    replies = await redis.call("MGET", *(_PREFIX + judge for judge in sorted(judges)))
    gone = [judge for judge, reply in zip(sorted(judges), replies, strict=True) if reply is None]
    if gone:
        await redis.call("SREM", _PREFIX, *gone)
    offers = {offer.id: offer for reply in replies if reply is not None for offer in _decode(reply)}
    return sorted(offers.values(), key=lambda offer: offer.name)
