"""Batches, failures and timelines for people, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from chaos.simulation import sometimes
from chaos.simulation.batch import TRACED_FAILURES_MOST, Tally
from chaos.simulation.faults import Options
from chaos.simulation.job import Done, brief, command
from chaos.simulation.report import ID, Report, Shrunk, last_events, promise, suspects
from chaos.simulation.timeline import Life

FAILURES_IN_FULL = TRACED_FAILURES_MOST  # of a batch; later ones get a line each
LONG_GAP_S = 1.0


class Sayer:
    """Prints for people. Whole lines are never cut, so that they can be copied: a terminal wraps them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._failures = 0

    def line(self, text: str | Text = "", style: str = "") -> None:
        """Print a line."""
        self.console.print(Text(text, style) if isinstance(text, str) else text, soft_wrap=True)

    def prose(self, text: str) -> None:
        """Print a sentence, which a terminal may break between words."""
        self.console.print(Text(text, "dim"), soft_wrap=not self.console.is_terminal)

    # ---- failures ----------------------------------------------------------------------------------------------------

    def failure(self, done: Done, *, is_single: bool = False) -> None:
        """Print everything that a failing run tells; after the first few of a batch only what failed and the command."""
        self._failures += 1
        for violation in done.violations:
            self.line(
                Text.assemble(
                    ("✗ ", "bold red"),
                    (f"seed {done.job.seed}", "bold"),
                    "  ",
                    (violation.invariant, "bold red"),
                    (f" at {violation.at_s:.4f} s" if violation.at_s else "", "red"),
                    (f"  {promise(violation.invariant)}", "dim"),
                )
            )
            if self._failures > FAILURES_IN_FULL:
                self.line(f"  {violation.detail.splitlines()[0]}")
                continue
            for text in violation.detail.splitlines():
                self.line(f"  {text}")
        if self._failures <= FAILURES_IN_FULL:
            self._events(done)
            if done.options is not None:
                self._labelled("options", msgspec.json.encode(done.options).decode())
        if not is_single:
            self._commands(done)
        self.line()

    def _events(self, done: Done) -> None:
        names = suspects(done.violations, done.lines)
        chosen = last_events(names, done.lines)
        if not chosen:
            return
        self.line()
        self.line(f"  the last events{f' around {_list(names)}' if names else ''}", "dim")
        for text in chosen:
            is_about = any(name in text for name in names)
            self.line(f"  {text}", "" if is_about or not names else "dim")
        self.line()

    def _commands(self, done: Done) -> None:
        replay = command(done.job)
        self._labelled("replay", replay)
        ids = [name for name in suspects(done.violations, done.lines) if ID.fullmatch(name)]
        if ids:
            self._labelled("timeline", f"{replay} --timeline {ids[0]}")
        self._labelled("shrink", f"{replay} --shrink")

    def _labelled(self, label: str, text: str) -> None:
        self.line(Text.assemble((f"  {label:<9}", "dim"), text))

    def shrunk(self, before: Options, found: Shrunk, last: Done | None, *, is_interrupted: bool = False) -> None:
        """Print what shrinking came to; ``last`` is the smallest run that failed, None when nothing could be left out."""
        self.line(
            Text.assemble(
                ("▾ ", "bold cyan"),
                ("shrunk", "bold"),
                (f"  in {found.runs} runs{', then interrupted' if is_interrupted else ''}", "dim"),
            )
        )
        for change in changes(before, found.options):
            self.line(f"  {change}")
        if last is None:
            self.line("  nothing: without any part of the options it does not fail")
        for violation in () if last is None else last.violations:
            self.line(Text.assemble((f"  {violation.invariant}", "red"), f"  {violation.detail.splitlines()[0]}"))
        self._labelled("options", msgspec.json.encode(found.options).decode())
        self._labelled("replay", found.replay)
        self.line()

    # ---- a batch -----------------------------------------------------------------------------------------------------

    def report(self, report: Report, tally: Tally, planned: int, *, is_complete: bool) -> None:
        """Print a batch's figures and tables."""
        self._tables(report, tally, is_complete=is_complete)
        batchwide = [each for each in report.violations if each.seed is None]
        for each in batchwide:
            self.line(Text.assemble(("✗ ", "bold red"), (each.invariant, "bold red"), f"  {each.detail}"))
        if batchwide:
            self.line()
        self.line(_sum(tally, planned, len(batchwide)))
        wall = f"{report.wall_s:,.1f} s of wall time"
        self.prose(
            f"  {report.submissions:,} submissions and {report.simulated_s:,.0f} simulated seconds in {wall}: "
            f"{report.submissions_per_s:,.1f} submissions/s, ×{report.simulated_per_wall_s:,.1f} real time"
        )
        if tally.twice:
            differing = sum(1 for done in tally.failures if any(each.invariant == "replay" for each in done.violations))
            said = "with the same traces" if not differing else f"{differing} with another trace"
            self.prose(f"  {tally.twice} of them run twice, by two processes, {said}")

    def _tables(self, report: Report, tally: Tally, *, is_complete: bool) -> None:
        required = sometimes.required(tally.points, tally.seeds) if is_complete else {}
        recoveries: dict[str, int] = {}
        points: dict[str, int] = {}
        for name, many in report.sometimes.items():
            (points if name.startswith(sometimes.POINT) else recoveries)[name] = many
        for title, counts in (("fault", report.faults), ("sometimes", recoveries), ("point in our code", points)):
            shown = {name: many for name, many in counts.items() if many or name in required}
            if not shown:
                continue
            self.line(f"{title:<20} {'times':>11}", "dim")
            for name, many in shown.items():
                self._row(name, many)
            self.line()
        wanted = sometimes.required(sorted(tally.points))
        unseen = [name for name in wanted if name not in required and not tally.counts[name]]
        if unseen and is_complete:
            enough = f"{sometimes.SEEDS_ENOUGH:,} seeds on, of what is rare from {sometimes.SEEDS_ENOUGH_FOR_RARE:,}"
            self.prose(f"not seen, which is a violation from {enough}: {', '.join(unseen)}")
            self.line()

    def _row(self, name: str, many: int) -> None:
        words = "" if name.startswith(sometimes.POINT) else sometimes.meaning(name)
        text = Text.assemble(
            f"{name.removeprefix(sometimes.POINT):<20} ",
            (f"{many:>11,}", "") if many else (f"{'never':>11}", "bold red"),
            (f"  {words}" if words else "", "dim"),
        )
        self.console.print(text, no_wrap=True, overflow="ellipsis", crop=self.console.is_terminal)

    # ---- one run -----------------------------------------------------------------------------------------------------

    def run(self, done: Done) -> None:
        """Print what a single run came to."""
        if done.violations:
            self.failure(done, is_single=True)
            return
        text = f"seed {done.job.seed}: no violation"
        self.line(Text.assemble(("✓ ", "bold green"), (text, "bold"), (f"  trace {done.trace}", "dim")))
        if done.options is not None:
            self._labelled("options", brief(done.options))
        self._labelled(
            "came to",
            f"{done.submissions} submissions, {done.simulated_s:,.1f} simulated s "
            f"({done.healed_s:.1f} s from healing to rest), {done.wall_s:.2f} s of wall time",
        )

    def life(self, life: Life, seed: int) -> None:
        """Print a timeline."""
        self.line(Text.assemble(("◆ ", "bold cyan"), (life.submission, "bold"), (f"  in seed {seed}", "dim")))
        for number, message in enumerate(life.messages, 1):
            self.line(Text.assemble((f"✉{number}", "cyan"), f" {message}"))
        self.line()
        width = max(len(each.who) for each in life.moments)
        self.line(f"{'at s':>11} {'gap s':>9}  {'who':<{width}}  what", "dim")
        for each in life.moments:
            gap = f"+{each.gap_s:.4f}" if each.gap_s else ""
            style = "" if each.is_about else "yellow"
            self.line(
                Text.assemble(
                    f"{each.at_s:>11.4f} ",
                    (f"{gap:>9}", "bold magenta" if each.gap_s >= LONG_GAP_S else "dim"),
                    "  ",
                    (f"{each.who:<{width}}", style or "cyan"),
                    "  ",
                    (each.what.replace("\n", " "), style or _style_of(each.what)),
                    (f"  ×{each.times} until {each.until_s:.4f}" if each.until_s is not None else "", "dim"),
                )
            )


def _sum(tally: Tally, planned: int, unseen: int) -> Text:
    """Say in a line how a batch ended; ``unseen`` counters should have been raised."""
    seeds = f"{tally.seeds:,} seed{'' if tally.seeds == 1 else 's'}"
    failed = len(tally.failures)
    if failed or unseen:
        found = " and ".join(
            text for many, text in ((failed, f"{failed:,} failed"), (unseen, f"{unseen} things never happened")) if many
        )
        sign, style = "✗ ", "bold red"
    else:
        found, sign, style = "no violation", "✓ ", "bold green"
    if tally.seeds < planned:
        seeds, sign, style = (
            f"interrupted after {seeds} of {planned:,}",
            sign if failed else "– ",
            style if failed else "bold yellow",
        )
    return Text.assemble((sign, style), (f"{seeds}: {found}", "bold"))


def _style_of(what: str) -> str:
    if what.startswith("✗") or "VIOLATED" in what:
        return "red"
    return "bold" if what.startswith(("submission ", "verdict ", "attempt ")) else ""


def _list(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def changes(before: Options, after: Options) -> Iterator[str]:
    """Yield what became smaller, in words."""
    for name in Options.__struct_fields__:
        one, other = getattr(before, name), getattr(after, name)
        if one == other:
            continue
        if name == "faults":
            yield f"faults {len(one)} → {len(other)}{': ' if other else ''}{', '.join(other)}"
        else:
            yield f"{name} {one} → {other}"


class _Figures(ProgressColumn):
    """What a batch has come to so far."""

    max_refresh = 0.25

    def __init__(self, tally: Tally) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._tally = tally

    def render(self, task: Task) -> Text:
        """Return it as a text."""
        tally, failed = self._tally, len(self._tally.failures)
        wall_s = max(tally.wall_s, 0.001)
        return Text.assemble(
            (f"{task.completed:,.0f}/{task.total or 0:,.0f}", "bold"),
            "  ",
            (f"{failed} failing" if failed else "no violation", "bold red" if failed else "green"),
            (
                f"  {tally.submissions / wall_s:,.0f} submissions/s  ×{tally.simulated_s / wall_s:,.0f} real time",
                "dim",
            ),
        )


class Watch:
    """The line that shows how a batch gets on, where there is a terminal."""

    def __init__(self, console: Console, tally: Tally, planned: int) -> None:
        self._progress = Progress(
            BarColumn(bar_width=12),
            _Figures(tally),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=planned)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)


class Shrinking:
    """The line that shows how far shrinking has come, where there is a terminal."""

    def __init__(self, console: Console, seed: int, invariant: str, runs: Callable[[], int]) -> None:
        self._words = f"shrinking seed {seed} ({invariant})"
        self._runs = runs
        self._newest = ""
        self._live = Live(
            console=console,
            transient=True,
            get_renderable=self._line,
            refresh_per_second=4,
            auto_refresh=console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def step(self, options: Options) -> None:
        """It still fails with these."""
        faults = len(options.faults)
        self._newest = (
            f"{faults} fault{'' if faults == 1 else 's'}, {options.users} users, {options.submissions} submissions, "
            f"{options.hurt_s:g} s, {options.gateways + options.cores + options.leaderboards + options.judges} processes"
        )

    def _line(self) -> Text:
        return Text.assemble((self._words, "bold"), f"  {self._newest}", (f"  {self._runs()} runs", "dim"))
