"""Where frames begin and end in what a peer sends, found without reading them: h2 takes some twenty times as long for each.

That is what makes a flood of small frames (pings, settings, resets, windows, empty data …) cheap to refuse: it is counted before it is read.
"""

from __future__ import annotations

HEAD = 9  # bytes: three of length, type, flags, four of the stream
DATA = 0
PAYS = 1024  # bytes: a data frame of as many is no burden beside its bytes, and not counted
PREFACE = 24  # bytes that a client says before its first frame


class Frames:
    """Follows one side's bytes. ``skip`` come before the first frame."""

    def __init__(self, skip: int) -> None:
        self._skip = skip  # what is still to come of the frame at hand
        self._head = b""

    def cut(self, data: bytes, at: int, most: int) -> tuple[int, int]:
        """Pass over ``data`` from ``at`` on, until its end or the ``most``-th frame that counts is over; return where that is, and how many counted."""
        counted, size = 0, len(data)
        while True:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
            if at == size or counted == most:
                return at, counted
            piece = data[at : at + HEAD - len(self._head)]
            at += len(piece)
            self._head += piece
            if len(self._head) == HEAD:
                length, kind = int.from_bytes(self._head[:3], "big"), self._head[3]
                self._skip, self._head = length, b""
                counted += kind != DATA or length < PAYS
