"""An engine's programs in a container, for a machine that does not have them: the same command lines, on the same folder, in the machine's own network.

Rule 1: ``docker run`` in the foreground is the child process, and hands signals on; all else goes through ``docker``, by the name of the container.
Rule 2: it runs as the folder's owner, with no capability, and has no files but the folder and the image's. So its data outlive it, and nothing else does.
Rule 3: who has started it stands on its label. Those of somebody who is no more are removed when the next one starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox import leftovers

PARENT = "codewarz.parent"  # a label: process id and start of whoever has started it
MEMORY = "2g"
PROCESSES = 2_000
DOCKER_S = 60.0
PULL_S = 900.0
# Distributions keep servers' programs outside of PATH, or put scripts there that want to be root. The image's own PATH stays behind these.
_INSIDE = 'for each in /usr/lib/postgresql/*/bin /usr/lib/rabbitmq/bin; do [ -d "$each" ] && PATH="$each:$PATH"; done; exec "$0" "$@"'


class NoContainer(Exception):
    """There is no container to be had; the text says why."""


class Container:
    """The container of one engine. ``user`` is whom it runs as."""

    def __init__(self, image: str, name: str, folder: Path, user: tuple[int, int]) -> None:
        self.image = image
        self.name = name
        self._folder = folder
        self._user = user

    def __repr__(self) -> str:
        return f"<Container {self.name} of {self.image}>"

    def running(self, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """Return the command that runs it, in the foreground, until ``command`` ends."""
        parent = f"--label={PARENT}={leftovers.identity(os.getpid())}"
        return [
            _docker(),
            "run",
            "--rm",
            f"--name={self.name}",
            parent,
            *self._limits(),
            *self._inside(command, environment),
        ]

    def once(self, command: Sequence[str], environment: Mapping[str, str], *, is_running: bool) -> list[str]:
        """Return the command that runs a tool beside the server, or by itself while there is none."""
        if is_running:
            user, variables = f"--user={self._user[0]}:{self._user[1]}", _variables(environment)
            return [_docker(), "exec", user, *variables, self.name, "sh", "-c", _INSIDE, *command]
        return [_docker(), "run", "--rm", *self._limits(), *self._inside(command, environment)]

    def _limits(self) -> list[str]:
        return [
            "--network=host",  # its port is one of the loopback address, as without a container
            "--pull=never",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            f"--memory={MEMORY}",
            f"--pids-limit={PROCESSES}",
            f"--user={self._user[0]}:{self._user[1]}",
            f"--volume={self._folder}:{self._folder}",
            "--volume=/etc/passwd:/etc/passwd:ro",  # PostgreSQL wants a name for whom it runs as
            f"--workdir={self._folder}",
        ]

    def _inside(self, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        return [*_variables(environment), "--entrypoint=sh", self.image, "-c", _INSIDE, *command]

    # ---- what happens to it ------------------------------------------------------------------------------------------

    def tell(self, verb: str) -> None:
        """Kill, pause or unpause it; one that is no more is told nothing."""
        docker(verb, self.name, must=False)

    def fetch(self) -> None:
        """Have its image here. Raises NoContainer."""
        if docker("image", "inspect", self.image, must=False) is None:
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


def remove_orphans() -> None:
    """Remove containers whose parent is no more. Raises NoContainer where Docker cannot be reached."""
    listed = docker("ps", "--all", f"--filter=label={PARENT}", f'--format={{{{.ID}}}} {{{{.Label "{PARENT}"}}}}') or ""
    for line in listed.splitlines():
        container, _, parent = line.partition(" ")
        if leftovers.identity(int(parent.partition(".")[0])) != parent:
            docker("rm", "--force", "--volumes", container, must=False)


def _docker() -> str:
    path = shutil.which("docker")
    if path is None:
        raise NoContainer("docker is not on this machine")
    return path


def _variables(environment: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]
