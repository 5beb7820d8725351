"""``codewarz doctor``: what works here, what does not, and the command that mends it."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import msgspec
import trio
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.settings import Settings, redacted
from sandbox import capabilities
from supervisor.visible import visible


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at; ``remedy`` is empty when all is well."""

    name: str
    is_ok: bool
    is_required: bool
    detail: str
    remedy: str = ""


class Setting(msgspec.Struct, frozen=True):
    """A setting and its value; secrets only say whether they are set."""

    name: str
    value: str
    is_default: bool
    meaning: str


class Examination(msgspec.Struct, frozen=True):
    """Everything the doctor says."""

    is_usable: bool
    checks: list[Check]
    languages: dict[str, str]
    settings: list[Setting]


def examine(settings: Settings) -> Examination:
    """Look at the machine and the settings; opens one real sandbox to be sure, changes nothing."""
    found = trio.run(capabilities.probe)
    checks = [Check(each.name, each.is_ok, each.is_required, each.detail, each.remedy) for each in found.items]
    checks += [_data_folder(settings.data), _port(settings.http, settings.socket)]
    languages = {each.name: each.version for each in found.languages.values()}
    usable = all(each.is_ok for each in checks if each.is_required)
    return Examination(usable, checks, languages, [_setting(settings, name) for name in Settings.model_fields])


def _data_folder(path: Path) -> Check:
    nearest = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    try:
        probe = nearest / f".codewarz-doctor-{id(path):x}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        return Check(
            "data folder",
            False,
            True,
            f"{nearest} cannot be written: {error.strerror}",
            "set CODEWARZ_DATA to a folder of yours",
        )
    return Check("data folder", True, True, str(path))


def _port(http: str, control: Path) -> Check:
    host, _, port = http.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host.strip("[]"), int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _answers(control):
                return Check("web address", True, True, f"{http}, where CodeWarz is running")
            # Not required: a house with another data folder may well be what runs there.
            remedy = "stop what uses it, or set CODEWARZ_HTTP"
            return Check("web address", False, False, f"{http}: {error.strerror}", remedy)
    return Check("web address", True, True, http)


def _answers(control: Path) -> bool:
    """Say whether a house with this data folder runs: then it is most likely what holds the address."""
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(control))
        except OSError:
            return False
    return True


def _setting(settings: Settings, name: str) -> Setting:
    field, value = Settings.model_fields[name], getattr(settings, name)
    secret = isinstance(value, SecretStr)
    shown = ("(set)" if value.get_secret_value() else "(not set)") if secret else redacted(str(value))
    return Setting(f"CODEWARZ_{name.upper()}", shown, value == field.default, field.description or "")


def show(report: Examination) -> None:
    """Print it for people."""
    console = Console()
    for check in report.checks:
        mark = ("✓", "green") if check.is_ok else ("✗", "red") if check.is_required else ("!", "yellow")
        line = Text.assemble(mark, " ", (check.name, "bold"), f"  {visible(check.detail, lines=True)}")
        console.print(line, soft_wrap=True)
        if check.remedy:
            console.print(Text(f"    {visible(check.remedy, lines=True)}", "cyan"), soft_wrap=True)
    console.print()
    table = Table(box=None, header_style="dim")
    for column in ("setting", "value", "meaning"):
        table.add_column(column, overflow="fold")
    for setting in report.settings:
        value = Text(visible(setting.value), "" if setting.is_default else "bold")
        table.add_row(setting.name, value, Text(setting.meaning))
    console.print(table)
    console.print(
        "\n[green]Everything that is needed works.[/]"
        if report.is_usable
        else "\n[red]Not ready: mend what is marked ✗.[/]"
    )
