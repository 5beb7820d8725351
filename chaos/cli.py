"""``codewarz chaos``: faults on real processes. Exit status: 0 every promise held, 1 one was broken, 2 usage, 130 interrupted."""

from __future__ import annotations

import secrets
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from chaos.engines.engine import Where
from supervisor.cli import ANSWER_IS_NO, Output, OutputOption
from supervisor.visible import visible, visible_json

if TYPE_CHECKING:
    from chaos.scenarios import Scenario

ALL = "all"
INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Faults on real processes: kill, freeze, cut, fill, forget, and look whether anything was lost.",
)


@app.command("list")
def list_(output: OutputOption = Output.TEXT) -> None:
    """Say what can happen."""
    import msgspec

    from chaos.scenarios import SCENARIOS

    if output is Output.JSON:
        rows = [{"scenario": each.name, "summary": each.summary} for each in SCENARIOS.values()]
        typer.echo(msgspec.json.encode({"scenarios": rows}))
        return
    wide = max(map(len, SCENARIOS))
    for each in SCENARIOS.values():
        typer.echo(f"  {each.name:<{wide}}  {each.summary}")


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(metavar="NAME…|all", help="codewarz chaos list has them.")],
    times: Annotated[int, typer.Option(min=1, max=1000, help="How often each.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Chooses who is hit; by chance, and told, if not given.")
    ] = None,
    engines: Annotated[
        Where, typer.Option(help="auto: in containers where their programs are not installed")
    ] = Where.AUTO,
    output: OutputOption = Output.TEXT,
) -> None:
    """Start a cluster on private engines, put people in front of it, break something, heal it, and hold it to its promises."""
    import msgspec
    import trio

    from chaos.engines import Missing
    from chaos.run import Runner, rounds
    from chaos.show import Teller
    from chaos.verdict import Report

    chosen = _chosen(names)
    first = secrets.randbelow(2**31) if seed is None else seed
    teller = Teller(is_json=output is Output.JSON)
    signal.signal(signal.SIGTERM, _interrupt)
    runner = Runner(teller.say, teller.done, where=engines)
    status, why = 0, list[str]()
    try:
        with teller.open(first, len(chosen) * times):
            trio.run(runner.run, rounds(chosen, times, first))
    except* (Missing, RuntimeError) as group:
        # Only noted here: what is raised in here is wrapped into a group, and a traceback follows.
        status, why = ANSWER_IS_NO, [str(each) for each in _leaves(group)]
    except* KeyboardInterrupt:
        status, why = INTERRUPTED, ["interrupted"]
    report = Report(runner.outcomes, broke_off="\n".join(why) or None)
    if output is Output.JSON:
        typer.echo(visible_json(msgspec.json.encode(report)))
    elif report.scenarios:
        teller.total(report)
    if why:
        typer.echo(visible("\n".join(why), lines=True), err=True)
    if status or not report.is_good:
        raise typer.Exit(status or ANSWER_IS_NO)


def _chosen(names: list[str]) -> list[Scenario]:
    from chaos.scenarios import SCENARIOS

    if names == [ALL]:
        return list(SCENARIOS.values())
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        raise typer.BadParameter(f"there is no scenario {', '.join(unknown)}: codewarz chaos list says which there are")
    return [SCENARIOS[name] for name in names]


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
