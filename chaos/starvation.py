"""Starvation: somebody waits in a line while others, who had no claim to go first, are served.

A line may serve by priority and by time, and nothing else. Whoever has the higher priority goes first, however many that are: that is what priorities are for.
What must not be is that one waits while many are served who came later, or whose priority is lower: such a line serves everybody in the end only because at
some time nobody comes any more.

Evidence and nothing else, as in ``invariants.py``: whoever has seen a line (a simulation, a database's times) can hold it to this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

OVERTAKEN_MOST = 3  # by so many is still a hiccup: what was on its way at that moment
MARGIN_S = 0.5  # within it nobody can say who came first: two clocks, two relays, one group commit
TOGETHER_S = 0.1  # served within it: one batch
NAMED_MOST = 5  # of those who were served meanwhile, how many are named


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's turn in a line. Seconds since the run's start; ``served_s`` None: not yet."""

    who: str
    priority: int
    since_s: float
    served_s: float | None = None

    def __str__(self) -> str:
        return f"{self.who} (priority {self.priority}, since {self.since_s:.3f} s)"


class Starved(msgspec.Struct, frozen=True):
    """Somebody who waits, or waited, with those who were served meanwhile and had no claim to go first, in the order in which they were."""

    wait: Wait
    before: tuple[Wait, ...]

    def text(self) -> str:
        """Say who waits since when, and who was served meanwhile."""
        end = "waits" if self.wait.served_s is None else f"was served at {self.wait.served_s:.3f} s and had waited"
        if not self.before:
            return f"{self.wait} {end}; nobody who had no claim to go first was served meanwhile"
        named = ", ".join(f"{each} at {each.served_s:.3f} s" for each in self.before[:NAMED_MOST])
        more = f" and {len(self.before) - NAMED_MOST} more" if len(self.before) > NAMED_MOST else ""
        return (
            f"{self.wait} {end}; meanwhile {len(self.before)} were served that had no claim to go first: {named}{more}"
        )


def overtaken(wait: Wait, line: Sequence[Wait], *, margin_s: float = MARGIN_S) -> Starved:
    """Return who was served while ``wait`` waited and had no claim to go first: of a lower priority, or of the same and later.

    Later is by more than the margin, and what is served together has no order.
    """
    until_s = math.inf if wait.served_s is None else wait.served_s - TOGETHER_S
    before = [
        each
        for each in line
        if each.served_s is not None
        and wait.since_s + margin_s < each.served_s < until_s
        and (
            each.priority < wait.priority or (each.priority == wait.priority and each.since_s > wait.since_s + margin_s)
        )
    ]
    return Starved(wait, tuple(sorted(before, key=lambda each: each.served_s or 0.0)))


def starved(line: Sequence[Wait], *, most: int = OVERTAKEN_MOST, margin_s: float = MARGIN_S) -> list[Starved]:
    """Return everybody who was overtaken by more than ``most``, worst first."""
    found = [overtaken(wait, line, margin_s=margin_s) for wait in line]
    return sorted((each for each in found if len(each.before) > most), key=lambda each: -len(each.before))
