"""The neighbours, one small ``Protocol`` each, at the neighbour's own level: SQL text, Redis commands and Lua, AMQP semantics, requests.

Rule 1: every variant of a port passes the same conformance suite (``tests/edge``).
Rule 2: a call either returns after the effect or raises; ``EdgeLost`` means that the outcome is unknown.
Rule 3: cancelling a call never leaves the edge unusable. A cancelled write may or may not have happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import msgspec

from contracts.errors import CodeWarzError
from contracts.life import State
from contracts.messages import Offer, ProblemBlob, Request, Verification, Work
from contracts.verdicts import TestResult, Verdict

R = TypeVar("R")
Sql = str | int | float | bytes | None
Row = Mapping[str, Any]


class WallClock(Protocol):
    """Civil time, for what is stored and shown. Durations and deadlines use the Trio clock instead."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        ...


# ---- database --------------------------------------------------------------------------------------------------------


class Statements(Protocol):
    """SQL with ``$1`` parameters in the dialect that SQLite (3.35+) and PostgreSQL share; rows are mappings by column name."""

    async def fetch(self, sql: str, *parameters: Sql) -> list[Row]:
        """Return all rows of a query (or of ``… RETURNING``)."""
        ...

    async def fetch_one(self, sql: str, *parameters: Sql) -> Row | None:
        """Return the first row, or None."""
        ...

    async def execute(self, sql: str, *parameters: Sql) -> int:
        """Run one statement; return the number of rows it changed. Raises Duplicate on a unique key."""
        ...

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, in one crossing."""
        ...


class Transaction(Statements, Protocol):
    """Statements that commit together when their block ends, or not at all when it raises or is cancelled."""

    def later(self, sql: str, parameters: Sequence[Sequence[Sql]]) -> None:
        """Run one statement for each row of parameters, in the crossing of whatever comes next: another statement, a savepoint's begin or end, the commit.

        What it raises, that raises. For writes of which nobody awaits an answer: each crossing costs as much as a small statement.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Return a block of which the statements are undone alone when it raises."""
        ...


class Wakeups(Protocol):
    """Notifications of one channel. They carry nothing: they only say that something may have changed."""

    async def wait(self) -> None:
        """Return when at least one notification has come since the last call (many become one). Raises EdgeLost when the listening connection died."""
        ...


class Database(Statements, Protocol):
    """The one durable store. Each statement outside a transaction commits by itself."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; committed at the block's end."""
        ...

    def listen(self, channel: str) -> AbstractAsyncContextManager[Wakeups]:
        """Listen to NOTIFY on ``channel`` from the block's start on: scan after entering and nothing can be missed."""
        ...


# ---- broker ----------------------------------------------------------------------------------------------------------


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A durable queue bound to the exchange by ``routing_key``.

    A message that is rejected, or comes back more than ``delivery_limit`` times, goes to ``dead_letter_queue``; where there is none, nothing limits how often
    it comes back, so that what is dead already is not thrown away by being looked at. ``max_length`` bounds the queue: beyond it publishing is refused
    (``overflow=reject-publish``), never silently dropped. A networked broker notices late by what was under way, takes messages again only when a fifth of
    the room is free, and counts each priority for itself.
    """

    name: str
    routing_key: str
    dead_letter_queue: str | None = None
    delivery_limit: int = 3
    max_length: int = 100_000
    priorities: int = 1


# What a dead letter's headers say: where it died last, why ("rejected" or "delivery_limit"), how often so far, and how it was published there.
DEATH_QUEUE = "x-death-queue"
DEATH_REASON = "x-death-reason"
DEATH_COUNT = "x-death-count"
DEATH_ROUTING_KEY = "x-death-routing-key"
DEATH_HEADERS = frozenset({DEATH_QUEUE, DEATH_REASON, DEATH_COUNT, DEATH_ROUTING_KEY})
"""To be left out when a dead letter is published to its origin again."""


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How full a queue is: ``ready`` waits, ``unacked`` is with consumers (None where the broker does not tell)."""

    ready: int
    unacked: int | None


class BrokerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message at rest or on its way. ``headers`` carry the correlation id and trace context. AMQP carries priorities from 0 to 255."""

    body: bytes
    message_id: str
    priority: int = 0
    headers: Mapping[str, str] = {}


class BrokerDelivery(Protocol):
    """A message handed to a consumer, redelivered to somebody unless it is settled.

    Settling returns when the answer is on its way: no broker confirms it, and when it is lost the message comes again. Settling twice raises RuntimeError;
    EdgeLost when the broker has taken the message back already, with its consumer or its connection.
    """

    message: BrokerMessage
    redelivered: bool
    delivery_count: int  # deliveries before this one

    async def ack(self) -> None:
        """Done: its effect is durable."""
        ...

    async def nack(self) -> None:
        """Not done: put it back (counts against the delivery limit)."""
        ...

    async def reject(self) -> None:
        """Never to be done: to the dead-letter queue, or away when there is none."""
        ...


class Broker(Protocol):
    """AMQP's semantics: confirms, acknowledgements, prefetch, priorities, redelivery, delivery limits, dead letters."""

    is_durable: bool
    """Whether messages outlive this process; where they do not, everything without a verdict is published again at the start."""

    async def declare(self, queues: Sequence[Queue]) -> None:
        """Make the queues unless they exist; the same declaration again changes nothing, a different one raises Conflict."""
        ...

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        """Return when the broker has confirmed the message. Raises Unroutable (mandatory), PublishRefused, DeadlineExceeded, EdgeLost."""
        ...

    def consume(self, queue: str, *, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[BrokerDelivery]]:
        """Receive deliveries, at most ``prefetch`` unsettled at once; leaving the block puts the unsettled ones back.

        Where priorities are queues of their own, the edge may hold ``priorities - 1`` more for a moment. The iteration raises EdgeLost when the broker took
        everything back (a lost connection, a consumer that took too long).
        """
        ...

    async def depth(self, queue: str) -> QueueDepth:
        """Say how full a queue is. Like all that names a queue, it raises NotFound when that was not declared here."""
        ...

    async def get(self, queue: str) -> BrokerDelivery | None:
        """Take one message without subscribing (for operators), or None when there is none. It is held until it is settled."""
        ...

    async def peek(self, queue: str, limit: int) -> list[BrokerMessage]:
        """Show the first ready messages in their order, at most ``limit``, without settling any.

        Only of a queue without a dead-letter queue, such as one of dead letters: elsewhere Invalid, because looking counts as a delivery.
        """
        ...

    async def purge(self, queue: str) -> int:
        """Delete the ready messages; return how many. Those with consumers stay."""
        ...


# ---- redis -----------------------------------------------------------------------------------------------------------

RedisValue = str | bytes | int | float
RedisReply = Any  # bytes, int, None, or lists of them: as in RESP2
ScriptCall = tuple[Sequence[str], Sequence[RedisValue]]  # keys and arguments


class Subscription(Protocol):
    """Messages of the subscribed channels, in order, from the moment the block was entered."""

    def __aiter__(self) -> AsyncIterator[tuple[str, bytes]]:
        """Iterate (channel, payload); raises EdgeLost when messages may have been missed (lost connection, or this subscriber fell too far behind)."""
        ...


class Redis(Protocol):
    """Redis: commands as words, Lua scripts by text, pub/sub. Replies are RESP2's: bytes, int, None, lists."""

    async def call(self, *words: RedisValue) -> RedisReply:
        """Run one command."""
        ...

    async def pipeline(self, commands: Sequence[Sequence[RedisValue]]) -> list[RedisReply]:
        """Run commands in one crossing, in order, not atomically."""
        ...

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[RedisValue]) -> RedisReply:
        """Run a Lua script atomically (EVALSHA, loading it at the first use)."""
        ...

    async def scripts(self, lua: str, calls: Sequence[ScriptCall]) -> list[RedisReply | CodeWarzError]:
        """Run a Lua script several times in one crossing, in order, others' commands between them perhaps. What one of them raised is its reply."""
        ...

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to channels; a name that ends in ``*`` is a pattern."""
        ...


# ---- rpc -------------------------------------------------------------------------------------------------------------


class Handler(Protocol):
    """What answers the requests of one service."""

    async def __call__(self, request: Request[Any], *, timeout: float) -> Any:
        """Answer, or raise a CodeWarzError."""
        ...


class Rpc(Protocol):
    """Requests to services wherever they run: "core" and "leaderboard"."""

    async def call(self, service: str, request: Request[R], *, timeout: float) -> R:
        """Return the reply; raises what the service answered with, DeadlineExceeded after ``timeout`` seconds, Unavailable when nobody serves it."""
        ...

    def serve(self, service: str, handler: Handler) -> AbstractAsyncContextManager[None]:
        """Answer the service's requests as long as the block lasts."""
        ...


# ---- telemetry -------------------------------------------------------------------------------------------------------


class Meter(Protocol):
    """Measurements by name; the names, their labels and their help texts are declared once, where the meter is made."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation to a histogram (seconds)."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...


# ---- passwords -------------------------------------------------------------------------------------------------------


class Passwords(Protocol):
    """Slow password hashing, of which only a few may run at once. Each call raises Unavailable when too many wait already."""

    async def hash(self, password: str) -> str:
        """Return the encoded hash with its salt and parameters."""
        ...

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Say whether the password is right. With None (nobody has that name) it takes as long as a wrong password and answers False."""
        ...

    def is_outdated(self, encoded: str) -> bool:
        """Whether the hash was made with weaker parameters than today's: hash the password again when it is next known."""
        ...


# ---- judging ---------------------------------------------------------------------------------------------------------


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What judging one attempt came to. ``output`` is a run's own output; scores in hundredths; ``judge_error`` tells staff why it is JE."""

    verdict: Verdict
    score: int = 0
    tests: tuple[TestResult, ...] = ()
    compile_output: str = ""
    output: str = ""
    judge_error: str = ""


class Witness(Protocol):
    """Hears of a judging step by step."""

    async def __call__(self, state: State, test: TestResult | None, tests_total: int) -> None:
        """Hear that the judging came to ``state``, or that a test gave a result."""
        ...


class Judging(Protocol):
    """Compiles and runs untrusted code in a sandbox of its own and compares what it answers."""

    def offers(self) -> Sequence[Offer]:
        """Return the languages that can be judged here."""
        ...

    def sandboxes(self) -> Mapping[str, int]:
        """Return how many sandboxes there are in each state (``warm``, ``busy`` …), and as ``peak`` the most that ever were at once."""
        ...

    async def judge(self, work: Work, blob: ProblemBlob, witness: Witness) -> Judgement:
        """Judge one attempt in a fresh sandbox, again in another one when it misbehaved; the third time the verdict is JE."""
        ...

    async def verify(self, package: bytes) -> Verification:
        """Judge a zipped package's own submissions; Invalid when it is no package."""
        ...
