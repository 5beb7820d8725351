"""The outbox: what core committed reaches the broker at least once, what it did not commit never.

The *listener* turns the database's notifications into one conflated wake-up; the *relay* claims rows, publishes them outside any transaction and
marks them after the confirm. Nobody polls: with nothing to do the relay sleeps until the earliest row that waits for its time (a retry, or the claim
of a relay that died).

Rule 1: what is due goes out by priority, so a rejudging of thousands never stands before a live contest.
Rule 2: a neighbour that is away is nobody's fault: listener and relay wait for it, rows count no attempt. What the broker *refuses* again and again is parked.
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

from actors.patience import again_and_again, until_done
from contracts.errors import CodeWarzError, DeadlineExceeded, Unavailable
from contracts.messages import Priority, Topic
from contracts.ports import Broker, BrokerMessage, Database, Meter, Queue, Row, Statements, WallClock
from supervisor.context import Context
from supervisor.errors import MailboxClosed, MailboxFull
from supervisor.mailbox import Address

CHANNEL = "outbox"
BATCH_MOST = 100
CLAIM_MS = 8_000  # a dead relay's rows come back after it, so that a core may die in any moment and everything is well again within 10 s
PUBLISH_TIMEOUT_S = 5.0  # below CLAIM_MS, so that a row is never with two relays
AWAY_PAUSE_S = 1.0  # before a neighbour that was away is asked again
CROWDED = 1000  # requests ready in the queue from which on rejudging waits in the outbox: the queue is bounded, and a contest needs room in it
CROWDED_PAUSE_S = 0.5
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
        """Listen, again whenever the connection was lost."""
        await again_and_again(ctx, lambda: self._listen(ctx), "outbox_listener")

    async def _listen(self, ctx: Context[None]) -> None:
        """Listen first, then ask for a full scan: whatever was committed before cannot be missed."""
        async with self.database.listen(CHANNEL) as wakeups:
            ctx.ready()
            # buggify at listener.listening
            while True:
                # Full: a scan is waiting already, and it will see these rows as well. Closed: the relay scans when it is started again.
                with suppress(MailboxFull, MailboxClosed):
                    self.relay.tell_nowait(Scan())
                await wakeups.wait()


@dataclass
class Relay:
    """Publishes the outbox."""

    database: Database
    broker: Broker
    clock: WallClock
    rng: random.Random
    meter: Meter
    _has_bulk: bool = True  # rejudging was there the last time, or is held back: nothing else makes it worth a trip to look how full the queue is

    async def run(self, ctx: Context[Scan]) -> None:
        """Scan at the start (a wake-up may have died with an earlier incarnation), then at each wake-up or when a row's time comes."""
        await until_done(ctx, lambda: self.broker.declare(QUEUES), "relay")
        ctx.ready()
        while True:
            try:
                pause_s = await self._publish_batch()
            except Unavailable as error:
                _log.warning("relay_waits", error=error.detail)
                await trio.sleep(AWAY_PAUSE_S)
                continue
            if pause_s > 0:
                with trio.move_on_after(pause_s):
                    await ctx.inbox.receive()
                    ctx.inbox.done()

    async def _publish_batch(self) -> float:
        """Publish up to BATCH_MOST rows, all confirms in flight together; return the seconds after which there may be more."""
        is_crowded = self._has_bulk and (await self.broker.depth(SUBMISSION_QUEUE.name)).ready >= CROWDED
        least = Priority.PRACTICE if is_crowded else Priority.REJUDGE
        rows = await claim(self.database, self.clock.now_ms(), BATCH_MOST, least)
        self._has_bulk = is_crowded or any(row["priority"] == Priority.REJUDGE for row in rows)
        # buggify at relay.claimed
        errors: dict[str, CodeWarzError] = {}
        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(self._publish, row, errors, name=f"publish {row['id']}")
                # Tasks that are started together begin in any order: after an outage those who have waited longest would be judged last, half of the time.
                await trio.lowlevel.checkpoint()
        # buggify at relay.published
        await self._mark([row["id"] for row in rows if row["id"] not in errors])
        # buggify at relay.marked
        await self._postpone([(row, errors[row["id"]]) for row in rows if row["id"] in errors])
        for error in errors.values():
            if isinstance(error, Unavailable):
                raise error
        if len(rows) == BATCH_MOST:
            return 0.0
        return CROWDED_PAUSE_S if is_crowded else await self._seconds_to_next()

    async def _publish(self, row: Row, errors: dict[str, CodeWarzError]) -> None:
        message = BrokerMessage(
            body=row["body"],
            message_id=row["id"],
            priority=row["priority"],
            headers={"correlation-id": row["correlation_id"], "traceparent": row["traceparent"]},
        )
        with trio.move_on_after(PUBLISH_TIMEOUT_S) as limit:
            try:
                await self.broker.publish(row["topic"], message)
            except CodeWarzError as error:
                errors[row["id"]] = error
        if limit.cancelled_caught:
            errors[row["id"]] = DeadlineExceeded(f"the broker did not confirm within {PUBLISH_TIMEOUT_S:g} s")

    async def _mark(self, sent: list[str]) -> None:
        if sent:
            now_ms = self.clock.now_ms()
            await self.database.execute_many(
                "UPDATE outbox_messages SET sent_at_ms = $1 WHERE id = $2", [(now_ms, each) for each in sent]
            )
            self.meter.count("outbox_published", len(sent))

    async def _postpone(self, failed: list[tuple[Row, CodeWarzError]]) -> None:
        """Try rows again later; one that the broker refused ATTEMPTS_MOST times is parked.

        What could not be sent because the broker is away is due at once: it is the relay that pauses. Were each row put off for itself, the next batch would
        have some of them and not those that have waited longest, and another relay, to which the broker may be there, would have none.
        """
        now_ms = self.clock.now_ms()
        parameters: list[tuple[int, int, int | None, str, str]] = []
        for row, error in failed:
            attempts, parked_at_ms = row["attempts"], None
            if isinstance(error, Unavailable):
                attempts, backoff_ms = attempts - 1, 0
            else:
                backoff_ms = min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** min(attempts, 16))
                if attempts >= ATTEMPTS_MOST:
                    parked_at_ms = now_ms
                    _log.error("outbox_parked", message=row["id"], topic=row["topic"], error=error.detail)
                    self.meter.count("outbox_parked")
            available_at_ms = now_ms + round(backoff_ms * self.rng.uniform(0.5, 1))
            parameters.append((available_at_ms, attempts, parked_at_ms, error.detail, row["id"]))
        await self.database.execute_many(
            "UPDATE outbox_messages SET available_at_ms = $1, attempts = $2, parked_at_ms = $3, last_error = $4 WHERE id = $5",
            parameters,
        )

    async def _seconds_to_next(self) -> float:
        row = await self.database.fetch_one(
            "SELECT min(available_at_ms) AS next FROM outbox_messages WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL"
        )
        if row is None or row["next"] is None:
            return math.inf
        return max(0.0, (int(row["next"]) - self.clock.now_ms()) / 1000)


async def claim(database: Statements, now_ms: int, most: int, least_priority: int = Priority.REJUDGE) -> list[Row]:
    """Take up to ``most`` rows whose time has come, by priority and age, and hide them from other relays for CLAIM_MS.

    Age is that of the identifier: what was put off, or came back from a relay that died, has not lost its turn.
    """
    rows = await database.fetch(
        "UPDATE outbox_messages SET available_at_ms = $1, attempts = attempts + 1 WHERE id IN (SELECT id FROM outbox_messages"
        " WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL AND priority >= $4 AND available_at_ms <= $2"
        " ORDER BY priority DESC, id LIMIT $3 FOR UPDATE SKIP LOCKED)"
        " RETURNING id, topic, priority, body, correlation_id, traceparent, attempts",
        now_ms + CLAIM_MS,
        now_ms,
        most,
        least_priority,
    )
    return sorted(rows, key=lambda row: row["id"])
