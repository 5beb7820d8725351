"""What may go wrong, and how often: a seed becomes ``Options``, and the options say everything about a run."""

from __future__ import annotations

import random
from enum import StrEnum

import msgspec

from contracts.errors import Invalid


class Fault(StrEnum):
    """A kind of fault; a run has some of them."""

    LATENCY = "latency"  # single messages take much longer
    ERROR = "error"  # a connection breaks before the request arrives
    AMBIGUOUS = "ambiguous"  # the effect is there, the answer is lost
    DUPLICATE = "duplicate"  # a request or a message arrives twice
    REORDER = "reorder"  # later messages overtake earlier ones
    LOSS = "loss"  # a request vanishes, and only a time-out tells
    PARTITION = "partition"  # two cannot reach each other for a while
    PROCESS_CRASH = "process_crash"
    STALL = "stall"  # a process stands still for a while, and then goes on as if nothing had been
    ACTOR_CRASH = "actor_crash"  # at any checkpoint
    BUGGIFY = "buggify"  # pauses, crashes and deaths at the points in our code, between commit and publish among others
    LOST_ACK = "lost_ack"
    BROKER_RESTART = "broker_restart"
    REDIS_RESTART = "redis_restart"  # with its data
    REDIS_WIPE = "redis_wipe"  # without
    DATABASE_RESTART = "database_restart"
    LISTEN_LOST = "listen_lost"  # the LISTEN connection dies in silence
    NEWS_LOST = "news_lost"  # so does a Redis subscription
    CLOCK_SKEW = "clock_skew"
    SLOW_CONSUMER = "slow_consumer"  # browsers that hardly read
    FULL_MAILBOX = "full_mailbox"  # mailboxes with room for very few
    SANDBOX_HANG = "sandbox_hang"
    SANDBOX_DEATH = "sandbox_death"
    OPERATOR = "operator"  # restarts, stops, scales actors


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A run, completely: the same options give the same run (of the same commit). Times in simulated seconds."""

    seed: int
    faults: tuple[Fault, ...] = ()
    intensity: float = 1.0  # multiplies how often faults come
    users: int = 5
    submissions: int = 20
    watchers: int = 3  # who follow a board all the time
    hurt_s: float = 40.0  # how long faults happen; then everything is healed
    gateways: int = 3
    cores: int = 2
    leaderboards: int = 2
    judges: int = 3
    workers: int = 2  # of each judge
    rules: str = "icpc"
    is_frozen: bool = False  # whether the contest has a freeze within the run

    def has(self, fault: Fault) -> bool:
        """Whether this kind of fault happens."""
        return fault in self.faults


def options(seed: int) -> Options:
    """Return what a seed stands for: a subset of the faults and the size of everything."""
    rng = random.Random(f"options {seed}")
    luck = rng.random()
    share = 0.0 if luck < 0.04 else 1.0 if luck > 0.96 else rng.choice((0.1, 0.25, 0.25, 0.5))
    faults = tuple(fault for fault in Fault if rng.random() < share)
    if share and not faults:
        faults = (rng.choice(tuple(Fault)),)
    return Options(
        seed=seed,
        faults=faults,
        intensity=rng.choice((0.5, 1.0, 1.0, 2.0)),
        users=rng.randint(2, 6),
        submissions=rng.randint(6, 36),
        watchers=rng.randint(1, 4),
        hurt_s=rng.choice((15.0, 30.0, 45.0)),
        rules=rng.choice(("icpc", "icpc", "ioi")),
        is_frozen=rng.random() < 0.3,
    )


def parse_seeds(text: str) -> range:
    """Read "A..B" (both included) or "A"; Invalid for anything else."""
    first, separator, last = text.partition("..")
    try:
        low = int(first)
        high = int(last) if separator else low
    except ValueError:
        raise Invalid(f"{text!r} names no seeds: write one number, or A..B") from None
    if not 0 <= low <= high:
        raise Invalid(f"{text!r} names no seeds: they begin at 0 and rise")
    return range(low, high + 1)
