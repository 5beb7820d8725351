"""Cursors: where the next page of a list begins. Opaque to clients; a wrong one is their error, never ours."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, TypeVar

import msgspec

from contracts.errors import FieldError, Invalid

T = TypeVar("T")


class PageQuery(msgspec.Struct, frozen=True):
    """How much of a list, and from where on."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None


def encode_cursor(*place: str | int) -> str:
    """Return the place after which the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode_cursor(text: str, kind: type[T]) -> T:
    """Return the place that a cursor stands for; raises Invalid for one that we did not make."""
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=kind)
    except (binascii.Error, ValueError, RecursionError):
        raise Invalid(
            "The query is not valid.", errors=(FieldError("/cursor", "is none of ours: leave it out to start over"),)
        ) from None
    if any(isinstance(part, str) and "\0" in part for part in place if isinstance(place, tuple)):  # type: ignore[attr-defined]
        raise Invalid("The query is not valid.", errors=(FieldError("/cursor", "is none of ours"),))
    return place
