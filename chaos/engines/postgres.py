"""A private PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from chaos.engines.child import HOST
from chaos.engines.engine import Engine
from contracts.logins import Login

USER = "codewarz"
VERSIONS = "/usr/lib/postgresql"


class Postgres(Engine):
    """PostgreSQL with one superuser, ``codewarz``, and passwords (SCRAM) for all. Not ``is_durable``, for tests: quicker, and a power cut may spoil it."""

    name = "postgres"
    users = ("postgres",)
    image_setting, image = "POSTGRES_IMAGE", "postgres:16"
    end_signal = signal.SIGINT  # "fast": connections are ended, nothing is lost

    is_durable = True

    def url_at(self, port: int) -> str:
        """Return the URL of its database ``codewarz``, with the login that owns it."""
        return self.url_of(USER, port)

    def url_for(self, login: Login, port: int) -> str:
        """Return the URL of its database ``codewarz`` for another login."""
        return self._url(f"{login.name}:{login.password}", port, USER)

    def url_of(self, database: str, port: int | None = None) -> str:
        """Return the URL of one of its databases."""
        return self._url(f"{USER}:{self.password}", port or self.port, database)

    def _url(self, who: str, port: int, database: str) -> str:
        mode = f"?sslmode=verify-full&sslrootcert={self.tls}/ca.pem" if self.tls is not None else ""
        return f"postgresql://{who}@{HOST}:{port}/{database}{mode}"

    def prepare(self) -> None:
        """Make the cluster and its database."""
        secret = self.write("password", self.password)
        data = str(self.folder / "data")
        who = ("-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret))
        self.run([self._program("initdb"), "-D", data, *who, "-E", "UTF8", "--no-sync"])
        # In single-user mode there is no server to connect to yet, and so no password to give.
        with_database = [self._program("postgres"), "--single", "-D", data, "postgres"]
        self.run(["sh", "-c", f'echo "CREATE DATABASE {USER}" | "$@"', "sh", *with_database])
        secret.unlink()
        # Who comes to a container through its port has an address of Docker's network.
        clients = f"{HOST}/32" if self.container is None else "all"
        self.write("data/pg_hba.conf", f"{'host' if self.tls is None else 'hostssl'} all all {clients} scram-sha-256\n")

    def command(self) -> Sequence[str]:
        """Return the server's command."""
        options = {
            "port": self.port,
            "listen_addresses": self.bind_address,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
        }
        if not self.is_durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        if self.tls is not None:
            ca, certificate, key = self.tls_files()
            options |= {
                "ssl": "on",
                "ssl_ca_file": str(ca),
                "ssl_cert_file": str(certificate),
                "ssl_key_file": str(key),
            }
        words = [f"--{name}={value}" for name, value in options.items()]
        return [self._program("postgres"), "-D", str(self.folder / "data"), *words]

    def is_ready(self) -> bool:
        """Whether it takes connections: the port is open before that."""
        try:
            self.run(
                [self._program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port), "-d", "postgres", "-U", USER],
                timeout_s=5.0,
            )
        except RuntimeError:
            return False
        return True

    def locate(self) -> str:
        """Return the server's path, or raise Missing."""
        return self._program("postgres")

    def _program(self, name: str) -> str:
        """Return a program of the newest PostgreSQL: Debian keeps the server's outside of PATH."""
        versions = sorted(Path(VERSIONS).glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
        return self.program(name, "postgresql", *map(str, versions))
