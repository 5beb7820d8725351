"""What every benchmark gives, and how it is shown."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table


class Report(msgspec.Struct, frozen=True):
    """Figures and references of one run; the units are the names' ends (``_ms``, ``_us``, ``_per_s``); ratios say which over which."""

    name: str
    figures: dict[str, float]
    references: dict[str, float] = {}
    ratios: dict[str, float] = {}
    machine: str = ""


def machine() -> str:
    """Return what this machine is, without its name."""
    return f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def show(report: Report) -> None:
    """Print it for people."""
    table = Table(title=f"bench {report.name}", box=None, header_style="dim", title_justify="left")
    table.add_column("")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for kind, values in (("", report.figures), ("reference", report.references), ("ratio", report.ratios)):
        for name, value in values.items():
            table.add_row(f"[dim]{kind}[/]", name, f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}")
    console = Console()
    console.print(table)
    console.print(f"[dim]{report.machine}[/]", highlight=False)
