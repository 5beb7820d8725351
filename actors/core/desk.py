"""What every handler of core gets: the transaction, the time, and the two things written beside the effect (outbox and audit log)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import trio

from contracts.ids import make_id
from contracts.messages import BoardEvent, Judged, JudgeRequested, Priority, Topic
from contracts.ports import Transaction

POSTS_AT_ONCE = 500  # rows made between two checkpoints: some milliseconds
# of a verdict on its fast way to the board. The event is there for when that fails; sent at once, it would only compete with it for the same processors
HEAD_START_MS = 50


@dataclass(frozen=True)
class Desk:
    """One request's view of the world. ``now_ms`` is the same for the whole request."""

    tx: Transaction
    now_ms: int
    rng: random.Random

    def new_id(self) -> str:
        """Return a new identifier for something that the request did not name."""
        return make_id(self.now_ms, self.rng)

    async def post_event(self, event: BoardEvent, *, correlation_id: str = "") -> None:
        """Put an event into the outbox, with the next statement: it is published if, and only if, this transaction commits."""
        head_start_ms = HEAD_START_MS if isinstance(event, Judged) else 0
        await self._post(Topic.VERDICT, [(event, Priority.EVENT, correlation_id)], after_ms=head_start_ms)

    async def request_judging(self, requests: Sequence[tuple[JudgeRequested, int, str]]) -> None:
        """Put requests to judge into the outbox, with the next statement, each with its priority and correlation id."""
        await self._post(Topic.SUBMISSION, requests)

    async def _post(
        self, topic: Topic, posts: Sequence[tuple[JudgeRequested | BoardEvent, int, str]], *, after_ms: int = 0
    ) -> None:
        due_ms = self.now_ms + after_ms
        for start in range(0, len(posts), POSTS_AT_ONCE):
            rows = [
                (
                    self.new_id(),
                    topic,
                    priority,
                    msgspec.json.encode(body),
                    correlation_id,
                    self.now_ms,
                    due_ms,
                    _judged(body),
                )
                for body, priority, correlation_id in posts[start : start + POSTS_AT_ONCE]
            ]
            self.tx.later(
                "INSERT INTO outbox_messages (id, topic, priority, body, correlation_id, traceparent, created_at_ms, available_at_ms, attempts,"
                " last_error, submission_id) VALUES ($1, $2, $3, $4, $5, '', $6, $7, 0, '', $8)",
                rows,
            )
            if len(posts) > POSTS_AT_ONCE:
                await trio.lowlevel.checkpoint()

    async def audit(self, actor: str, action: str, subject: str, detail: str = "") -> None:
        """Note who did what, for changes that only staff may make."""
        await self.tx.execute(
            "INSERT INTO audit_log (id, at_ms, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)",
            self.new_id(),
            self.now_ms,
            actor,
            action,
            subject,
            detail,
        )


def _judged(body: JudgeRequested | BoardEvent) -> str | None:
    """Return which submission is to be judged, by which the sweeper finds the request in the outbox."""
    return body.submission_id if isinstance(body, JudgeRequested) else None
