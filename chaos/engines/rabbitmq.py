"""A private RabbitMQ: a node, and the port mapper that Erlang wants beside it, both our own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from chaos.engines.child import HOST, free_port
from chaos.engines.engine import Engine, find, new_password
from chaos.engines.users import rabbitmq_users
from contracts.users import CODEWARZ, CONSOLE, JUDGE

BIN = "/usr/lib/rabbitmq/bin"


class RabbitMq(Engine):
    """RabbitMQ with the users of ``contracts.users``, and no guest; ``url`` and ``password`` are those of ``codewarz``."""

    name = "rabbitmq"
    users = ("rabbitmq",)
    image_setting, image = "RABBITMQ_IMAGE", "rabbitmq:3.13-management"

    def __init__(
        self, folder: Path, *, port: int | None = None, password: str | None = None, tls: Path | None = None
    ) -> None:
        super().__init__(folder, port=port, password=password, tls=tls)
        self.passwords = {CODEWARZ: self.password, JUDGE: new_password(), CONSOLE: new_password()}
        self._node = f"codewarz-{os.getpid()}-{self.port}@localhost"
        self._mapper_port, self._node_port = free_port(), free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    def url_at(self, port: int) -> str:
        """Return the URL of its one virtual host, for ``codewarz``."""
        return self.url_of(CODEWARZ, port)

    def url_of(self, user: str, port: int | None = None) -> str:
        """Return the same for any of its users."""
        where = f"{user}:{self.passwords[user]}@{HOST}:{port or self.port}/"
        return f"amqp://{where}" if self.tls is None else f"amqps://{where}?cafile={quote(str(self.tls / 'ca.pem'))}"

    def prepare(self) -> None:
        """Write the settings, and the users, whom it makes whenever it starts."""
        users = self.write("users.json", rabbitmq_users(self.passwords))
        lines = [
            f"load_definitions = {users}",
            "loopback_users = none",
            "log.console = true",
            "log.console.level = warning",
            "log.file = false",
            "vm_memory_high_watermark.absolute = 1GB",
            "disk_free_limit.absolute = 50MB",
            "heartbeat = 10",
        ]
        if self.tls is None:
            lines.append(f"listeners.tcp.1 = {self.bind_address}:{self.port}")
        else:
            ca, certificate, key = self.tls_files()
            lines += [
                "listeners.tcp = none",
                f"listeners.ssl.1 = {self.bind_address}:{self.port}",
                f"ssl_options.cacertfile = {ca}",
                f"ssl_options.certfile = {certificate}",
                f"ssl_options.keyfile = {key}",
                "ssl_options.verify = verify_none",  # of clients: those show a password
            ]
        self.write("rabbitmq.conf", "\n".join(lines) + "\n")
        self.write("enabled_plugins", "[].\n")

    def environment(self) -> dict[str, str]:
        """Return RabbitMQ's own settings: everything in the folder, no port but ours."""
        return {
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": HOST,
        }

    def command(self) -> Sequence[str]:
        """Return the node's command."""
        return [self.locate()]

    def locate(self) -> str:
        """Return the server's path, or raise Missing."""
        return self._program("rabbitmq-server")

    def _program(self, name: str) -> str:
        """Return one of its programs; where Debian's are installed not those in PATH, which insist on root or on a user of theirs."""
        if self.container is None and Path(BIN).is_dir():
            return f"{BIN}/{name}"
        return self.program(name, "rabbitmq-server")

    def is_ready(self) -> bool:
        """Whether it speaks AMQP: it answers the protocol's header with a method frame."""
        try:
            with self.connect() as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def start(self) -> None:
        """Start the mapper, then the node; in a container that starts one of its own."""
        if self.container is None and (self._mapper is None or self._mapper.poll() is not None):
            self._mapper = subprocess.Popen(  # noqa: S603 - our own words
                [find("epmd", "rabbitmq-server"), "-port", str(self._mapper_port), "-address", HOST],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        super().start()

    def end(self) -> None:
        """End the node, then the mapper."""
        super().end()
        if self._mapper is not None:
            self._mapper.terminate()
            self._mapper.wait()
            self._mapper = None

    def control(self, *words: str) -> str:
        """Run ``rabbitmqctl``; it takes a second or two."""
        return self.run([self._program("rabbitmqctl"), "--quiet", *words])
