"""One process of CodeWarz in a cluster: ``codewarz up`` with some roles, a data folder and a port of its own."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.system import Role
from chaos.engines.child import HOST, Child

CODEWARZ = Path(sys.executable).with_name("codewarz")
VERB_S = 60.0


class Node(Child):
    """A process with some roles. ``settings`` are its environment, without the prefix."""

    def __init__(self, name: str, roles: Sequence[Role], folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.name = name
        self.roles = tuple(roles)
        self._settings = {
            **settings,
            "NODE": name,
            "DATA": str(self.folder / "data"),
            "HTTP": f"{HOST}:{self.port}",
        }

    @property
    def address(self) -> str:
        """Where it answers HTTP: its pages, or its health and metrics."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> Sequence[str]:
        """Return the command."""
        return [str(CODEWARZ), "up", *(word for role in self.roles for word in ("--role", role))]

    def environment(self) -> dict[str, str]:
        """Return its settings as ``codewarz`` reads them."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, **{f"CODEWARZ_{name}": value for name, value in self._settings.items()}}

    def is_ready(self) -> bool:
        """Whether it says that it can serve."""
        try:
            return self.get("/health/ready")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, and nothing but it: what it has started must end by itself."""
        if self.is_running:
            assert self.process is not None
            self.process.kill()
            self.process.wait()
        self._is_frozen = False

    def get(self, path: str, timeout_s: float = 5.0) -> tuple[int, bytes]:
        """Ask it something over HTTP; OSError when nobody answers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{self.name} broke off its answer: {error!r}") from error
        finally:
            connection.close()

    def verb(self, *words: str, status: int = 0) -> Any:
        """Run ``codewarz …`` with its settings, and return what it printed as JSON."""
        done = subprocess.run(  # noqa: S603 - our own words
            [str(CODEWARZ), *words, "-o", "json"],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERB_S,
            check=False,
        )
        if done.returncode != status:
            raise RuntimeError(
                f"codewarz {' '.join(words)}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}"
            )
        return json.loads(done.stdout)
