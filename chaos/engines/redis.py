"""A private Redis."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.engines.child import HOST
from chaos.engines.engine import Engine


class Redis(Engine):
    """Redis that keeps nothing on disk, or, with ``is_persistent``, an append-only file: what a restart leaves."""

    name = "redis"
    users = ("redis",)
    image_setting, image = "REDIS_IMAGE", "redis:7"

    is_persistent = False

    def url_at(self, port: int) -> str:
        """Return its URL."""
        if self.tls is not None:
            return f"rediss://:{self.password}@{HOST}:{port}/0?ssl_ca_certs={self.tls}/ca.pem"
        return f"redis://:{self.password}@{HOST}:{port}/0"

    def prepare(self) -> None:
        """Write the settings: a password on the command line is for everybody to see."""
        lines = [
            f"bind {self.bind_address}",
            f"requirepass {self.password}",
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
            return b"PONG" in self._ask(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n")
        except OSError:
            return False

    def _ask(self, words: str) -> bytes:
        with self.connect() as connection:
            connection.sendall(words.encode())
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
            return answer
