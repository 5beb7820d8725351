"""The intake: takes requests off the submission queue, as many at once as there are workers, and settles each by what became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog
import trio

from actors import languages
from actors.judge.worker import Outcome
from actors.outbox import QUEUES, SUBMISSION_QUEUE
from contracts.messages import JudgeRequested, Offer, PersistVerdict
from contracts.ports import Broker, BrokerDelivery, Redis, Rpc
from contracts.verdicts import Verdict
from supervisor.context import Context
from supervisor.errors import MailboxClosed, MessageQuarantined
from supervisor.mailbox import Address

HELD_PAUSE_S = 1.0

_log = structlog.get_logger("judge")
_decode = msgspec.json.Decoder(JudgeRequested).decode


@dataclass(frozen=True)
class Intake:
    """Feeds the workers. ``prefetch`` equals their number: a message that waits here would starve another judge."""

    name: str
    broker: Broker
    redis: Redis
    rpc: Rpc
    workers: Address[JudgeRequested]
    prefetch: int
    offers: Sequence[Offer]

    async def run(self, ctx: Context[None]) -> None:
        """Consume until drained; what is not settled by then goes back to the queue."""
        await self.broker.declare(QUEUES)
        await languages.announce(self.redis, self.name, self.offers)
        async with (
            self.broker.consume(SUBMISSION_QUEUE.name, prefetch=self.prefetch) as deliveries,
            trio.open_nursery() as nursery,
        ):
            ctx.ready()
            nursery.start_soon(self._announce, name="announce languages")
            async for delivery in deliveries:
                nursery.start_soon(self._settle, delivery, name=f"settle {delivery.message.message_id}")

    async def _announce(self) -> None:
        while True:
            await trio.sleep(languages.RENEW_S)
            await languages.announce(self.redis, self.name, self.offers)

    async def _settle(self, delivery: BrokerDelivery) -> None:
        try:
            request = _decode(delivery.message.body)
        except msgspec.MsgspecError as error:
            _log.error("unreadable_message", message=delivery.message.message_id, error=str(error))
            await delivery.reject()
            return
        outcome = await self._ask_until_clear(request)
        await (delivery.ack() if outcome is Outcome.SETTLED else delivery.nack())

    async def _ask_until_clear(self, request: JudgeRequested) -> Outcome:
        """Have the request judged. While somebody else holds its lease, wait: either the verdict comes, or the lease ends."""
        while True:
            try:
                outcome: Outcome = await self.workers.ask(request, timeout=math.inf)
            except MessageQuarantined:
                await self._give_up(request)
                return Outcome.SETTLED
            except MailboxClosed:
                return Outcome.FAILED
            if outcome is not Outcome.HELD:
                return outcome
            await trio.sleep(HELD_PAUSE_S)

    async def _give_up(self, request: JudgeRequested) -> None:
        """It has killed two workers: that must not go on, and the submission must not wait for ever."""
        _log.error("submission_quarantined", submission=request.submission_id)
        await self.rpc.call("core", judge_error(request, "it crashed its judge twice"), timeout=math.inf)


def judge_error(request: JudgeRequested, reason: str) -> PersistVerdict:
    """Return the verdict of last resort; fencing 0 lets it through whichever judge had the attempt last."""
    return PersistVerdict(
        submission_id=request.submission_id,
        attempt=request.attempt,
        fencing=0,
        verdict=Verdict.JE,
        judge="intake",
        judge_error=reason,
    )
