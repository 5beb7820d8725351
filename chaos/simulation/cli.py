"""``codewarz simulate``: seeds from the command line. Exit status: 0 all promises held, 1 one was broken, 2 usage, 130 interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from supervisor.cli import Output, OutputOption

if TYPE_CHECKING:
    from chaos.simulation.verb import Asked

USAGE = 2
JOBS_MOST = 64
SCENARIO_SEEDS = "0..9"

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    subcommand_metavar="",
)


@app.callback(invoke_without_command=True)
def simulate(
    seeds: Annotated[str, typer.Option("--seeds", metavar="A..B", help="Run all of these, both included.")] = "",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, max=JOBS_MOST, help="Processes; one for each core if not given."),
    ] = None,
    replay: Annotated[
        int | None, typer.Option("--replay", metavar="SEED", min=0, help="Run one, and show its whole trace.")
    ] = None,
    options: Annotated[
        str, typer.Option("--options", metavar="JSON", help="As --replay, with options as a failure prints them.")
    ] = "",
    timeline: Annotated[
        str,
        typer.Option(
            "--timeline", metavar="ID", help="With --replay: one submission's life instead of the whole trace."
        ),
    ] = "",
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Make what fails as small as it goes while it still fails.")
    ] = False,
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="PATH[:NAME]", help="A tester's scenario instead of faults by chance.")
    ] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a whole cluster in one deterministic simulation: real actors, simulated neighbours, faults by chance; hold it to every promise.

    [bold]codewarz simulate --seeds 0..299[/]: three hundred runs. A failure prints the command that replays it.

    [bold]codewarz simulate --replay 7[/]: one of them, line by line.
    """
    import trio

    from chaos.simulation.verb import Asked, many, one
    from contracts.errors import Invalid

    asked = Asked(jobs=jobs, scenario=scenario, timeline=timeline, is_shrinking=shrink, is_json=output is Output.JSON)
    try:
        _check(asked, seeds, replay, options)
        is_batch = replay is None and not options
        status = trio.run(many, asked, seeds or SCENARIO_SEEDS) if is_batch else trio.run(one, asked, replay, options)
    except Invalid as error:
        _no(error.detail, output)
    raise typer.Exit(status)


def _check(asked: Asked, seeds: str, replay: int | None, options: str) -> None:
    """Raise Invalid when the options do not go together."""
    from contracts.errors import Invalid

    given = [
        name
        for name, is_given in (("--seeds", seeds), ("--replay", replay is not None), ("--options", options))
        if is_given
    ]
    if len(given) > 1:
        raise Invalid(
            f"{' and '.join(given)} do not go together: a batch has seeds, a single run has a seed or options"
        )
    if not given and not asked.scenario:
        raise Invalid("say what to run: --seeds 0..299 for a batch, --replay 7 for a single run (--help has the rest)")
    if asked.timeline and (seeds or not given):
        raise Invalid("--timeline shows a submission of one run: give it --replay SEED")
    if asked.scenario and not Path(asked.scenario.partition(":")[0]).is_file():
        raise Invalid(f"there is no file {asked.scenario.partition(':')[0]!r} with a scenario")


def _no(why: str, output: Output) -> NoReturn:
    import msgspec

    if output is Output.JSON:
        typer.echo(msgspec.json.encode({"ok": False, "error": "usage", "message": why}))
    else:
        typer.echo(why, err=True)
    raise typer.Exit(USAGE)
