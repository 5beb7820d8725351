"""What became of every message of the broker: none vanishes there, and none is acknowledged before its effect is durable.

The fast ways are watched here one by one. Without this a message that is lost would go unseen: the sweeper makes up for it, half a minute later.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from actors.boards import BoardView
from actors.outbox import QUEUES, SUBMISSION_QUEUE, VERDICT_QUEUE
from chaos.invariants import Violation
from contracts.messages import BoardEvent, Judged, JudgeRequested
from contracts.ports import BrokerMessage

if TYPE_CHECKING:
    from chaos.simulation.cluster import Engines
    from chaos.simulation.world import World

DEAD_LETTERS = tuple(queue.name for queue in QUEUES if queue.dead_letter_queue is None)
MOST = 100_000  # dead letters that are looked at

_request = msgspec.json.Decoder(JudgeRequested)
_event = msgspec.json.Decoder(BoardEvent)


class Ledger:
    """Copies of messages that came and that were acknowledged."""

    def __init__(self, world: World, engines: Engines) -> None:
        self._world = world
        self._engines = engines
        self._copies: Counter[str] = Counter()  # in the broker's care, dead letters among them
        self._asked: Counter[tuple[str, int]] = Counter()  # the same by submission and attempt, of requests to judge

    def came(self, topic: str, message: BrokerMessage) -> None:
        """Note that the broker has taken a copy."""
        self._count(topic, message, 1)

    def lost(self, topic: str, message: BrokerMessage) -> None:
        """Note that the broker itself has lost a copy: whoever asked makes up for it."""
        self._count(topic, message, -1)

    def copies(self, key: tuple[str, int]) -> int:
        """Return how many copies of a request to judge an attempt are in the broker's care: in the queue, or given out and not answered."""
        return self._asked[key]

    def _count(self, topic: str, message: BrokerMessage, change: int) -> None:
        self._copies[message.message_id] += change
        if topic == SUBMISSION_QUEUE.routing_key:
            with suppress(msgspec.MsgspecError):  # somebody's nonsense
                self._asked[_key(message)] += change

    async def acknowledged(self, queue: str, message: BrokerMessage) -> None:
        """Note that a copy is gone, and check that it may be."""
        try:
            if queue == SUBMISSION_QUEUE.name:
                self._count(SUBMISSION_QUEUE.routing_key, message, -1)
                await self._has_been_judged(*_key(message))
            elif queue == VERDICT_QUEUE.name:
                self._count(VERDICT_QUEUE.routing_key, message, -1)
                event = _event.decode(message.body)
                if isinstance(event, Judged) and event.change is not None:
                    await self._is_on_the_board(event)
        except msgspec.MsgspecError:
            self._world.violated("I2", f"{message.message_id} was acknowledged, and nobody can have read it")

    async def _has_been_judged(self, submission_id: str, attempt: int) -> None:
        """Nobody may let go of the last request for something that is not judged: one in the outbox counts, the broker will have it."""
        engines, key = self._engines, (submission_id, attempt)
        if self._asked[key] or key in engines.verdicts or engines.attempts[submission_id] != attempt:
            return
        waiting = await engines.database.fetch(
            "SELECT 1 AS one FROM outbox_messages WHERE topic = $1 AND sent_at_ms IS NULL AND CAST(body AS TEXT) LIKE $2",
            SUBMISSION_QUEUE.routing_key,
            f"%{submission_id}%",
        )
        if not waiting and key not in engines.verdicts:
            self._world.violated(
                "I1", f"the last request for {submission_id}:{attempt} was acknowledged without a verdict"
            )

    async def _is_on_the_board(self, event: Judged) -> None:
        change, redis = event.change, self._engines.redis
        assert change is not None
        for view in BoardView:
            key = f"board:{{{change.contest_id}}}:{view}"
            is_there, lines = await redis.pipeline(
                [["EXISTS", f"{key}:meta"], ["HGET", f"{key}:cells", f"{change.user_id}|{change.problem_id}"]]
            )
            attempts = [
                line.split(",")[1]
                for line in (lines or b"").decode().split(";")
                if line.startswith(change.submission_id)
            ]
            if is_there and (not attempts or int(attempts[0]) < change.attempt):
                text = f"the verdict of {change.submission_id}:{change.attempt} was acknowledged and is not on the {view} board"
                self._world.violated("I4", text)

    async def vanished(self) -> list[Violation]:
        """I2, once all queues are empty: what was neither acknowledged nor is among the dead letters."""
        dead: Counter[str] = Counter()
        for queue in DEAD_LETTERS:
            dead.update(message.message_id for message in await self._engines.broker.peek(queue, MOST))
        return [
            Violation("I2", f"{message_id} is neither acknowledged nor with the dead letters: the broker lost it")
            for message_id, copies in self._copies.items()
            if copies > dead[message_id]
        ]


def _key(message: BrokerMessage) -> tuple[str, int]:
    """Return what a request to judge is about."""
    request = _request.decode(message.body)
    return request.submission_id, request.attempt
