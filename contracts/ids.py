"""Identifiers: opaque, URL-safe, sorted by the time of their making.

26 characters of Crockford's base 32: 48 bits of Unix milliseconds, then 80 random bits (the ULID layout). Time and randomness are passed in, so a simulation
makes the same identifiers from the same seed. Sorting by identifier is sorting by time, which keeps an index's inserts at its right edge.
"""

from __future__ import annotations

import random
import re

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")


def make_id(now_ms: int, rng: random.Random) -> str:
    """Return a new identifier for the wall time ``now_ms`` (Unix milliseconds)."""
    value = (now_ms & ((1 << 48) - 1)) << 80 | rng.getrandbits(80)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether ``text`` has an identifier's shape; says nothing of its existence."""
    return _SHAPE.match(text) is not None
