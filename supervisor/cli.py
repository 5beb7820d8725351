"""The operator's verbs as a typer application: `status restart stop start drain scale`, over the control socket.

Exit status: 0 done, 1 the answer is no, 2 usage, 3 nothing running.
"""

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from supervisor.visible import visible, visible_json

SocketPath = Callable[[], Path]

ANSWER_IS_NO = 1
NOTHING_RUNNING = 3


class Output(StrEnum):
    """How to print."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="text for people, json for programs.")]
PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="Where in the tree, for example judge/workers.")]


def make_app(socket_path: SocketPath, *, name: str = "supervisor") -> typer.Typer:
    """An application with the operator's verbs; `socket_path` is called when a verb runs."""
    app = typer.Typer(
        name=name, no_args_is_help=True, add_completion=False, help="Look at a running tree and steer it."
    )
    add_verbs(app, socket_path)
    return app


def add_verbs(app: typer.Typer, socket_path: SocketPath, everywhere: Callable[[Output], None] | None = None) -> None:
    """Add the operator's verbs to an application that has others as well.

    `everywhere` shows every process of a cluster, for `status --all`: how they are found is the application's.
    """

    @app.command()
    def status(
        output: OutputOption = Output.TEXT,
        watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until Ctrl-C.")] = False,
        interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
        events: Annotated[int, typer.Option(min=0, max=32, help="How many of the last events to show.")] = 8,
        all_: Annotated[bool, typer.Option("--all", help="Every process of the cluster, a line each.")] = False,
    ) -> None:
        """Show the tree: what each actor does, its mailbox, its restarts, and what happened lately."""
        if all_:
            if everywhere is None or watch:
                raise typer.BadParameter(
                    "--all shows once, and only where processes know of each other", param_hint="--all"
                )
            everywhere(output)
        elif watch:
            _watch(socket_path, output, interval, events)
        else:
            _show(_ask(socket_path, output, "status"), output, events)

    @app.command()
    def restart(path: PathArgument, output: OutputOption = Output.TEXT) -> None:
        """Drain it and start it again. Counts against no limit and works during a backoff too."""
        _act(socket_path, output, "restart", f"{path} is running again", path=path)

    @app.command()
    def stop(path: PathArgument, output: OutputOption = Output.TEXT) -> None:
        """Cancel it now; the message in its hands goes back to its mailbox. It stays down until it is started."""
        _act(socket_path, output, "stop", f"{path} has stopped", path=path)

    @app.command()
    def start(path: PathArgument, output: OutputOption = Output.TEXT) -> None:
        """Start what was stopped, has failed or is backing off."""
        _act(socket_path, output, "start", f"{path} is running", path=path)

    @app.command()
    def drain(path: PathArgument, output: OutputOption = Output.TEXT) -> None:
        """Let it finish what it has in hand, within its grace, and stay down."""
        _act(socket_path, output, "drain", f"{path} has finished and stopped", path=path)

    @app.command()
    def scale(
        path: PathArgument,
        n: Annotated[int, typer.Argument(metavar="N", min=0, help="How many workers.")],
        output: OutputOption = Output.TEXT,
    ) -> None:
        """Give a pool N workers. Those that are too many finish what they have in hand."""
        _act(socket_path, output, "scale", f"{path} has {n} worker{'' if n == 1 else 's'}", path=path, n=n)


def _ask(socket_path: SocketPath, output: Output, verb: str, **fields: Any) -> dict[str, Any]:
    import trio

    from supervisor.client import request
    from supervisor.errors import ControlError, NothingRunning

    async def ask() -> dict[str, Any]:
        return await request(socket_path(), verb, **fields)

    try:
        return trio.run(ask)
    except NothingRunning as exc:
        raise _failure(exc, output, NOTHING_RUNNING) from exc
    except ControlError as exc:
        raise _failure(exc, output, ANSWER_IS_NO) from exc


def _failure(exc: Exception, output: Output, code: int) -> typer.Exit:
    import msgspec

    if output is Output.JSON:
        refused = {"ok": False, "error": getattr(exc, "kind", type(exc).__name__), "message": str(exc)}
        typer.echo(visible_json(msgspec.json.encode(refused)))
    else:
        typer.echo(visible(exc, lines=True), err=True)
    return typer.Exit(code)


def _act(socket_path: SocketPath, output: Output, verb: str, done: str, **fields: Any) -> None:
    import msgspec

    result = _ask(socket_path, output, verb, **fields)
    is_json = output is Output.JSON
    typer.echo(visible_json(msgspec.json.encode({"ok": True, **result})) if is_json else visible(done))


def _show(result: dict[str, Any], output: Output, events: int) -> None:
    import msgspec

    if output is Output.JSON:
        typer.echo(visible_json(msgspec.json.encode(result)))
        return
    from rich.console import Console

    console = Console()
    console.print(_picture(result, events, console.width))


WIDE_ENOUGH = 110
"""Columns from which where the actors wait fits beside the rest."""


def _picture(result: dict[str, Any], events: int, width: int) -> Any:
    import msgspec

    from supervisor.render import render
    from supervisor.status import TreeStatus

    return render(msgspec.convert(result, TreeStatus), events=events, wide=width >= WIDE_ENOUGH)


def _watch(socket_path: SocketPath, output: Output, interval: float, events: int) -> None:
    from rich.console import Console
    from rich.live import Live

    try:
        if output is Output.JSON:
            while True:
                _show(_ask(socket_path, output, "status"), output, events)
                sys.stdout.flush()
                time.sleep(interval)
        console = Console()
        first = _picture(_ask(socket_path, output, "status"), events, console.width)
        with Live(first, console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(_picture(_ask(socket_path, output, "status"), events, console.width), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
