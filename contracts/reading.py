"""Reading what comes from outside the process: whatever is wrong with it, there is one error, and nobody crashes over a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from contracts.errors import CodeWarzError

T = TypeVar("T")

_SAID_MOST = 200  # msgspec repeats a value that is none of an enum's, however long it is
_COUNT_DIGITS_MOST = 9


class Unreadable(CodeWarzError):
    """Something that was sent or kept is not what it should be. Read again it would be the same: skip it, or put it where the operators find it."""

    code = "unreadable"


def reader(decoder: msgspec.json.Decoder[T]) -> Callable[[bytes], T]:
    """Return how to read JSON with ``decoder``: everything that may be wrong with the bytes is Unreadable."""
    decode = decoder.decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        # A text that is no UTF-8 is no MsgspecError but a ValueError, and what is nested too deeply is neither.
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}"[:_SAID_MOST]) from None

    return read


def count_of(said: object) -> int:
    """Return a count that somebody else wrote, as a number or in at most nine ASCII digits; 0 for anything else."""
    if isinstance(said, str):
        is_count = said.isascii() and said.isdigit() and len(said) <= _COUNT_DIGITS_MOST
        return int(said) if is_count else 0
    if isinstance(said, int) and not isinstance(said, bool):
        return said if 0 <= said < 10**_COUNT_DIGITS_MOST else 0
    return 0
