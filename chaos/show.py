"""What people see of a run: a line for each scenario as it goes, and what failed with the place of its logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from chaos.verdict import Outcome, Report
from supervisor.visible import visible

WIDE = 160  # columns of what is not a terminal


class Teller:
    """Tells people; with ``is_json`` on the other stream."""

    def __init__(self, *, is_json: bool) -> None:
        console = Console(stderr=is_json, highlight=False)
        self._is_terminal = console.is_terminal
        if not self._is_terminal:
            console = Console(stderr=is_json, highlight=False, width=WIDE)
        self._console = console
        self._status: Status | None = None
        self._many = 0
        self._finished = 0
        self._began_s = time.monotonic()

    @contextmanager
    def open(self, seed: int, many: int) -> Iterator[None]:
        """Tell of ``many`` scenarios for the length of the block."""
        self._many = many
        self._console.print(f"seed {seed}, {many} scenario{'s' * (many != 1)}")
        if not self._is_terminal:
            yield
            return
        with self._console.status("") as status:
            self._status = status
            yield
            self._status = None

    def say(self, scenario: str, text: str) -> None:
        """Hear what is being done."""
        if self._status is not None:
            self._status.update(f"{self._finished}/{self._many} [bold]{scenario}[/] {escape(visible(text))}")

    def done(self, outcome: Outcome) -> None:
        """Hear what a scenario came to."""
        self._finished += 1
        self._console.print(line(outcome))
        for each in outcome.violations:
            self._console.print(Text(f"      {visible(each, lines=True)}", "red"))
        if outcome.logs is not None:
            self._console.print(Text(f"      logs: {outcome.logs}"), soft_wrap=True)

    def total(self, report: Report) -> None:
        """Tell how it ended."""
        took_s = time.monotonic() - self._began_s
        failed = [each for each in report.scenarios if not each.is_good]
        skipped = [each for each in report.scenarios if each.skipped is not None]
        passed = len(report.scenarios) - len(failed) - len(skipped)
        worst = max((each.recovered_s or 0.0 for each in report.scenarios), default=0.0)
        accepted = sum(each.accepted for each in report.scenarios)
        words = [f"{passed} held"]
        words += [f"[red]{len(failed)} failed[/]"] if failed else []
        words += [f"[yellow]{len(skipped)} left out[/]"] if skipped else []
        self._console.print(
            f"{', '.join(words)}: {accepted} submissions, slowest recovery {worst:.1f} s; {took_s / 60:.1f} min"
        )


def line(outcome: Outcome) -> str:
    """Return a scenario's line."""
    name = f"[bold]{outcome.scenario:<24}[/]"
    if outcome.skipped is not None:
        return f"  [yellow]–[/] {name} left out: {escape(visible(outcome.skipped))}"
    mark = "[green]●[/]" if outcome.is_good else "[red]✗[/]"
    recovered = "never" if outcome.recovered_s is None else f"{outcome.recovered_s:.1f} s"
    return (
        f"  {mark} {name} {outcome.accepted:>4} accepted, {outcome.judged} judged, {outcome.lost} lost,"
        f" {outcome.judged_twice} twice; recovered in {recovered}   [dim]{outcome.lasted_s:.0f} s, seed {outcome.seed}[/]"
    )
