"""What happened in a run, line by line: its hash says whether two runs were the same, its tail what led to a failure."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

TAIL = 120  # lines kept of each process
DIGEST_BYTES = 12


class Trace:
    """Lines of (simulated seconds, who, what). Nothing in a line may differ between two runs of one seed: no addresses, no real time."""

    def __init__(self, elapsed_s: Callable[[], float], *, is_kept: bool = False) -> None:
        self.lines: list[str] = []
        self.count = 0
        self._elapsed_s = elapsed_s
        self._is_kept = is_kept
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._tails: dict[str, deque[str]] = {}

    def __call__(self, who: str, what: str) -> None:
        """Write a line."""
        line = f"{self._elapsed_s():11.4f}  {who:<14} {what}"
        self.count += 1
        self._hash.update(line.encode(errors="surrogatepass"))
        if self._is_kept:
            self.lines.append(line)
            return
        tail = self._tails.get(who)
        if tail is None:
            tail = self._tails[who] = deque(maxlen=TAIL)
        tail.append(line)

    @property
    def digest(self) -> str:
        """The hash of all lines so far, in hex."""
        return self._hash.hexdigest()

    def tail(self, most: int = TAIL, *, about: str = "") -> list[str]:
        """Return the newest lines in their order; with ``about`` only those that hold this text."""
        lines = self.lines if self._is_kept else sorted(line for tail in self._tails.values() for line in tail)
        return [line for line in lines if about in line][-most:]
