"""``codewarz bench``: the command line finds it as an entry point, so nothing in the house imports it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio
import typer

from bench.report import Report, machine, show
from supervisor.cli import Output, OutputOption
from supervisor.visible import visible

app = typer.Typer(no_args_is_help=True, help="Measurements beside their references from the same run.")


def _print(report: Report, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(msgspec.json.encode(report))
    else:
        show(report)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(text, err=True)


@app.command()
def judge(
    rounds: Annotated[int, typer.Option(min=1, max=100, help="how often each program is submitted")] = 3,
    output: OutputOption = Output.TEXT,
) -> None:
    """Submissions per second through the whole house, and the overhead of one beside the bare compile and run."""
    from bench.judge import measure
    from edge.telemetry import configure_logs

    configure_logs("text", "error")
    _print(trio.run(measure, rounds, _say), output)


@app.command()
def sandbox(output: OutputOption = Output.TEXT) -> None:
    """One sandboxed run beside fork and exec of the same program."""
    from bench.sandbox import measure

    found: dict[str, Any] = trio.run(measure)
    _print(Report("sandbox", found["figures"], found["references"], found["ratios"], machine()), output)


@app.command()
def pipeline(
    rounds: Annotated[int, typer.Option(min=50, max=10_000, help="submissions, one after the other")] = 300,
    output: OutputOption = Output.TEXT,
) -> None:
    """A submission's way through processes on real engines, beside its parts; accepts per second; what an idle cluster does."""
    from bench.pipeline import measure
    from edge.telemetry import configure_logs

    configure_logs("text", "error")
    with tempfile.TemporaryDirectory(prefix="codewarz-bench-") as folder:
        Path(folder).chmod(0o711)  # the engines have users of their own
        _print(trio.run(measure, Path(folder), _say, rounds), output)


@app.command()
def edges(output: OutputOption = Output.TEXT) -> None:
    """One crossing of each embedded edge."""
    from bench.edges import measure

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        _print(Report("edges", trio.run(measure, Path(folder)), machine=machine()), output)


@app.command()
def projector(output: OutputOption = Output.TEXT) -> None:
    """Board updates per second on a private Redis beside redis-benchmark running the same script."""
    from bench.projector import measure

    _print(_on_a_server("projector", measure), output)


@app.command()
def redis(output: OutputOption = Output.TEXT) -> None:
    """One GET through the Redis edge, and many at once, beside redis-py alone."""
    from bench.redis import measure

    _print(_on_a_server("redis", measure), output)


@app.command()
def postgres(output: OutputOption = Output.TEXT) -> None:
    """One statement through the PostgreSQL edge, many at once, commits and wake-ups, beside asyncpg alone."""
    from bench.postgres import measure

    _print(_on_a_server("postgres", measure), output)


def _on_a_server(name: str, measure: Callable[[Path], Awaitable[dict[str, dict[str, float]]]]) -> Report:
    """Measure with a private server in a folder of its own; where it is not installed, say what to install."""
    from chaos.engines import Missing
    from edge.telemetry import configure_logs

    configure_logs("text", "error")
    with tempfile.TemporaryDirectory(prefix="codewarz-bench-") as folder:
        Path(folder).chmod(0o711)  # the server is another user's where we are root
        try:
            found = trio.run(measure, Path(folder) / "redis")
        except Missing as error:
            typer.echo(visible(error, lines=True), err=True)
            raise typer.Exit(1) from error
    return Report(name, found["figures"], found["references"], found["ratios"], machine())
