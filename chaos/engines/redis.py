"""A private Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from chaos.engines.child import HOST
from chaos.engines.engine import Engine, new_password
from chaos.engines.users import redis_users
from contracts.users import CODEWARZ, JUDGE

ADMINISTRATOR = "administrator"  # tests' and benchmarks', who flush, configure and look: none of CodeWarz' users may


class Redis(Engine):
    """Redis that keeps nothing on disk, or, with ``is_persistent``, an append-only file: what a restart leaves.

    It has the users of ``contracts.users``, and an administrator, whose are ``url`` and ``password``. They are in its settings, so it never loses them.
    """

    name = "redis"
    users = ("redis",)
    image_setting, image = "REDIS_IMAGE", "redis:7"

    is_persistent = False

    def __init__(
        self, folder: Path, *, port: int | None = None, password: str | None = None, tls: Path | None = None
    ) -> None:
        super().__init__(folder, port=port, password=password, tls=tls)
        self.passwords = {ADMINISTRATOR: self.password, CODEWARZ: new_password(), JUDGE: new_password()}

    def url_at(self, port: int) -> str:
        """Return its administrator's URL."""
        return self.url_of(ADMINISTRATOR, port)

    def url_of(self, user: str, port: int | None = None) -> str:
        """Return the URL of one of its users."""
        where = f"{user}:{self.passwords[user]}@{HOST}:{port or self.port}/0"
        return f"redis://{where}" if self.tls is None else f"rediss://{where}?ssl_ca_certs={self.tls}/ca.pem"

    def prepare(self) -> None:
        """Write the settings: a password on the command line is for everybody to see."""
        lines = [
            f"bind {self.bind_address}",
            redis_users(self.passwords),
            f"user {ADMINISTRATOR} on #{hashlib.sha256(self.password.encode()).hexdigest()} ~* &* +@all",
            f"dir {self.folder}",
            'save ""',
            f"appendonly {'yes' if self.is_persistent else 'no'}",
            "appendfsync everysec",
            "enable-debug-command yes",
        ]
        if self.tls is None:
            lines.append(f"port {self.port}")
        else:
            ca, certificate, key = self.tls_files()
            lines += [
                "port 0",
                f"tls-port {self.port}",
                f"tls-ca-cert-file {ca}",
                f"tls-cert-file {certificate}",
                f"tls-key-file {key}",
                "tls-auth-clients no",  # clients show a password
            ]
        self.write("redis.conf", "\n".join(lines) + "\n")

    def command(self) -> Sequence[str]:
        """Return the server's command."""
        return [self.locate(), str(self.folder / "redis.conf")]

    def locate(self) -> str:
        """Return the server's path, or raise Missing."""
        return self.program("redis-server", "redis-server")

    def is_ready(self) -> bool:
        """Whether it answers: while it loads its data it says so instead of PONG."""
        try:
            return b"PONG" in self._ask(f"AUTH {ADMINISTRATOR} {self.password}\r\nPING\r\nQUIT\r\n")
        except OSError:
            return False

    def _ask(self, words: str) -> bytes:
        with self.connect() as connection:
            connection.sendall(words.encode())
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
            return answer
