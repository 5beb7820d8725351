"""``codewarz cluster``: a cluster on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from chaos.engines.engine import Where
from supervisor.visible import visible

app = typer.Typer(add_completion=False, rich_markup_mode="rich", subcommand_metavar="")


@app.callback(invoke_without_command=True)
def cluster(
    gateways: Annotated[int, typer.Option(min=1, max=16)] = 2,
    cores: Annotated[int, typer.Option(min=1, max=16)] = 2,
    leaderboards: Annotated[int, typer.Option(min=1, max=16)] = 2,
    judges: Annotated[int, typer.Option(min=1, max=16)] = 2,
    workers: Annotated[int, typer.Option(min=1, max=64, help="of each judge")] = 2,
    engines: Annotated[
        Where, typer.Option(help="auto: in containers where their programs are not installed")
    ] = Where.AUTO,
) -> None:
    """Run CodeWarz as several processes on a private PostgreSQL, Redis and RabbitMQ, on free ports. Ctrl-C ends it and throws its data away."""
    from chaos.cluster.cluster import Cluster, Shape
    from chaos.engines import Missing
    from chaos.engines.child import write_private

    folder = Path(tempfile.mkdtemp(prefix="codewarz-cluster-"))
    folder.chmod(0o711)  # the engines have users of their own, which must get through
    made = Cluster(folder, Shape(gateways, cores, leaderboards, judges, workers), where=engines)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        typer.echo("starting PostgreSQL, Redis, RabbitMQ and the processes …")
        made.start(lambda name: typer.echo(f"  ● {name}"))
        write_private(folder / "env", "\n".join(made.exports()) + "\n")
        _tell(made)
        signal.pause()
    except KeyboardInterrupt:
        typer.echo("ending …")
    except (Missing, RuntimeError) as error:
        typer.echo(visible(error, lines=True), err=True)
        raise typer.Exit(1) from error
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _tell(made: object) -> None:
    from actors.system import Role
    from chaos.cluster.cluster import Cluster

    assert isinstance(made, Cluster)
    for node in made.of(Role.GATEWAY):
        typer.echo(f"  open {node.address}   ({node.name})")
    typer.echo(f"  administrator: admin   password: {made.admin_password}")
    typer.echo(f"  . {made.folder / 'env'} && codewarz status --all")
    typer.echo("  Ctrl-C ends it")
