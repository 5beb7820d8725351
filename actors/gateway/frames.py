"""Server-sent events as bytes, and their identifiers ``epoch:seq``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from actors.gateway.views import ResetEvent


class Frame(msgspec.Struct, frozen=True):
    """One event, encoded; ``epoch:seq`` is its identifier."""

    epoch: str
    seq: int
    data: bytes


def encode_event(event: str, epoch: str, seq: int, body: Any) -> Frame:
    """Encode an event as it goes over the wire."""
    text = msgspec.json.encode(body)  # JSON has no raw line breaks, so one data line is enough
    return Frame(epoch, seq, b"event: %b\nid: %b:%d\ndata: %b\n\n" % (event.encode(), epoch.encode(), seq, text))


def encode_reset(reason: str) -> bytes:
    """Encode ``reset``, which has no identifier: only the snapshot after it can be continued from."""
    return b"event: reset\ndata: %b\n\n" % msgspec.json.encode(ResetEvent(reason))


def parse_event_id(text: str) -> tuple[str, int]:
    """Return the epoch and number of a Last-Event-ID; for anything that is not ours, one that no stream has ("", 0)."""
    epoch, _, seq = text.rpartition(":")
    if not epoch or len(seq) > 18 or not (seq.isascii() and seq.isdigit()):
        return "", 0
    return epoch, int(seq)


@dataclass(frozen=True)
class Steps:
    """What a submission's judging came to so far: events, the newest (attempt, seq), and whether that was the end."""

    frames: list[Frame]
    attempt: int
    seq: int
    is_judged: bool
