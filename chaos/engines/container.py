"""An engine's programs in a container, for a machine that does not have them: the same command lines, on the same folder, at the same port.

Rule 1: ``docker run`` in the foreground is the child process, and hands signals on; all else goes through ``docker``, by the name of the container.
Rule 2: it runs as the folder's owner, with no capability, and has no files but the folder and the image's. So its data outlive it, and nothing else does.
Rule 3: it is reached at one port of the machine's loopback address. The machine's own network, with whatever else listens there, is not its.
Rule 4: who has started it stands on its label. Those of somebody who is no more are removed when the next one starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sandbox import leftovers

PARENT = "codewarz.parent"  # a label: who has started it
PUBLISHED_AT = "127.0.0.1"
MEMORY = "2g"
CPUS = 2
PROCESSES = 2_000
OPEN_FILES = 16_384  # some Dockers set no limit, and Erlang makes a table for as many as it may have
DOCKER_S = 60.0
PULL_S = 900.0
# Distributions keep servers' programs outside of PATH, or put scripts there that want to be root. The image's own PATH stays behind these.
_INSIDE = 'for each in /usr/lib/postgresql/*/bin /usr/lib/rabbitmq/bin; do [ -d "$each" ] && PATH="$each:$PATH"; done; exec "$0" "$@"'


class NoContainer(Exception):
    """There is no container to be had; the text says why."""


class Container:
    """The container of one engine, which listens at ``port``. ``user`` is whom it runs as."""

    def __init__(self, image: str, name: str, folder: Path, user: tuple[int, int], port: int) -> None:
        self.image = image
        self.name = name
        self._folder = folder
        self._user = user
        self._port = port

    def __repr__(self) -> str:
        return f"<Container {self.name} of {self.image}>"

    def running(self, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """Return the command that runs it, in the foreground, until ``command`` ends."""
        reached = f"--publish={PUBLISHED_AT}:{self._port}:{self._port}"
        return [*self._run(), f"--name={self.name}", reached, *self._inside(command, environment)]

    def once(self, command: Sequence[str], environment: Mapping[str, str], *, is_running: bool) -> list[str]:
        """Return the command that runs a tool beside the server, or by itself while there is none."""
        if is_running:
            user, variables = f"--user={self._user[0]}:{self._user[1]}", _variables(environment)
            return [_docker(), "exec", user, *variables, self.name, "sh", "-c", _INSIDE, *command]
        return [*self._run(), "--network=none", *self._inside(command, environment)]

    def _run(self) -> list[str]:
        return [
            _docker(),
            "run",
            "--rm",
            "--pull=never",
            f"--label={PARENT}={_identity(os.getpid())}",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--read-only",
            "--tmpfs=/tmp:size=64m",
            "--shm-size=256m",
            f"--memory={MEMORY}",
            f"--cpus={min(CPUS, os.cpu_count() or 1)}",
            f"--pids-limit={PROCESSES}",
            f"--ulimit=nofile={OPEN_FILES}",
            f"--user={self._user[0]}:{self._user[1]}",
            f"--volume={self._folder}:{self._folder}",
            "--volume=/etc/passwd:/etc/passwd:ro",  # PostgreSQL wants a name for whom it runs as
            f"--workdir={self._folder}",
        ]

    def _inside(self, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        return [*_variables(environment), "--entrypoint=sh", self.image, "-c", _INSIDE, *command]

    # ---- what happens to it ------------------------------------------------------------------------------------------

    def tell(self, verb: str) -> None:
        """Pause or unpause it; one that is no more is told nothing."""
        docker(verb, self.name, must=False)

    def remove(self) -> None:
        """Kill and remove it, if it is still there."""
        docker("rm", "--force", "--volumes", self.name, must=False)

    def fetch(self, said: Callable[[str], None]) -> None:
        """Have its image here; what takes minutes is ``said`` before. Raises NoContainer."""
        if docker("image", "inspect", self.image, must=False) is None:
            said(f"pulling {self.image} …")
            docker("pull", "--quiet", self.image, timeout_s=PULL_S)


def docker(*words: str, must: bool = True, timeout_s: float = DOCKER_S) -> str | None:
    """Run ``docker`` and return what it said. Where it fails: NoContainer with the reason, or None unless it ``must``."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [_docker(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoContainer(f"docker {words[0]}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    if must:
        raise NoContainer(f"docker {words[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
    return None


def look() -> None:
    """Raise NoContainer where there is no Docker that could run an engine for us; the text says what to do."""
    _docker()
    where = os.environ.get("DOCKER_HOST", "")
    if where and not where.startswith("unix://"):
        raise NoContainer(
            f"the Docker of DOCKER_HOST={where} is not this machine's: its ports and folders are elsewhere"
        )
    try:
        options = docker("info", "--format={{.SecurityOptions}}") or ""
    except NoContainer as error:
        raise NoContainer(f"{error}\n  (start it, and let this user use it: group docker, or DOCKER_HOST)") from error
    for renaming in ("rootless", "userns"):
        if f"name={renaming}" in options:
            raise NoContainer(
                f"this Docker gives users other numbers than the machine does ({renaming}), so a server could not read its own folder"
            )


def remove_orphans() -> None:
    """Remove containers whose parent is no more. Raises NoContainer where Docker cannot be reached."""
    listed = docker("ps", "--all", f"--filter=label={PARENT}", f'--format={{{{.ID}}}} {{{{.Label "{PARENT}"}}}}') or ""
    for line in listed.splitlines():
        container, _, parent = line.partition(" ")
        if _is_gone(parent):
            docker("rm", "--force", "--volumes", container, must=False)


def _identity(pid: int) -> str:
    return f"{leftovers.namespace()}/{leftovers.identity(pid)}"


def _is_gone(parent: str) -> bool:
    """Whether a process that we could see is no more. Numbers mean nothing outside of their PID namespace: of others' we cannot tell."""
    number = parent.rpartition("/")[2].partition(".")[0]
    if parent.startswith(f"{leftovers.namespace()}/") and number.isdigit():
        return _identity(int(number)) != parent
    return False


def _docker() -> str:
    path = shutil.which("docker")
    if path is None:
        raise NoContainer("docker is not on this machine: sudo apt-get install docker.io")
    return path


def _variables(environment: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]
