"""A server of somebody else's, natively or in a container."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from chaos.engines.child import END_S, HOST, START_S, Child
from chaos.engines.container import Container, NoContainer, look, remove_orphans

ANSWER_S = 2.0


class Missing(Exception):
    """A server is not installed here; the text says what to install."""


class Where(StrEnum):
    """Where engines run: ``auto`` is natively where their programs are, else in containers."""

    AUTO = "auto"
    NATIVE = "native"
    CONTAINERS = "containers"


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
        self.password = password or new_password()
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
        ca, certificate, key = (
            self.write(name, (self.tls / name).read_text()) for name in ("ca.pem", "cert.pem", "key.pem")
        )
        return ca, certificate, key

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


def new_password() -> str:
    """Return a random password that no URL has to escape."""
    return secrets.token_urlsafe(12)


def find(program: str, install: str, *folders: str) -> str:
    """Return a program's path; Missing, with what to install, when it is nowhere."""
    path = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    if path is None:
        raise Missing(f"{program} is not on this machine: sudo apt-get install {install}")
    return path
