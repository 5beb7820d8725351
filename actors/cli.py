"""``codewarz``: one command for everybody. Exit status: 0 done, 1 the answer is no, 2 usage, 3 nothing running."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from supervisor.cli import ANSWER_IS_NO, NOTHING_RUNNING, Output, OutputOption, add_verbs
from supervisor.visible import visible, visible_json

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="CodeWarz: a competitive-programming platform. [bold]codewarz up[/] starts it.",
)
problem_app = typer.Typer(no_args_is_help=True, help="Problem packages: check them, take them in.")
contest_app = typer.Typer(no_args_is_help=True, help="Contests.")
user_app = typer.Typer(no_args_is_help=True, help="Accounts.")
board_app = typer.Typer(no_args_is_help=True, help="Leaderboards: compare with the verdict log, rebuild.")
outbox_app = typer.Typer(
    no_args_is_help=True, help="The outbox: what core has committed and the broker has not confirmed yet."
)
dlq_app = typer.Typer(no_args_is_help=True, help="Dead letters: look at them, replay them, delete them.")
for each, name in (
    (problem_app, "problem"),
    (contest_app, "contest"),
    (user_app, "user"),
    (board_app, "board"),
    (outbox_app, "outbox"),
    (dlq_app, "dlq"),
):
    app.add_typer(each, name=name)


def _settings() -> Any:
    from actors import settings
    from contracts.errors import Invalid

    try:
        return settings.load()
    except Invalid as error:
        _no(error.detail)


def _socket() -> Path:
    socket: Path = _settings().socket
    return socket


def _everywhere(output: Output) -> None:
    """Show every process of the cluster."""
    from actors import roster
    from contracts.errors import CodeWarzError

    _log_to_stderr()
    try:
        found = roster.read(_settings())
    except CodeWarzError as error:
        _no(error.detail, output)
    if output is Output.JSON:
        _json({"processes": found.nodes})
    else:
        roster.show(found)
    if not found.nodes:
        raise typer.Exit(NOTHING_RUNNING)


add_verbs(app, _socket, _everywhere)


def _no(why: str, output: Output = Output.TEXT, status: int = ANSWER_IS_NO) -> NoReturn:
    if output is Output.JSON:
        _json({"ok": False, "message": why})
    else:
        typer.echo(visible(why, lines=True), err=True)
    raise typer.Exit(status)


def _log_to_stderr() -> None:
    """Keep what is logged on a verb's way out of what it prints."""
    from edge.telemetry import configure_logs

    configure_logs("text", "warning")


def _json(value: object) -> None:
    import msgspec

    typer.echo(visible_json(msgspec.json.encode(value)))


def _ask(output: Output, verb: str, **fields: Any) -> dict[str, Any]:
    """Ask the running house; where none runs and all neighbours are servers, do it from here. Ends the command when the answer is no."""
    import trio

    from actors import remote
    from supervisor.errors import ControlError, NothingRunning, SupervisorError

    _log_to_stderr()
    try:
        return trio.run(remote.ask, _settings(), verb, fields)
    except NothingRunning as error:
        _no(str(error), output, NOTHING_RUNNING)
    except (ControlError, SupervisorError) as error:
        _no(str(error), output)


def _show(output: Output, result: dict[str, Any], text: str) -> None:
    """Print what a verb came to. What others wrote in ``text`` is made visible here; what must not begin a line of its own, where the text is made."""
    if output is Output.JSON:
        _json(result)
    else:
        typer.echo(visible(text, lines=True))


# ---- the house -------------------------------------------------------------------------------------------------------


@app.command()
def up(
    role: Annotated[
        list[str] | None,
        typer.Option(help="gateway, core, leaderboard or judge; several times for several. Default: the whole house."),
    ] = None,
) -> None:
    """Run the house, or some roles of it, in the foreground. Ctrl-C or SIGTERM drains; a second one stops at once."""
    import trio

    from actors.house import open_house
    from actors.operations import Operations
    from actors.system import EVERY_ROLE, Role
    from contracts.errors import CodeWarzError
    from edge.telemetry import configure_logs
    from supervisor.errors import SupervisorError

    unknown = sorted(set(role or ()) - EVERY_ROLE)
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)} is none of {', '.join(Role)}", param_hint="--role")
    roles = frozenset(Role(each) for each in role) if role else EVERY_ROLE
    settings = _settings()
    configure_logs(settings.log, settings.log_level, node=settings.node)

    async def run() -> bool:
        house = await open_house(settings, tell=lambda text: typer.echo(f"  {text}"), roles=roles)
        parts = "" if roles == EVERY_ROLE else f" ({', '.join(sorted(roles))})"
        typer.echo(f"CodeWarz{parts} is starting …")
        report = await house.run(
            lambda opened: Operations(opened.neighbours).verbs(),
            lambda opened: typer.echo(f"  open {opened.address.url}   (Ctrl-C ends it)"),
        )
        typer.echo(report.text())
        return report.clean

    clean = False
    try:
        clean = trio.run(run)
    except* (CodeWarzError, SupervisorError) as group:
        # Only said here: Python 3.11.2, which is Debian 12's, wraps what is raised in here in a group, and a traceback follows.
        for why in dict.fromkeys(_causes(group)):
            typer.echo(visible(why, lines=True), err=True)
    if not clean:
        raise typer.Exit(ANSWER_IS_NO)


def _causes(error: BaseException) -> list[str]:
    """Return the sentence of an error, of a group each of them; where a supervisor gave up, that of what it gave up on."""
    from supervisor.errors import IntensityExceeded

    if isinstance(error, BaseExceptionGroup):
        return [text for each in error.exceptions for text in _causes(each)]
    if isinstance(error, IntensityExceeded) and error.__cause__ is not None:
        return _causes(error.__cause__)
    return [str(error)]


@app.command()
def migrate(output: OutputOption = Output.TEXT) -> None:
    """Bring the database's schema, and its logins, up to date and end: for a job that runs before the processes of a cluster."""
    import trio

    from actors import remote
    from contracts.errors import CodeWarzError

    _log_to_stderr()
    try:
        done = trio.run(remote.migrate_database, _settings())
    except* CodeWarzError as group:
        _no("; ".join(dict.fromkeys(_causes(group))), output)
    if output is Output.JSON:
        _json(done._asdict())
    else:
        typer.echo(f"applied: {', '.join(done.applied)}" if done.applied else "the schema is up to date")
        for line in done.privileges:
            typer.echo(visible(line))


@app.command()
def doctor(output: OutputOption = Output.TEXT) -> None:
    """Say what works here, what does not, and the command that mends it; and every setting with its value."""
    from actors.doctor import examine, show

    report = examine(_settings())
    if output is Output.JSON:
        _json(report)
    else:
        show(report)
    if not report.is_usable:
        raise typer.Exit(ANSWER_IS_NO)


# ---- judging here and now --------------------------------------------------------------------------------------------


@app.command()
def judge(
    package: Annotated[Path, typer.Argument(help="A problem package: folder or zip.")],
    source: Annotated[Path, typer.Argument(help="The program to judge.")],
    language: Annotated[str, typer.Option("--language", "-l", help="Default: by the file's name.")] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Judge one file here and now, without a server."""
    from actors import workbench
    from contracts.errors import CodeWarzError

    try:
        judged = workbench.judge_file(package, source, language, workbench.printer(output is Output.TEXT))
    except CodeWarzError as error:
        _no(error.detail, output)
    if output is Output.JSON:
        _json(workbench.judged_as_json(judged))
    else:
        workbench.show_judged(judged)
    if judged.verdict != "AC":
        raise typer.Exit(ANSWER_IS_NO)


@problem_app.command()
def verify(
    path: Annotated[list[Path], typer.Argument(help="Problem packages: folders or zips.")],
    output: OutputOption = Output.TEXT,
) -> None:
    """Judge a package's own submissions and say where one differs from what its folder or annotation expects."""
    from actors import workbench
    from contracts.errors import CodeWarzError

    try:
        reports = workbench.verify_packages(path, workbench.VerifyTeller(is_quiet=output is Output.JSON))
    except CodeWarzError as error:
        _no(error.detail, output)
    if output is Output.JSON:
        _json(reports[0] if len(reports) == 1 else reports)
    if not all(report.is_good for report in reports):
        raise typer.Exit(ANSWER_IS_NO)


@problem_app.command("import")
def import_(path: Annotated[Path, typer.Argument()], output: OutputOption = Output.TEXT) -> None:
    """Verify a package and take it into the running house, as the newest version of its slug."""
    result = _ask(output, "problem_import", path=str(path.absolute()))
    flagged = "" if result["is_clean"] else "  (flagged: it differs from its own annotations)"
    _show(
        output, result, f"{visible(result['title'])}: version {result['version']} of {visible(result['slug'])}{flagged}"
    )


# ---- operations ------------------------------------------------------------------------------------------------------


@user_app.command("create")
def create_user(
    username: str,
    email: Annotated[str, typer.Option(prompt=True)],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
    role: Annotated[str, typer.Option(help="contestant, staff or admin")] = "contestant",
    output: OutputOption = Output.TEXT,
) -> None:
    """Make an account with any role."""
    result = _ask(output, "user_create", username=username, email=email, password=password, role=role)
    _show(output, result, f"{result['username']} ({result['role']}) made: {result['user_id']}")


@contest_app.command("create")
def create_contest(
    title: str,
    start: Annotated[str, typer.Option(help="ISO 8601; local time without an offset")],
    end: Annotated[str, typer.Option(help="ISO 8601")],
    rules: Annotated[str, typer.Option(help="icpc or ioi")] = "icpc",
    freeze: Annotated[str | None, typer.Option(help="when the public board stops")] = None,
    problem: Annotated[list[str] | None, typer.Option(help="slug; give it once for each problem, in order")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make a contest out of imported problems."""
    result = _ask(
        output, "contest_create", title=title, start=start, end=end, rules=rules, freeze=freeze, problems=problem or []
    )
    _show(output, result, f"{result['title']} made with {result['problems']} problems: {result['contest_id']}")


@app.command()
def rejudge(
    submission: Annotated[str | None, typer.Option(help="one submission")] = None,
    problem: Annotated[str | None, typer.Option(help="everything of a problem")] = None,
    contest: Annotated[str | None, typer.Option(help="everything in a contest")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only count")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Judge again, behind everything live. Options together narrow the choice."""
    fields = {"submission_id": submission, "problem_id": problem, "contest_id": contest, "dry_run": dry_run}
    result = _ask(output, "rejudge", **fields)
    done = "would be judged again" if dry_run else "are judged again"
    _show(output, result, f"{result['submissions']} submissions {done}")


@board_app.command("verify")
def verify_board(contest: str, output: OutputOption = Output.TEXT) -> None:
    """Compare a contest's boards with the fold of the verdict log."""
    result = _ask(output, "board_verify", contest_id=contest)
    differing = sum(len(users) for users in result["differences"].values())
    text = (
        "equal to the verdict log" if result["equal"] else f"{differing} rows differ: codewarz board rebuild {contest}"
    )
    _show(output, result, f"{result['contestants']} contestants, {text}")
    if not result["equal"]:
        raise typer.Exit(ANSWER_IS_NO)


@board_app.command("rebuild")
def rebuild_board(contest: str, output: OutputOption = Output.TEXT) -> None:
    """Fold a contest's boards anew from the verdict log."""
    _show(output, _ask(output, "board_rebuild", contest_id=contest), "rebuilt")


@outbox_app.command("status")
def outbox_status(output: OutputOption = Output.TEXT) -> None:
    """Count what waits to be published, and what was given up."""
    result = _ask(output, "outbox_status")
    _show(output, result, f"{result['waiting']} waiting (oldest {result['oldest_ms']} ms), {result['parked']} parked")


LimitOption = Annotated[int, typer.Option(min=1, max=500, help="how many at most")]
MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="a message's id, as the list shows it")]
QueueOption = Annotated[str | None, typer.Option(help="submission.dlq or verdict.dlq; default: all")]


@outbox_app.command("list")
def outbox_list(
    parked: Annotated[bool, typer.Option("--parked", help="only what was given up")] = False,
    limit: LimitOption = 20,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show what has not been published yet, the oldest first."""
    result = _ask(output, "outbox_list", parked=parked, limit=limit)
    lines = []
    for row in result["items"]:
        state = "parked" if row["parked_at_ms"] else "waiting"
        what = row["last_error"] or row["body"][:80]
        lines.append(visible(f"{row['id']}  {row['topic']:10}  {state:7}  attempts {row['attempts']}  {what}"))
    _show(output, result, "\n".join(lines) or "nothing waits")


@outbox_app.command("retry")
def outbox_retry(
    message: Annotated[str | None, typer.Argument(metavar="[MESSAGE]")] = None,
    all_: Annotated[bool, typer.Option("--all", help="everything that is parked")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Have one row published now, or all that are parked."""
    if (message is None) is not all_:
        raise typer.BadParameter("one message, or --all that are parked")
    result = _ask(output, "outbox_retry", message_id=message, all=all_, by=_who())
    _show(output, result, f"{result['changed']} will be published")


@outbox_app.command("park")
def outbox_park(message: MessageArgument, output: OutputOption = Output.TEXT) -> None:
    """Keep a row from being published until it is retried."""
    _show(output, _ask(output, "outbox_park", message_id=message, by=_who()), "parked")


@dlq_app.command("list")
def dlq_list(queue: QueueOption = None, limit: LimitOption = 20, output: OutputOption = Output.TEXT) -> None:
    """Count the dead letters, and show the first ones."""
    result = _ask(output, "dlq_list", queue=queue, limit=limit)
    lines = []
    for each in result["queues"]:
        lines.append(f"{each['queue']}: {each['messages']}")
        lines += [
            visible(f"  {row['message_id']}  {row['reason']}, died {row['deaths']}×  {row['about']}")
            for row in each["first"]
        ]
    _show(output, result, "\n".join(lines))


@dlq_app.command("show")
def dlq_show(message: MessageArgument, output: OutputOption = Output.TEXT) -> None:
    """Show one dead letter, whole."""
    result = _ask(output, "dlq_show", message_id=message)
    which = visible(f"{result['message_id']} in {result['queue']}, priority {result['priority']}")
    headers = [visible(f"  {name}: {value}") for name, value in sorted(result["headers"].items())]
    _show(output, result, "\n".join([which, *headers, "", result["body"]]))


@dlq_app.command("replay")
def dlq_replay(
    message: Annotated[str | None, typer.Argument(metavar="[MESSAGE]")] = None,
    queue: QueueOption = None,
    count: Annotated[int, typer.Option(min=0, help="the oldest so many of --queue, instead of one message")] = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """Publish dead letters again, where they first came from."""
    if (message is None) is (count == 0):
        raise typer.BadParameter("one message, or --queue and --count")
    result = _ask(output, "dlq_replay", message_id=message, queue=queue, count=count, by=_who())
    _show(output, result, f"{result['replayed']} of {result['queue']} published again")


@dlq_app.command("purge")
def dlq_purge(
    queue: Annotated[str, typer.Argument(help="submission.dlq or verdict.dlq")],
    count: Annotated[int, typer.Option(min=0, help="how many there are: the confirmation")],
    output: OutputOption = Output.TEXT,
) -> None:
    """Delete all dead letters of a queue, for good."""
    result = _ask(output, "dlq_purge", queue=queue, count=count, by=_who())
    _show(output, result, f"{result['purged']} deleted from {result['queue']}")


def _who() -> str:
    """Return who types, for the audit log."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "unknown"


def main() -> None:
    """Run the command line, with the verbs that packages beside the house add (``bench``)."""
    for verb in entry_points(group="codewarz.verbs"):
        # Only the verb that is asked for is imported; without one, all are, for the help.
        if len(sys.argv) < 2 or sys.argv[1] in (verb.name, "--help"):
            app.add_typer(verb.load(), name=verb.name)
    app()
