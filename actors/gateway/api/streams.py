"""What the two streams share: headers, and where a browser that comes back left off."""

from __future__ import annotations

from typing import Any

from quart import Response

from actors.gateway.routing import Call
from actors.gateway.sources import EventBody

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


def stream_response(body: EventBody[Any]) -> Response:
    """Return the answer that a stream is the body of."""
    response = Response(body, headers=HEADERS)
    response.timeout = None  # it ends itself
    return response


def last_event_id(call: Call) -> str | None:
    """Return what the browser had last, None when it comes for the first time."""
    return call.headers.get("Last-Event-ID")
