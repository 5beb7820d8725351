"""The machine's civil time, for what is stored and shown. Durations and deadlines use the Trio clock instead."""

from __future__ import annotations

import time


class SystemClock:
    """The operating system's wall clock; it may jump when the machine's time is set."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000
