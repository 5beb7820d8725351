"""A server as a child process: started until it answers, ended, killed, frozen, begun again on the same data and port."""

from __future__ import annotations

import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from chaos.engines.container import Container, NoContainer, look, remove_orphans

START_S = 60.0
END_S = 20.0
LOOK_S = 0.02
ANSWER_S = 2.0
HOST = "127.0.0.1"
PORTS = range(12_000, 32_000)

_chance = random.SystemRandom()
_given: set[int] = set()


class Missing(Exception):
    """A server is not installed here; the text says what to install."""


class Where(StrEnum):
    """Where engines run: ``auto`` is natively where their programs are, else in containers."""

    AUTO = "auto"
    NATIVE = "native"
    CONTAINERS = "containers"


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
            self.folder.mkdir(parents=True)
            self._own(self.folder)
            self.prepare()
        with (self.folder / "log").open("ab") as log:
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
        """End at once, as in a power cut: it and everything it has started."""
        if self.process is not None and self.process.poll() is None:
            for pid in self._family():
                _signal(pid, signal.SIGKILL)
            self.process.wait()
            deadline = time.monotonic() + END_S
            while self.is_listening() and time.monotonic() < deadline:  # children of it may take a moment longer
                time.sleep(LOOK_S)
        self._is_frozen = False

    def freeze(self) -> None:
        """Stop its processes where they are (SIGSTOP): connections stay open and nobody answers."""
        for _ in range(2):  # the second time for who was born while the first went round
            for pid in self._family():
                _signal(pid, signal.SIGSTOP)
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

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file into the folder, for its user only."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        self._own(path)
        return path

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


class Engine(Child):
    """A server of somebody else's that CodeWarz needs.

    With ``tls``, a folder of ``ca.pem``, ``cert.pem`` and ``key.pem`` for the loopback address, connections are encrypted, and others refused.
    """

    name = "engine"
    users: tuple[str, ...] = ("nobody",)  # whom it runs as when we are root: the first that exists
    image_setting = ""  # the variable that names its image, as in compose.yaml
    image = ""  # unless that does

    def __init__(
        self, folder: Path, *, port: int | None = None, password: str | None = None, tls: Path | None = None
    ) -> None:
        super().__init__(folder, port=port)
        self.password = password or secrets.token_urlsafe(12)
        self.tls = tls
        self.container: Container | None = None

    @property
    def url(self) -> str:
        """The URL that CodeWarz's settings take, with the password in it."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """Return the same for another port of the loopback address, behind which somebody passes everything on."""
        raise NotImplementedError

    # ---- natively, or in a container ---------------------------------------------------------------------------------

    def settle(self, where: Where, said: Callable[[str], None] = lambda _text: None) -> None:
        """Decide where it runs, before its first start; what takes minutes is ``said``. Missing when it cannot be had there; the text says what to do."""
        native = self._missing() if where is not Where.CONTAINERS else None
        if where is Where.NATIVE and native is not None:
            raise native
        if where is Where.CONTAINERS or native is not None:
            try:
                self._contain(said)
            except NoContainer as error:
                reason = f"no container: {error}"
                raise Missing(reason if native is None else f"{native}\n{reason}") from error

    def _missing(self) -> Missing | None:
        """Return what says that it is not installed here, None when it is."""
        try:
            self.locate()
        except Missing as missing:
            return missing
        return None

    def locate(self) -> str:
        """Return its program's path, or raise Missing."""
        raise NotImplementedError

    def program(self, name: str, install: str, *folders: str) -> str:
        """Return one of its programs: a path, or in a container the bare name."""
        return name if self.container is not None else find(name, install, *folders)

    def _contain(self, said: Callable[[str], None]) -> None:
        look()
        remove_orphans()
        user = self._user()
        image = os.environ.get(self.image_setting) or self.image
        container = Container(
            image,
            f"codewarz-{self.name}-{os.getpid()}-{self.port}",
            self.folder,
            (os.geteuid(), os.getegid()) if user is None else (user.pw_uid, user.pw_gid),
            self.port,
        )
        try:
            container.fetch(said)
        except NoContainer as error:
            raise NoContainer(f"{error}\n  ({self.image_setting} names another image than {image})") from error
        self.container = container

    @property
    def place(self) -> str:
        """Say where it runs."""
        return "native" if self.container is None else f"container of {self.container.image}"

    @property
    def bind_address(self) -> str:
        """Where the server is to listen: a container has a network of its own, out of which one port leads to our loopback address."""
        return HOST if self.container is None else "0.0.0.0"  # noqa: S104 - see above

    def connect(self) -> socket.socket:
        """Return a connection to it, encrypted where it wants that; OSError when there is none."""
        plain = socket.create_connection((HOST, self.port), timeout=ANSWER_S)
        if self.tls is None:
            return plain
        try:
            context = ssl.create_default_context(cafile=str(self.tls / "ca.pem"))
            return context.wrap_socket(plain, server_hostname=HOST)
        except BaseException:
            plain.close()
            raise

    def start(self) -> None:
        """Start, and return when it answers. A container outlives a ``docker run`` that could not write to the log (a full disk): it is removed first."""
        if self.container is not None and self.process is not None and not self.is_running:
            self.container.remove()
        super().start()

    def end(self) -> None:
        """End in good order. No container is left, even of a start that failed or of a ``docker run`` that somebody killed."""
        was_started = self.process is not None
        super().end()
        if self.container is not None and was_started:
            self.container.remove()

    def kill(self) -> None:
        """End at once, as in a power cut."""
        if self.container is not None and self.process is not None:
            self.container.remove()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)  # until it is removed: the next one has its name
        super().kill()

    def freeze(self) -> None:
        """Stop its processes where they are."""
        if self.container is None:
            super().freeze()
        else:
            self.container.tell("pause")
            self._is_frozen = True

    def thaw(self) -> None:
        """Let a frozen one go on."""
        if self.container is None:
            super().thaw()
        elif self._is_frozen:
            self.container.tell("unpause")
            self._is_frozen = False

    def run(self, command: Sequence[str], *, timeout_s: float = START_S) -> str:
        """Run one of its tools, and return what it said; RuntimeError with that when it failed."""
        if self.container is None:
            return super().run(command, timeout_s=timeout_s)
        words = self.container.once(command, self._within(), is_running=self.is_running)
        return super().run(words, timeout_s=timeout_s)

    def _popen(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        if self.container is not None:
            command = self.container.running(command, self._within())
        return super()._popen(command, log)

    def _within(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8", "HOME": str(self.folder), **self.environment()}

    def _environment(self) -> dict[str, str]:
        if self.container is None:
            return super()._environment()
        return dict(os.environ)  # it is Docker's own command that runs here

    def _identity(self) -> dict[str, Any]:
        return super()._identity() if self.container is None else {}

    def tls_files(self) -> tuple[Path, Path, Path]:
        """Return CA, certificate and key where its user can read them."""
        assert self.tls is not None
        copies = []
        for name in ("ca.pem", "cert.pem", "key.pem"):
            copy = self.folder / name
            shutil.copyfile(self.tls / name, copy)
            copy.chmod(0o600)
            self._own(copy)
            copies.append(copy)
        return copies[0], copies[1], copies[2]

    def _user(self) -> pwd.struct_passwd | None:
        """Whom the server runs as: ourselves, unless we are root."""
        if os.geteuid() != 0:
            return None
        for name in (*self.users, "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise Missing(f"{self.name} must not run as root, and there is no user {' or '.join(self.users)} here")


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


def find(program: str, install: str, *folders: str) -> str:
    """Return a program's path; Missing, with what to install, when it is nowhere."""
    path = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    if path is None:
        raise Missing(f"{program} is not on this machine: sudo apt-get install {install}")
    return path
