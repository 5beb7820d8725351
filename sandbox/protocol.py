"""The frames between host and agent, host side. ``sandbox/agent.py`` has its own few lines of the same: it cannot import ours.

A frame is a 32-bit little-endian length and a body; a body is a list of fields, each again a 32-bit length and bytes. The first field is the verb, then
keys and values alternate, and a key may repeat. Numbers travel as decimal text.

=========  ==========================================================================================  =========================
request    keys                                                                                        reply
=========  ==========================================================================================  =========================
hello      uid gid seccomp group unlimited box_bytes box_files tmp_bytes tmp_files                     ready, version
put        file = pack(path, octal mode, content)                                                      ok
get        path limit                                                                                  ok, content | absent
seal                                                                                                   ok
run        arg* env* file* dir* collect* stdin? cwd merge and the limits                               done, the facts of the run
=========  ==========================================================================================  =========================

Instead of any reply the agent may send ``broken, why`` and leave. A reply that is none of these is a broken sandbox, too.
"""

from __future__ import annotations

from collections.abc import Iterable

FRAME_MAX = 1 << 28  # bytes; the agent refuses more, and so do we


class ProtocolError(Exception):
    """The agent sent what no agent of ours sends: the box is broken or was broken into."""


def pack(fields: Iterable[bytes]) -> bytes:
    """Return ``fields`` as one body."""
    parts: list[bytes] = []
    for field in fields:
        parts.append(len(field).to_bytes(4, "little"))
        parts.append(field)
    return b"".join(parts)


def unpack(body: bytes) -> list[bytes]:
    """Return the fields of a body; ProtocolError when the lengths do not add up."""
    fields: list[bytes] = []
    at, view = 0, memoryview(body)
    while at < len(body):
        end = at + 4 + int.from_bytes(view[at : at + 4], "little")
        if at + 4 > len(body) or end > len(body):
            raise ProtocolError("a field is longer than its frame")
        fields.append(bytes(view[at + 4 : end]))
        at = end
    return fields


def frame(verb: bytes, pairs: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a whole frame, ready to be written. ValueError above ``FRAME_MAX``."""
    body = pack([verb, *(field for pair in pairs for field in pair)])
    if len(body) > FRAME_MAX:
        raise ValueError(f"a request of {len(body)} bytes is above the frame limit of {FRAME_MAX}")
    return len(body).to_bytes(4, "little") + body


def parse(body: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return (verb, pairs) of a body; ProtocolError when it is not of that shape."""
    fields = unpack(body)
    if len(fields) % 2 != 1:
        raise ProtocolError("a reply has a key without a value")
    return fields[0], list(zip(fields[1::2], fields[2::2], strict=True))
