"""The outbox: what core committed reaches the broker at least once, what it did not commit never.

The *listener* turns the database's notifications into one conflated wake-up; the *relay* claims rows, publishes them outside any transaction and
marks them after the confirm. Nobody polls: with nothing to do the relay sleeps until the earliest row that waits for its time (a retry, or the claim
of a relay that died).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import structlog
import trio

from contracts.errors import CodeWarzError, EdgeLost
from contracts.messages import Topic
from contracts.ports import Broker, BrokerMessage, Database, Meter, Queue, Row, Statements, WallClock
from supervisor.context import Context
from supervisor.errors import MailboxFull
from supervisor.mailbox import Address

CHANNEL = "outbox"
BATCH_MOST = 100
CLAIM_MS = 30_000  # longer than any publish may take; a dead relay's rows come back after it
ATTEMPTS_MOST = 10
BACKOFF_FIRST_MS = 200
BACKOFF_CAP_MS = 60_000

SUBMISSION_QUEUE = Queue(
    name="submission.queue",
    routing_key=Topic.SUBMISSION,
    dead_letter_queue="submission.dlq",
    delivery_limit=5,
    priorities=3,
)
VERDICT_QUEUE = Queue(
    name="verdict.queue", routing_key=Topic.VERDICT, dead_letter_queue="verdict.dlq", delivery_limit=20
)
QUEUES: Sequence[Queue] = (
    SUBMISSION_QUEUE,
    VERDICT_QUEUE,
    Queue(name="submission.dlq", routing_key="submission.dlq"),
    Queue(name="verdict.dlq", routing_key="verdict.dlq"),
)

_log = structlog.get_logger("outbox")


class Scan(msgspec.Struct, frozen=True):
    """Look into the outbox: there may be something."""


@dataclass(frozen=True)
class Listener:
    """Wakes the relay whenever a commit added outbox rows."""

    database: Database
    relay: Address[Scan]

    async def run(self, ctx: Context[None]) -> None:
        """Listen first, then ask for a full scan: whatever was committed before cannot be missed."""
        async with self.database.listen(CHANNEL) as wakeups:
            ctx.ready()
            while True:
                with suppress(MailboxFull):  # a scan is waiting already, and it will see these rows as well
                    self.relay.tell_nowait(Scan())
                await wakeups.wait()


@dataclass(frozen=True)
class Relay:
    """Publishes the outbox."""

    database: Database
    broker: Broker
    clock: WallClock
    rng: random.Random
    meter: Meter

    async def run(self, ctx: Context[Scan]) -> None:
        """Scan at the start (a wake-up may have died with an earlier incarnation), then at each wake-up or when a row's time comes."""
        await self.broker.declare(QUEUES)
        ctx.ready()
        while True:
            while await self._publish_batch():
                pass
            with trio.move_on_after(await self._seconds_to_next()):
                await ctx.inbox.receive()
                ctx.inbox.done()

    async def _publish_batch(self) -> bool:
        """Publish up to BATCH_MOST rows, all confirms in flight together; return whether there may be more."""
        rows = await claim(self.database, self.clock.now_ms(), BATCH_MOST)
        sent: list[str] = []
        failed: list[tuple[Row, CodeWarzError]] = []

        async def publish(row: Row) -> None:
            message = BrokerMessage(
                body=row["body"],
                message_id=row["id"],
                priority=row["priority"],
                headers={"correlation-id": row["correlation_id"], "traceparent": row["traceparent"]},
            )
            try:
                await self.broker.publish(row["topic"], message)
            except CodeWarzError as error:
                failed.append((row, error))
            else:
                sent.append(row["id"])

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(publish, row, name=f"publish {row['id']}")
        now_ms = self.clock.now_ms()
        if sent:
            await self.database.execute_many(
                "UPDATE outbox_messages SET sent_at_ms = $1 WHERE id = $2", [(now_ms, each) for each in sorted(sent)]
            )
            self.meter.count("outbox_published", len(sent))
        for row, error in failed:
            await self._postpone(row, error, now_ms)
        return len(rows) == BATCH_MOST

    async def _postpone(self, row: Row, error: CodeWarzError, now_ms: int) -> None:
        """Try a row again later; one that the broker refused ATTEMPTS_MOST times is parked. A lost connection is nobody's fault and never parks."""
        if row["attempts"] >= ATTEMPTS_MOST and not isinstance(error, EdgeLost):
            _log.error("outbox_parked", message=row["id"], topic=row["topic"], error=error.detail)
            self.meter.count("outbox_parked")
            await self.database.execute(
                "UPDATE outbox_messages SET parked_at_ms = $1, last_error = $2 WHERE id = $3",
                now_ms,
                error.detail,
                row["id"],
            )
            return
        backoff_ms = min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** min(row["attempts"], 16))
        await self.database.execute(
            "UPDATE outbox_messages SET available_at_ms = $1, last_error = $2 WHERE id = $3",
            now_ms + round(backoff_ms * self.rng.uniform(0.5, 1)),
            error.detail,
            row["id"],
        )

    async def _seconds_to_next(self) -> float:
        row = await self.database.fetch_one(
            "SELECT min(available_at_ms) AS next FROM outbox_messages WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL"
        )
        if row is None or row["next"] is None:
            return math.inf
        return max(0.0, (int(row["next"]) - self.clock.now_ms()) / 1000)


async def claim(database: Statements, now_ms: int, most: int) -> list[Row]:
    """Take up to ``most`` rows whose time has come, in order, and hide them from other relays for CLAIM_MS."""
    rows = await database.fetch(
        "UPDATE outbox_messages SET available_at_ms = $1, attempts = attempts + 1 WHERE id IN (SELECT id FROM outbox_messages"
        " WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL AND available_at_ms <= $2 ORDER BY available_at_ms, id LIMIT $3"
        " FOR UPDATE SKIP LOCKED) RETURNING id, topic, priority, body, correlation_id, traceparent, attempts",
        now_ms + CLAIM_MS,
        now_ms,
        most,
    )
    return sorted(rows, key=lambda row: row["id"])
