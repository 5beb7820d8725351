"""The cluster: engines first, then the processes, all at once; they wait for each other themselves."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.system import Role, needs
from chaos.cluster.node import Node
from chaos.engines import Engine, Missing, Postgres, RabbitMq, Redis, Where
from chaos.engines.child import HOST, Child, free_port
from contracts.logins import Kind, Login
from contracts.users import CODEWARZ, JUDGE

ADMIN_PASSWORD_BYTES = 9
NEIGHBOURS = ("DATABASE", "REDIS", "BROKER", "RPC")
OWN = {Role.GATEWAY: ("SECRET",), Role.CORE: ("ADMIN_PASSWORD",), Role.JUDGE: ("WORKERS",)}

Route = Callable[[str, str, int], int]
"""Through which port a process (by name) reaches a neighbour (by name) that listens on a port."""


def direct(_process: str, _neighbour: str, port: int) -> int:
    """No detour."""
    return port


@dataclass(frozen=True)
class Shape:
    """How many processes of each role, and how many workers each judge has."""

    gateways: int = 2
    cores: int = 2
    leaderboards: int = 2
    judges: int = 2
    workers: int = 2
    is_durable: bool = True  # of PostgreSQL, and Redis' file

    def names(self) -> list[tuple[str, Role]]:
        """Return the processes in their order."""
        many = {
            Role.CORE: self.cores,
            Role.LEADERBOARD: self.leaderboards,
            Role.JUDGE: self.judges,
            Role.GATEWAY: self.gateways,
        }
        return [(f"{role}-{number}", role) for role, count in many.items() for number in range(1, count + 1)]


@dataclass
class Cluster:
    """Engines and processes below ``folder``, which everybody must be able to enter: servers run as users of their own. ``settings`` go to every process."""

    folder: Path
    shape: Shape = field(default_factory=Shape)
    settings: Mapping[str, str] = field(default_factory=dict)
    tls: Path | None = None  # certificates for the engines
    route: Route = direct
    where: Where = Where.AUTO  # the engines run

    def __post_init__(self) -> None:
        self.admin_password = secrets.token_urlsafe(ADMIN_PASSWORD_BYTES)
        self.postgres = Postgres(self.folder / "postgres", tls=self.tls)
        self.redis = Redis(self.folder / "redis", tls=self.tls)
        self.rabbitmq = RabbitMq(self.folder / "rabbitmq", tls=self.tls)
        self.postgres.is_durable = self.redis.is_persistent = self.shape.is_durable
        self._logins: dict[str, Login] = {
            kind: Login(kind, f"codewarz_{kind}", secrets.token_urlsafe(24)) for kind in Kind
        }
        self._rpc_secret, self._judge_secret = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._secret = secrets.token_urlsafe(32)
        names = self.shape.names()
        self._rpc_ports = {name: free_port() for name, role in names if role is not Role.GATEWAY}
        self.nodes = {name: self._node(name, role) for name, role in names}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by the names of the neighbours that they are."""
        return {"database": self.postgres, "redis": self.redis, "broker": self.rabbitmq}

    def of(self, role: Role) -> list[Node]:
        """Return the processes of a role."""
        return [node for node in self.nodes.values() if role in node.roles]

    def start(self, said: Callable[[str], None] = lambda _text: None) -> None:
        """Start everything, and return when every process says that it can serve. What was started is ended when something cannot."""
        self._settle(said)
        try:
            _together(self.engines.values(), said)
            self._migrate()
            _together(self.nodes.values(), said)
        except BaseException:
            self.end()
            raise

    def _migrate(self) -> None:
        """Make the schema and the logins, as the owner: no process of a role is one."""
        words = " ".join(f"{kind}={login.name}:{login.password}" for kind, login in self._logins.items())
        job = Node("migrate", (), self.folder / "migrate", {"DATABASE": self.postgres.url, "DATABASE_LOGINS": words})
        job.folder.mkdir(mode=0o700, exist_ok=True)
        job.verb("migrate")

    def _settle(self, said: Callable[[str], None]) -> None:
        """Decide where each engine runs; Missing with all that keeps any of them from it, each reason once."""
        reasons: list[str] = []
        for engine in self.engines.values():
            try:
                engine.settle(self.where, said)
            except Missing as missing:
                reasons.append(str(missing))
        if reasons:
            raise Missing("\n".join(dict.fromkeys(reasons)))

    def end(self) -> None:
        """End everything in good order: processes first, all at once."""
        _end_together(self.nodes.values())
        _end_together(self.engines.values())

    def exports(self) -> Iterator[str]:
        """Yield the lines of a shell script after which ``codewarz`` verbs speak to this cluster."""
        for name, value in self.urls("operator").items():
            yield f"export CODEWARZ_{name}='{value}'"
        yield f"export CODEWARZ_DATA='{self.folder / 'operator'}'"

    def _node(self, name: str, role: Role) -> Node:
        known = {
            **self.urls(name),
            "SECRET": self._secret,
            "WORKERS": str(self.shape.workers),
            "ADMIN_PASSWORD": self.admin_password,
        }
        # As compose.yaml has it: what escapes from a judge's sandbox can read its environment, and finds nothing there that a judge does not use.
        needed = [each for each in NEIGHBOURS if each.lower() in needs(frozenset({role}))]
        settings = {each: known[each] for each in (*needed, *OWN.get(role, ()))}
        return Node(name, [role], self.folder / name, {**settings, "LOG": "json", **self.settings})

    def urls(self, name: str) -> dict[str, str]:
        """Return the URLs of a process's neighbours, by the detours that it is to take."""
        ways = {neighbour: self.route(name, neighbour, engine.port) for neighbour, engine in self.engines.items()}
        # Operators, and whoever else asks, do what cores do: their verbs write.
        login = self._logins.get(name.rpartition("-")[0], self._logins[Kind.CORE])
        user = JUDGE if name.startswith(f"{Role.JUDGE}-") else CODEWARZ
        found = {
            "DATABASE": self.postgres.url_for(login, ways["database"]),
            "REDIS": self.redis.url_of(user, ways["redis"]),
            "BROKER": self.rabbitmq.url_of(user, ways["broker"]),
        }
        asked: dict[str, list[str]] = {}
        for other, port in self._rpc_ports.items():
            role = other.rpartition("-")[0]
            asked.setdefault(role, []).append(f"{HOST}:{self.route(name, other, port)}")
        query = "&".join(f"{role}={','.join(addresses)}" for role, addresses in asked.items())
        own = self._rpc_ports.get(name)
        served = "" if own is None else f"{HOST}:{own}"
        if name.startswith(f"{Role.JUDGE}-"):
            return {**found, "RPC": f"grpc://:{self._judge_secret}@{served}?{query}"}
        return {**found, "RPC": f"grpc://:{self._rpc_secret}@{served}?{query}&judge_secret={self._judge_secret}"}


def _end_together(children: Iterable[Child]) -> None:
    several = list(children)
    with ThreadPoolExecutor(len(several)) as pool:
        list(pool.map(lambda child: child.end(), several))


def _together(children: Iterable[Child], said: Callable[[str], None]) -> None:
    """Start several at once; the first failure is raised when all have been tried."""
    several = list(children)

    def start(child: Child) -> None:
        child.start()
        place = child.place if isinstance(child, Engine) else ""
        said(f"{child.name} ({place})" if place else child.name)

    with ThreadPoolExecutor(len(several)) as pool:
        for outcome in [pool.submit(start, child) for child in several]:
            outcome.result()
