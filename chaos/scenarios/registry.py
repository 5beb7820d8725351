"""The scenarios by name. One is a function of a stage that breaks something and heals it; when it returns, everything is as it should be again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.stage import Stage

Run = Callable[[Stage], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {}


@dataclass(frozen=True)
class Scenario:
    """``lasts_s`` is about how long the fault lasts, over which the load is spread. ``needs_small_disk``: a cluster of its own, whose database has one."""

    name: str
    run: Run
    lasts_s: float
    needs_small_disk: bool = False

    @property
    def summary(self) -> str:
        """What happens, in a sentence."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


def scenario(name: str, *, lasts_s: float = 6.0, needs_small_disk: bool = False) -> Callable[[Run], Run]:
    """Register a scenario; its docstring's first line is what ``chaos list`` says of it."""

    def register(run: Run) -> Run:
        assert name not in SCENARIOS, f"there are two scenarios {name}"
        SCENARIOS[name] = Scenario(name, run, lasts_s, needs_small_disk)
        return run

    return register
