"""What a line in the log should know of who caused it, carried from the caller's context into the handler's as metadata.

The names are those under which ``structlog.contextvars`` has them. A value that is not short and printable is left out on either side: it would break the
headers there, or the log here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import structlog

# The context's name, the metadata's key.
CARRIED = {"correlation_id": "correlation-id", "traceparent": "traceparent"}
_VALUE = re.compile(r"[!-~]{1,128}\Z")


def outgoing() -> list[tuple[str, str]]:
    """Return the metadata of the task that calls."""
    bound = structlog.contextvars.get_contextvars()
    return [
        (key, value)
        for name, key in CARRIED.items()
        if isinstance(value := bound.get(name), str) and _VALUE.match(value)
    ]


def incoming(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what to bind in the task that answers."""
    return {name: metadata[key] for name, key in CARRIED.items() if _VALUE.match(metadata.get(key, ""))}
