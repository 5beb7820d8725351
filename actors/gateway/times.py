"""Times that clients send, as Unix milliseconds."""

from __future__ import annotations

from datetime import datetime

from contracts.errors import FieldError, Invalid

YEAR_3000_MS = 32_503_680_000_000


def to_ms(at: datetime, pointer: str) -> int:
    """Return Unix milliseconds; raises Invalid outside 1970 to 3000."""
    at_ms = round(at.timestamp() * 1000)
    if not 0 <= at_ms < YEAR_3000_MS:
        raise Invalid("The request is not valid.", errors=(FieldError(pointer, "must be between 1970 and 3000"),))
    return at_ms
