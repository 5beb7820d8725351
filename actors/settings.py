"""Settings: environment variables ``CODEWARZ_…`` and ``.env``. A bad one stops the start with one clear line."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from actors.gateway.addresses import networks
from contracts.errors import Invalid
from contracts.logins import Login, parse

SCHEMES = {  # the first is embedded: it is in this process, and another process has another
    "database": ("sqlite", "postgresql"),
    "redis": ("memory", "redis", "rediss"),
    "broker": ("memory", "amqp", "amqps"),
    "rpc": ("local", "grpc", "grpcs"),
    "sandbox": ("bwrap",),
}
SECRET_BYTES = 32
_PASSWORD = re.compile(r"(://[^/@:?#]*:).*@")
_JUDGE_SECRET = re.compile(r"(judge_secret=)[^&]*")


class Settings(BaseSettings):
    """Every setting with its default; the description is what ``codewarz doctor`` and ``.env.example`` say of it."""

    model_config = SettingsConfigDict(env_prefix="CODEWARZ_", env_file=".env", extra="ignore")

    http: str = Field(
        "127.0.0.1:8080",
        description="address and port of the web server; without the gateway role, of health and metrics",
    )
    data: Path = Field(Path(".codewarz"), description="folder for the database, the secret and the control socket")
    node: str = Field(
        "",
        max_length=64,
        description="name of this process in a cluster, of no other one at the same time; empty: host and process id",
    )
    database: str = Field(
        "",
        description="database URL, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; empty: sqlite in the data folder",
    )
    database_logins: SecretStr = Field(
        SecretStr(""),
        description="logins that `codewarz migrate`, and it alone, makes in PostgreSQL: core=NAME:PASSWORD gateway=NAME:PASSWORD leaderboard=NAME:PASSWORD",
    )
    redis: str = Field(
        "memory://", description="redis URL, memory:// or redis://USER:PASSWORD@HOST:PORT/0 (rediss: TLS)"
    )
    broker: str = Field(
        "memory://", description="broker URL, memory:// or amqp://USER:PASSWORD@HOST:PORT/ (amqps: TLS)"
    )
    rpc: str = Field(
        "local://",
        description="rpc URL, local:// or grpc://:SECRET@HOST:PORT?core=HOST:PORT,…&leaderboard=…&judge=…&judge_secret=…: where to serve, whom to ask (grpcs)",
    )
    sandbox: str = Field("bwrap://", description="sandbox URL")
    workers: int = Field(10, ge=1, le=512, description="judge workers, which is also the most sandboxes at once")
    admin_username: str = Field(
        "admin", min_length=2, max_length=32, description="administrator, made at the first start"
    )
    admin_password: SecretStr = Field(
        SecretStr(""), description="the administrator's password, at every start; empty: a random one is printed once"
    )
    secret: SecretStr = Field(
        SecretStr(""),
        description="signs sessions, at least 32 characters; empty: generated and kept in the data folder",
    )
    demo: bool = Field(True, description="make a running demo contest when there is no contest yet")
    demo_contestants: int = Field(6, ge=0, le=50, description="simulated contestants in the demo contest; 0: none")
    secure_cookies: bool = Field(False, description="send cookies over HTTPS only: switch it on behind TLS")
    proxies: str = Field(
        "",
        description="proxies in front, whose X-Forwarded-For is believed: addresses or networks, such as 127.0.0.1, 10.0.0.0/8",
    )
    public_metrics: bool = Field(False, description="serve /metrics to everybody instead of this machine only")
    log: str = Field("text", pattern="^(text|json)$", description="log lines for people (text) or machines (json)")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="least level that is logged")

    @field_validator("database", "redis", "broker", "rpc", "sandbox")
    @classmethod
    def _known_scheme(cls, value: str, info: object) -> str:
        name = getattr(info, "field_name", "")
        scheme = value.partition("://")[0]
        if value and scheme not in SCHEMES[name]:
            known = " or ".join(f"{each}://" for each in SCHEMES[name])
            raise ValueError(f"{redacted(value)!r} is not known here: use {known}")
        return value

    @field_validator("http")
    @classmethod
    def _address(cls, value: str) -> str:
        host, separator, port = value.rpartition(":")
        if not separator or not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{value!r} is not an address and a port, such as 127.0.0.1:8080")
        return value

    @field_validator("proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            networks(value)
        except ValueError as error:
            raise ValueError(
                f"{error}: write addresses or networks between commas, such as 127.0.0.1, 10.0.0.0/8"
            ) from None
        return value

    @field_validator("database_logins")
    @classmethod
    def _logins(cls, value: SecretStr) -> SecretStr:
        parse(value.get_secret_value())
        return value

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value()) < SECRET_BYTES:
            raise ValueError(f"needs at least {SECRET_BYTES} characters")
        return value

    def is_embedded(self, neighbour: str) -> bool:
        """Whether a neighbour ("database", "redis" …) lives in this process, so that no other can share it."""
        url = self.database_url if neighbour == "database" else str(getattr(self, neighbour))
        return url.partition("://")[0] == SCHEMES[neighbour][0]

    @property
    def database_url(self) -> str:
        """The database's URL, by default SQLite in the data folder."""
        return self.database or f"sqlite:///{self.data.absolute() / 'codewarz.db'}"

    @property
    def logins(self) -> tuple[Login, ...]:
        """The database's logins, with their passwords."""
        return parse(self.database_logins.get_secret_value())

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.data / "control.sock"

    def make_data_folder(self) -> None:
        """Make the data folder for its owner only; Invalid when that is impossible."""
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Invalid(
                f"CODEWARZ_DATA: {self.data} cannot be made a folder ({error.strerror}): choose another place"
            ) from error

    def secret_bytes(self) -> bytes:
        """Return the secret; generated and kept in the data folder (0600) when none is set. Invalid when it cannot be kept, or what is there is none."""
        given = self.secret.get_secret_value()
        if given:
            return given.encode()
        path = self.data / "secret"
        try:
            if not path.exists():
                _keep_secret(path)
            kept = path.read_bytes()
        except OSError as error:
            what = "cannot be read or made"
            raise Invalid(f"CODEWARZ_DATA: {path} {what} ({error.strerror}): make room, or mend its rights") from error
        if len(kept) < SECRET_BYTES:
            raise Invalid(
                f"CODEWARZ_DATA: {path} has {len(kept)} bytes, and a secret has {SECRET_BYTES} at least: remove it, and a new one is made"
                " (everybody signs in again)"
            )
        return kept


def _keep_secret(path: Path) -> None:
    """Make a secret at ``path``, whole or not at all; where another process was quicker, its secret stays."""
    made = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(SECRET_BYTES).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def redacted(url: str) -> str:
    """Return a URL without the secrets in it, for people to see."""
    return _JUDGE_SECRET.sub(r"\1…", _PASSWORD.sub(r"\1…@", url))


def load() -> Settings:
    """Read the settings; Invalid with one line per bad one."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"CODEWARZ_{'_'.join(str(part) for part in each['loc']).upper()}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise Invalid("; ".join(lines)) from None


def example() -> str:
    """Return the text of ``.env.example``: every setting with its default, commented out."""
    lines = ["# Settings of CodeWarz. Copy to .env and change what you need; the environment wins over this file.", ""]
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        text = str(default).lower() if isinstance(default, bool) else default
        lines += [f"# {field.description}", f"# CODEWARZ_{name.upper()}={text}", ""]
    return "\n".join(lines).rstrip() + "\n"
