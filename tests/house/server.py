"""A real ``codewarz up`` in a process of its own: start, kill, restart, stop, and a look at what it leaves behind.

Waiting here is waiting for another process: always for something that can be seen, with a deadline, never for a time to pass.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from tests.house.client import Client

T = TypeVar("T")

CODEWARZ = Path(sys.executable).with_name("codewarz")
ADMIN_PASSWORD = "correct horse battery staple"
START_S = 60.0
STOP_S = 10.0  # what is promised: Ctrl-C drains and ends cleanly within this time
LOOK_EVERY_S = 0.02


def until(what: Callable[[], T | None], why: str, timeout_s: float = 30.0, every_s: float = LOOK_EVERY_S) -> T:
    """Return the first true answer of ``what``; AssertionError, with ``why``, when there is none in time."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < give_up_at, f"not within {timeout_s:g} s: {why}"
        time.sleep(every_s)


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    took_s: float
    out: str
    err: str


class Server:
    """One data folder and the servers that live on it, one after another."""

    def __init__(self, folder: Path, launcher: tuple[str, ...] = (), **settings: object) -> None:
        self.folder = folder
        self.data = folder / "d"
        self.url = ""
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._launcher = launcher or (str(CODEWARZ),)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CODEWARZ_") and name != "COLUMNS"
        } | {
            "CODEWARZ_DATA": str(self.data),
            "CODEWARZ_HTTP": "127.0.0.1:0",
            "CODEWARZ_LOG": "json",
            "CODEWARZ_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "CODEWARZ_DEMO_CONTESTANTS": "0",
        }
        self.environment |= {f"CODEWARZ_{name.upper()}": str(value) for name, value in settings.items()}

    # ---- life --------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self.process is not None, "the server is not running"
        return self.process.pid

    @property
    def port(self) -> int:
        """Where it listens, or last listened."""
        return int(self.url.rpartition(":")[2])

    def launch(self) -> None:
        """Start the process in a process group of its own, as a shell does, and wait for nothing."""
        assert self.process is None, "the server is running already"
        self.starts += 1
        with self._file("out", "wb") as out, self._file("log", "wb") as log:
            self.process = subprocess.Popen(
                [*self._launcher, "up"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                process_group=0,
            )

    def start(self) -> float:
        """Start it and wait until it serves; return how many seconds that took."""
        began = time.monotonic()
        self.launch()
        until(lambda: self._has_opened() or self._has_ended(), "it says where it is open", START_S)
        assert self.process is not None
        assert not self._has_ended(), f"it ended at once:\n{self.out()}\n{self.log_text()}"
        until(self.is_ready, "it is ready", START_S)
        return time.monotonic() - began

    def is_ready(self) -> bool:
        """Whether it says that it can serve."""
        try:
            return self.visitor().get("/health/ready").status == 200
        except OSError:
            return False

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _has_opened(self) -> bool:
        for line in self.out().splitlines():
            words = line.split()
            if words[:1] == ["open"]:
                self.url = words[1]
                return True
        return False

    def wait(self, timeout_s: float = START_S) -> Ended:
        """Wait for the end of a server that ends by itself."""
        assert self.process is not None
        began = time.monotonic()
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"it did not end within {timeout_s:g} s:\n{self.out()}\n{self.log_text()}") from None
        self.process = None
        return Ended(status, time.monotonic() - began, self.out(), self.log_text())

    def stop(self, number: signal.Signals = signal.SIGTERM, *, group: bool = False) -> float:
        """Send a signal (to its whole group, as Ctrl-C does) and wait for the clean end that is promised; return how long it took."""
        (os.killpg if group else os.kill)(self.pid, number)
        ended = self.wait(2 * STOP_S)
        assert ended.status == 0, f"exit status {ended.status}:\n{ended.out}\n{ended.err[-4000:]}"
        assert ended.took_s < STOP_S, f"ending took {ended.took_s:.1f} s:\n{ended.out}\n{ended.err[-4000:]}"
        return ended.took_s

    def kill9(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self) -> None:
        """Leave nothing behind, whatever state a failed test left it in."""
        if self.process is not None:
            self.kill9()

    # ---- looking -----------------------------------------------------------------------------------------------------

    def _file(self, kind: str, mode: str) -> IO[bytes]:
        return (self.folder / f"{kind}{self.starts}").open(mode)

    def out(self) -> str:
        """What the present (or last) process has printed."""
        return (self.folder / f"out{self.starts}").read_text("utf-8", "replace")

    def log_text(self) -> str:
        """What it has logged, and complained."""
        return (self.folder / f"log{self.starts}").read_text("utf-8", "replace")

    def log(self) -> list[dict[str, Any]]:
        """The log as data; a line that is no JSON is a finding by itself."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def assert_untroubled(self) -> None:
        """It is ready, and nothing in it has crashed since the start."""
        assert self.visitor().get("/health/ready").json["status"] == "ok"
        assert [
            line for line in self.log_text().splitlines() if "Traceback" in line and "loop_blocked" not in line
        ] == []
        assert self.errors() == []

    def errors(self) -> list[dict[str, Any]]:
        """The log's lines that need somebody's attention; that the machine was too busy to run the loop for a second is not the house's fault."""
        lines = (line for line in self.log() if line["event"] != "loop_blocked")
        return [line for line in lines if line["level"] in ("error", "critical")]

    @property
    def database(self) -> Path:
        """The database's file."""
        return self.data / "codewarz.db"

    def boxes(self) -> set[int]:
        """The sandboxes alive now: bubblewrap processes that the server itself started."""
        return {pid for pid, parent in _processes() if parent == self.pid and _program(pid) == "bwrap"}

    def everything_below(self) -> set[int]:
        """Every process that descends from the server."""
        found, parents = {self.pid}, dict(_processes())
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                return found - {self.pid}
            found |= more

    # ---- people ------------------------------------------------------------------------------------------------------

    def visitor(self) -> Client:
        """Somebody who has not signed in."""
        return Client(self)

    def user(self, name: str) -> Client:
        """Somebody new."""
        client = self.visitor()
        client.signup(name)
        return client

    def admin(self) -> Client:
        """The administrator, signed in."""
        client = self.visitor()
        client.signin("admin", ADMIN_PASSWORD)
        return client

    # ---- the command line --------------------------------------------------------------------------------------------

    def run(self, *arguments: str, timeout_s: float = 60.0) -> Ended:
        """Run ``codewarz`` with the server's settings."""
        began = time.monotonic()
        done = subprocess.run(
            [str(CODEWARZ), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return Ended(done.returncode, time.monotonic() - began, done.stdout.decode(), done.stderr.decode())

    def cli(self, *arguments: str, status: int = 0, timeout_s: float = 60.0) -> Any:
        """Run a verb with ``-o json`` and return what it printed."""
        done = self.run(*arguments, "-o", "json", timeout_s=timeout_s)
        assert done.status == status, f"codewarz {' '.join(arguments)}: {done.status}\n{done.out}\n{done.err}"
        return json.loads(done.out)

    def rows(self) -> dict[str, dict[str, Any]]:
        """What ``codewarz status`` shows, by path."""
        return {row["path"]: row for row in self.cli("status")["rows"]}


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _processes() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(entry.name), int(fields[1])


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
