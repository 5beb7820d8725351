"""What the gateway needs of the house, handed over once when the tree is built."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.boards import Boards
from actors.gateway.addresses import Network
from actors.gateway.health import Monitored
from actors.gateway.limits import Limiter, Rule
from actors.gateway.sse import Hub
from contracts.ports import Database, Meter, Passwords, Redis, Rpc, WallClock

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """Bounds on what one caller may send or ask for. Sizes in bytes; rules are token buckets (burst, then refill per second)."""

    json_body: int = 128 * KIB
    source: int = 64 * KIB
    package: int = 32 * MIB
    json_timeout_s: float = 15
    package_timeout_s: float = 120
    # By address, signed in or not: otherwise each new account would be a new licence to make accounts and to guess passwords.
    signup: Rule = field(default_factory=lambda: Rule("signup", burst=60, per_s=1.0, by_address=True))
    signin: Rule = field(default_factory=lambda: Rule("signin", burst=60, per_s=1.0, by_address=True))
    refresh: Rule = field(default_factory=lambda: Rule("refresh", burst=30, per_s=0.2))  # of one session
    # Guessing one account's password; counted per address as well, so that nobody can lock somebody else out from elsewhere.
    account: Rule = field(default_factory=lambda: Rule("account", burst=20, per_s=0.2))
    submissions: Rule = field(default_factory=lambda: Rule("submissions", burst=30, per_s=0.5))
    runs: Rule = field(default_factory=lambda: Rule("runs", burst=30, per_s=0.5))
    writes: Rule = field(default_factory=lambda: Rule("writes", burst=120, per_s=4.0))


@dataclass(frozen=True)
class Services:
    """The ports and settings that handlers use. ``secret`` (at least 32 bytes) signs sessions and CSRF tokens; who has it is everybody."""

    database: Database
    redis: Redis
    rpc: Rpc
    clock: WallClock
    rng: random.Random  # a SystemRandom in production: tokens come from it
    passwords: Passwords
    secret: bytes
    hub: Hub
    meter: Meter
    render_metrics: Callable[[], bytes]
    is_ready: Callable[[], bool]  # whether the supervisor tree has started
    version: str = "0"
    limits: Limits = field(default_factory=Limits)
    limiter: Limiter = field(default_factory=Limiter)
    is_secure_cookie: bool = False
    proxies: tuple[Network, ...] = ()  # whose X-Forwarded-For is believed
    is_metrics_public: bool = False  # otherwise /metrics answers the loopback address only

    def __post_init__(self) -> None:
        if len(self.secret) < 32:
            raise ValueError(f"the gateway's secret needs at least 32 bytes, this one has {len(self.secret)}")

    @property
    def monitored(self) -> Monitored:
        """What health and metrics look at."""
        return Monitored(
            is_ready=self.is_ready,
            render_metrics=self.render_metrics,
            clock=self.clock,
            database=self.database,
            redis=self.redis,
            version=self.version,
            is_metrics_public=self.is_metrics_public,
        )

    @property
    def boards(self) -> Boards:
        """The boards, read through Redis."""
        return Boards(self.redis, self.clock)
