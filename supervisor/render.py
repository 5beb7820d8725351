"""The status of a tree for a terminal. It reads top down: how is it, what is where, what happened lately."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from supervisor.events import Event
from supervisor.mailbox import MailboxStatistics
from supervisor.status import Row, TreeStatus
from supervisor.visible import visible

STATES = {
    "queued": ("○", "dim"),
    "starting": ("◔", "cyan"),
    "running": ("●", "green"),
    "draining": ("◑", "yellow"),
    "stopping": ("◕", "yellow"),
    "backing_off": ("↻", "magenta"),
    "finished": ("✓", "dim green"),
    "stopped": ("□", "dim"),
    "failed": ("✗", "bold red"),
}
BAR_WIDTH = 8
EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(status: TreeStatus, *, events: int = 8, wide: bool = True) -> RenderableType:
    """The whole picture; `wide` adds where each actor waits."""
    parts: list[RenderableType] = [_headline(status), Text(), _table(status, wide=wide)]
    troubles = _troubles(status.rows)
    if troubles:
        parts += [Text(), _heading("needs a look"), *troubles]
    if status.events and events:
        parts += [Text(), _heading("lately"), _events(status.events[-events:], status)]
    return Padding(Group(*parts), (1, 2))


def _heading(text: str) -> Rule:
    return Rule(Text(text, style="dim italic"), align="left", style="bright_black")


def _headline(status: TreeStatus) -> Text:
    symbol, style = STATES.get(status.state, ("?", ""))
    actors = [row for row in status.rows if row.kind in ("actor", "worker")]
    counts = Counter(row.state for row in actors)
    line = Text.assemble((f"{symbol} ", style), (visible(status.name), "bold"), ("  " + visible(status.state), style))
    line.append(f"   {len(actors)} actors", style="dim")
    for state, (mark, colour) in STATES.items():
        if counts[state]:
            line.append("  ·  ", style="bright_black")
            line.append(f"{mark} {counts[state]} {state.replace('_', ' ')}", style=colour)
    waiting = sum(row.mailbox.depth for row in status.rows if row.mailbox)
    line.append("  ·  ", style="bright_black")
    line.append(f"{waiting} message{'' if waiting == 1 else 's'} waiting", style="bold" if waiting else "dim")
    return line


def _table(status: TreeStatus, *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", expand=False)
    table.add_column("", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("restarts", justify="right", no_wrap=True)
    table.add_column("mailbox", no_wrap=True)
    if wide:
        table.add_column("waits at", style="bright_black", no_wrap=True, overflow="ellipsis", ratio=1)
    for row, guide in zip(status.rows, _guides(status.rows), strict=True):
        cells = [
            _name(row, guide, wide=wide),
            _state(row),
            _ago(status.at - row.since),
            _restarts(row),
            _mailbox(row, wide=wide),
        ]
        table.add_row(*cells, *([_where(row)] if wide else []))
    return table


def _guides(rows: Sequence[Row]) -> list[str]:
    """The lines of the tree. Read from below, so that it is known whether more of a level follows."""
    guides: list[str] = []
    follows: list[bool] = []
    for row in reversed(rows):
        follows = (follows + [False] * row.level)[: row.level]
        if row.level == 0:
            guides.append("")
            continue
        stem = "".join("│  " if follows[level] else "   " for level in range(row.level - 1))
        guides.append(stem + ("├─ " if follows[row.level - 1] else "└─ "))
        follows[row.level - 1] = True
    return guides[::-1]


def _name(row: Row, guide: str, *, wide: bool) -> Text:
    name = Text.assemble((guide, "bright_black"))
    name.append(visible(row.name), style={"supervisor": "bold", "pool": "bold cyan"}.get(row.kind, ""))
    if row.kind == "pool":
        name.append(f" {row.size}", style="cyan")
        name.append(f" of {row.most}", style="dim")
    elif wide and row.strategy is not None and row.strategy != "one_for_one":
        name.append(f" {row.strategy.replace('_', ' ')}", style="dim")
    return name


def _state(row: Row) -> Text:
    symbol, style = STATES.get(row.state, ("?", ""))
    text = Text(f"{symbol} {visible(row.state).replace('_', ' ')}", style=style)
    if row.next_start_in_s is not None:
        text.append(f" {row.next_start_in_s:.1f} s", style="dim")
    if row.stuck:
        text.append(" would not stop", style="bold red")
    elif row.wedged:
        text.append(" wedged", style="bold red")
    return text


def _ago(seconds: float) -> Text:
    """The two largest units are enough; more digits would only flicker."""
    whole = max(0, int(seconds))
    for unit, smaller, size, part in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            return Text(f"{whole // size}{unit} {whole % size // part:02d}{smaller}", style="dim")
    return Text(f"{whole}s", style="dim")


def _restarts(row: Row) -> Text:
    if row.intensity is not None and row.intensity.used:
        used = row.intensity
        style = "bold red" if used.used >= used.restarts else "yellow"
        return Text(f"{used.used}/{used.restarts}", style=style)
    return Text(str(row.restarts), style="yellow") if row.restarts else Text("·", style="bright_black")


def _mailbox(row: Row, *, wide: bool) -> Text:
    if row.mailbox is None:
        return Text("")
    box: MailboxStatistics = row.mailbox
    share = min(1.0, box.depth / box.capacity)
    style = "green" if share < 0.5 else "yellow" if share < 0.9 else "bold red"
    text = _bar(share, style)
    text.append(f" {box.depth}", style="bold" if box.depth else "dim")
    text.append(f"/{box.capacity}", style="dim")
    if box.peak and wide:
        text.append(f"  peak {box.peak}", style="dim")
    if box.waiting_senders:
        text.append(f"  {box.waiting_senders} wait to send", style="yellow")
    return text


def _bar(share: float, style: str) -> Text:
    """Eighths of a cell; something that is there is never drawn as nothing."""
    eighths = max(round(share * BAR_WIDTH * 8), 1 if share else 0)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (EIGHTHS[rest] if rest else "")
    return Text.assemble((bar.ljust(BAR_WIDTH), f"{style} on grey19"))


def _where(row: Row) -> Text:
    return Text(visible(row.waits_at or ""))


def _troubles(rows: Sequence[Row]) -> list[Text]:
    lines = []
    for row in rows:
        if row.last_error is not None and row.state in ("backing_off", "failed"):
            lines.append(_trouble(row, row.last_error))
        if row.stuck or row.wedged:
            what = "would not stop" if row.stuck else "does not read its mailbox"
            lines.append(_trouble(row, f"{what}; it waits at {row.waits_at or 'see its workers'}"))
        lines += [_trouble(row, f"set aside {q.message}: {q.error}") for q in row.quarantined[-3:]]
    return lines


def _trouble(row: Row, text: str) -> Text:
    path = visible(row.path.partition("/")[2] or row.path)
    return Text.assemble(("▌ ", "red"), (path, "bold"), "  ", (visible(text, lines=True), "red"))


def _events(events: Sequence[Event], status: TreeStatus) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
    for event in events:
        name = visible(event.path.removeprefix(status.name + "/"))
        which = Text.assemble(name, (f" #{event.incarnation}" if event.incarnation else "", "dim"))
        kind = Text(event.kind.value.replace("_", " "), style="red" if event.worrying else "")
        when = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
        table.add_row(when, which, kind, Text(visible(event.detail)))
    return table
