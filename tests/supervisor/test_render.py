"""What an operator sees."""

import pytest
from rich.console import Console

from supervisor import Event, Kind, MailboxStatistics, QuarantinedRow, Row, TreeStatus
from supervisor.render import render


def box(depth: int, capacity: int = 10) -> MailboxStatistics:
    return MailboxStatistics(depth, depth, capacity, 0, 2, depth, 0, 0, 0, 0, 0)


def row(path: str, kind: str = "actor", state: str = "running", **more: object) -> Row:
    name = path.rpartition("/")[2]
    return Row(path, name, path.count("/"), kind, state, 0.0, 1, 0, **more)  # type: ignore[arg-type]  # what Row takes


def drawn(*rows: Row, width: int = 140) -> str:
    events = (Event(1, 60.0, Kind.CRASHED, "root/a", 2, "ValueError: boom", "trace"),)
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render(TreeStatus("root", "running", 3700.0, rows, events), wide=width > 110))
    return capture.get()


def test_the_lines_of_the_tree_join() -> None:
    text = drawn(
        row("root", "supervisor"),
        row("root/s", "supervisor"),
        row("root/s/a"),
        row("root/s/b"),
        row("root/t", "supervisor"),
        row("root/t/c"),
    )
    lines = [line.split("●")[0].strip() for line in text.splitlines()]
    start = lines.index("root", 3)
    assert lines[start : start + 6] == ["root", "├─ s", "│  ├─ a", "│  └─ b", "└─ t", "└─ c"]


def test_troubles_come_with_their_reason() -> None:
    text = drawn(
        row("root", "supervisor"),
        row("root/a", state="backing_off", last_error="ValueError: boom", next_start_in_s=2.0),
        row("root/b", state="stopping", stuck=True, waits_at="actors/b.py:7 run"),
        row("root/c", quarantined=(QuarantinedRow("Submit(7)", 2, "KeyError"),), wedged=True, mailbox=box(10)),
    )
    for said in (
        "ValueError: boom",
        "backing off 2.0 s",
        "would not stop; it waits at actors/b.py:7 run",
        "set aside Submit(7)",
    ):
        assert said in text
    assert "10/10" in text
    assert "2 wait to send" in text


@pytest.mark.parametrize(("depth", "drawn_as"), [(0, "         0/10"), (1, "▊"), (10, "████████ 10/10")])
def test_the_bar_shows_how_full_a_mailbox_is(depth: int, drawn_as: str) -> None:
    assert drawn_as in drawn(row("root", "supervisor"), row("root/a", mailbox=box(depth)))


def test_it_fits_a_narrow_terminal() -> None:
    text = drawn(row("root", "supervisor"), row("root/a", mailbox=box(3)), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
