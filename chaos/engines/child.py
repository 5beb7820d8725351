"""A server as a child process: started until it answers, ended, killed, frozen, begun again on the same data and port."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

START_S = 60.0
END_S = 20.0
LOOK_S = 0.02
SIGNAL_S = 0.001
STOPPED, DEAD = "Tt", "ZX"
HOST = "127.0.0.1"
PORTS = range(12_000, 32_000)

_chance = random.SystemRandom()
_given: set[int] = set()


class Child:
    """One server. ``folder`` is its own: data, logs and sockets; it is made when it is not there. Use as a context manager, or ``start`` and ``end``."""

    name = "server"
    end_signal = signal.SIGTERM

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {HOST}:{self.port} {'running' if self.is_running else 'down'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    # ---- what a server says of itself ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make its data; called before the first start only."""

    def command(self) -> Sequence[str]:
        """Return what to run; it must stay in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what is added to the environment."""
        return {}

    def is_ready(self) -> bool:
        """Whether it answers."""
        return self.is_listening()

    def is_listening(self) -> bool:
        """Whether anybody takes connections at its port."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((HOST, self.port)) == 0

    # ---- its life --------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether its process lives, frozen or not."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start, and return when it answers. On a folder with data it goes on with that."""
        assert not self.is_running, f"{self!r} runs already"
        if self.is_listening():
            raise RuntimeError(f"{self.name} cannot start: somebody else listens on port {self.port}")
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True)
            self._own(self.folder)
            self.prepare()
        with os.fdopen(os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self.process = self._popen(self.command(), log)
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start:\n{self.last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not answer within {START_S:g} s:\n{self.last_words()}")
            time.sleep(LOOK_S)

    def end(self) -> None:
        """End in good order, by force when that takes too long; nothing happens when it does not run."""
        if self.process is None:
            return
        self.thaw()
        if self.process.poll() is None:
            self.process.send_signal(self.end_signal)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """End at once, as in a power cut: it and everything it has started. None of them is there any more when this returns, and nothing that they held."""
        if self.process is not None and self.process.poll() is None:
            family = self._stop()
            for pid in family:
                _signal(pid, signal.SIGKILL)
            self.process.wait()
            _wait(family, DEAD)  # PostgreSQL does not start while one of its own still has the memory that they shared
            deadline = time.monotonic() + END_S
            while self.is_listening() and time.monotonic() < deadline:  # a container's port may take a moment longer
                time.sleep(LOOK_S)
        self._is_frozen = False

    def freeze(self) -> None:
        """Stop its processes where they are (SIGSTOP): connections stay open and nobody answers."""
        self._stop()
        self._is_frozen = True

    def thaw(self) -> None:
        """Let a frozen one go on."""
        if self._is_frozen and self.is_running:
            for pid in self._family():
                _signal(pid, signal.SIGCONT)
        self._is_frozen = False

    def erase(self) -> None:
        """Throw its data away; it must not be running."""
        assert not self.is_running
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self) -> str:
        """Return the end of its log."""
        try:
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        except OSError as error:
            return str(error)

    # ---- helpers ---------------------------------------------------------------------------------------------------

    def run(self, command: Sequence[str], *, timeout_s: float = START_S) -> str:
        """Run one of its tools as its user, and return what it said; RuntimeError with that when it failed."""
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our own words
            command,
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}")
        return done.stdout

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder, for its user only, and at no moment for anybody else."""
        return write_private(self.folder / name, text, self._own)

    def _stop(self) -> list[int]:
        """Stop its process and all that come from it, and return them: who stands still has no further children, so one looks until there are no others."""
        stopped: list[int] = []
        while born := [pid for pid in self._family() if pid not in stopped]:
            for pid in born:
                _signal(pid, signal.SIGSTOP)
            stopped += born
            _wait(born, STOPPED + DEAD)  # a fork that was under way ends first
        return stopped

    def _family(self) -> list[int]:
        """Return its process and all that come from it, parents first. PostgreSQL's are no process group: each connection's has a session of its own."""
        assert self.process is not None
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # ended meanwhile
                parent = int(entry.read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.parent.name))
        family = [self.process.pid]
        for pid in family:
            family += children.get(pid, [])
        return family

    def _popen(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own words
            command,
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **self._identity(),
        )

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return {**kept, "LC_ALL": "C.UTF-8", "HOME": str(self.folder), **self.environment()}

    def _identity(self) -> dict[str, Any]:
        user = self._user()
        if user is None:
            return {}
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _own(self, path: Path) -> None:
        user = self._user()
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)

    def _user(self) -> pwd.struct_passwd | None:
        """Whom the server runs as; None: ourselves."""
        return None


def write_private(path: Path, text: str, own: Callable[[Path], None] = lambda _path: None) -> Path:
    """Write a file that only its owner can read, from its first moment on; ``own`` gives it to somebody. A file that is there is replaced."""
    made = path.with_name(f".{path.name}.{_chance.getrandbits(64):016x}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    own(made)
    return made.replace(path)


def _state(pid: int) -> str:
    """Return a process's state, as proc(5) has it; who is no more is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _wait(pids: Sequence[int], states: str) -> None:
    """Wait until all are in one of these states, for ``END_S`` at most: signals are on their way for a moment, on a busy machine for longer."""
    deadline = time.monotonic() + END_S
    while not all(_state(pid) in states for pid in pids) and time.monotonic() < deadline:
        time.sleep(SIGNAL_S)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def free_port() -> int:
    """Return a port that nobody listens on, another one at each call. It is below those that the kernel gives to connections by itself (from 32768 on).

    So nobody gets it by chance while its server is down, which for a server that is killed and started again may be at any time.
    """
    while True:
        port = _chance.randrange(PORTS.start, PORTS.stop)
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex((HOST, port)) != 0 and _can_bind(port):
                _given.add(port)
                return port


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
