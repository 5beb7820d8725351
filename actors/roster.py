"""``codewarz status --all``: every process of the cluster, from what each tells of itself."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import msgspec
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors import remote
from actors.presence import SILENT_MS, Node, described, nodes
from actors.settings import Settings
from actors.system import EVERY_ROLE
from edge.clock import SystemClock
from supervisor.client import request
from supervisor.errors import NothingRunning
from supervisor.status import TreeStatus
from supervisor.visible import visible

STATES = {"running": "green", "starting": "cyan", "draining": "yellow", "stopping": "yellow"}


@dataclass(frozen=True)
class Roster:
    """The processes, at one moment."""

    nodes: list[Node]
    now_ms: int


def read(settings: Settings) -> Roster:
    """Ask Redis, where processes tell of themselves; where it is embedded there is this one process, if it runs."""
    return trio.run(_alone if settings.is_embedded("redis") else _shared, settings)


async def _shared(settings: Settings) -> Roster:
    async with remote.neighbours(settings, frozenset({"redis"})) as edges:
        now_ms = edges.neighbours.clock.now_ms()
        return Roster(await nodes(edges.neighbours.redis, now_ms), now_ms)


async def _alone(settings: Settings) -> Roster:
    now_ms = SystemClock().now_ms()
    try:
        status = msgspec.convert(await request(settings.socket, "status"), TreeStatus)
    except NothingRunning:
        return Roster([], now_ms)
    began_ms = round(min(row.since for row in status.rows) * 1000)
    node = described(
        status,
        now_ms=now_ms,
        name=settings.node or "codewarz",
        roles=tuple(sorted(EVERY_ROLE)),
        host=socket.gethostname(),
        pid=0,
        url="",
        started_at_ms=began_ms,
    )
    return Roster([node], now_ms)


def show(found: Roster) -> None:
    """Print it for people: a line for each process, and below it what is not as it should be."""
    console = Console()
    if not found.nodes:
        console.print("nothing is running")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("process", "roles", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("up for", "actors", "restarts", "waiting"):
        table.add_column(column, justify="right")
    table.add_column("address", no_wrap=True)
    for node in found.nodes:
        table.add_row(
            Text(visible(node.name), style="bold"),
            Text(visible(" ".join(node.roles))),
            _state(node, found.now_ms),
            _span(found.now_ms - node.started_at_ms),
            str(node.actors),
            Text(str(node.restarts), style="yellow") if node.restarts else Text("·", style="bright_black"),
            str(node.waiting) if node.waiting else Text("·", style="bright_black"),
            Text(visible(node.url)),
        )
    console.print(table)
    for node in found.nodes:
        for trouble in node.troubles:
            console.print(Text.assemble(("! ", "bold yellow"), (visible(node.name), "bold"), f"  {visible(trouble)}"))


def _state(node: Node, now_ms: int) -> Text:
    silent_ms = now_ms - node.at_ms
    if silent_ms > SILENT_MS:
        return Text(f"✗ silent for {_span(silent_ms)}", style="bold red")
    style = "yellow" if node.troubles else STATES.get(node.state, "")
    return Text(f"● {visible(node.state)}", style=style)


def _span(ms: int) -> str:
    """Return a duration in its two largest units."""
    seconds = max(0, ms // 1000)
    for unit, smaller, size, part in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // part:02d}{smaller}"
    return f"{seconds}s"
