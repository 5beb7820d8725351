"""The intake: takes requests off the submission queue, as many at once as there are workers, and settles each by what became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog
import trio

from actors import languages
from actors.judge.lease import LeaseHeld, LeaseLost, held
from actors.judge.worker import Outcome, ask_core
from actors.outbox import QUEUES, SUBMISSION_QUEUE
from actors.patience import again_and_again
from contracts.errors import CodeWarzError, SetAside, Unavailable
from contracts.messages import GetWork, JudgeRequested, Offer, PersistVerdict
from contracts.ports import Broker, BrokerDelivery, Redis, Rpc
from contracts.reading import Unreadable, reader
from contracts.verdicts import Verdict
from supervisor.context import Context
from supervisor.errors import MailboxClosed, MessageQuarantined
from supervisor.mailbox import Address

HELD_PAUSE_S = 0.5
FAILED_PAUSE_S = 1.0  # doubled with each failure up to the cap
FAILED_PAUSE_CAP_S = 4.0  # a neighbour that is back is noticed within it
GIVE_BACK_AFTER_S = 300.0  # of failing here: perhaps another process can; sooner, an absent neighbour would use up the deliveries, and the dead letters fill

_log = structlog.get_logger("judge")
_read = reader(msgspec.json.Decoder(JudgeRequested))
_Attempt = tuple[str, int]  # a submission's identifier, and which of its attempts


@dataclass(frozen=True)
class Intake:
    """Feeds the workers. ``prefetch`` equals their number: a message that waits here would starve another judge. ``owner`` begins the names of lease owners."""

    name: str
    owner: str
    broker: Broker
    redis: Redis
    rpc: Rpc
    workers: Address[JudgeRequested]
    prefetch: int
    offers: Sequence[Offer]

    async def run(self, ctx: Context[None]) -> None:
        """Consume until drained; what is not settled by then goes back to the queue."""
        await again_and_again(ctx, lambda: self._consume(ctx), "intake")

    async def _consume(self, ctx: Context[None]) -> None:
        await self.broker.declare(QUEUES)
        async with (
            self.broker.consume(SUBMISSION_QUEUE.name, prefetch=self.prefetch) as deliveries,
            trio.open_nursery() as nursery,
        ):
            ctx.ready()
            nursery.start_soon(self._announce, name="announce languages")
            in_hand: dict[_Attempt, BrokerDelivery] = {}
            async for delivery in deliveries:
                nursery.start_soon(self._settle, delivery, in_hand, name=f"settle {delivery.message.message_id}")

    async def _announce(self) -> None:
        """Say what can be judged here, for as long as it can; that Redis is away for a while, or holds something else there, must not end a judging."""
        while True:
            try:
                await languages.announce(self.redis, self.name, self.offers)
            except CodeWarzError as error:
                _log.warning("languages_untold", error=error.detail)
                await trio.sleep(FAILED_PAUSE_S)
            else:
                await trio.sleep(languages.RENEW_S)

    async def _settle(self, delivery: BrokerDelivery, in_hand: dict[_Attempt, BrokerDelivery]) -> None:
        """Settle a delivery by what became of its request.

        Of several copies of a request one is enough: it is answered only when the attempt is over for good, and otherwise the broker still has it. The others
        would take the place of somebody else's request, all of them together every place, for as long as the lease of a judge that died.
        """
        try:
            request = _read(delivery.message.body)
        except Unreadable as error:
            _log.error("unreadable_message", message=delivery.message.message_id, error=error.detail)
            await delivery.reject()
            return
        attempt = (request.submission_id, request.attempt)
        if attempt in in_hand:
            # The one with fewer deliveries behind it is kept: it is further from the dead letters.
            in_hand[attempt], spare = sorted((in_hand[attempt], delivery), key=lambda each: each.delivery_count)
            await spare.ack()
            return
        in_hand[attempt] = delivery
        outcome = await self._ask_until_clear(request)
        # buggify at intake.settled
        delivery = in_hand.pop(attempt)
        match outcome:
            case Outcome.SETTLED:
                await delivery.ack()
            case Outcome.REFUSED:
                await delivery.reject()
            case _:
                await delivery.nack()

    async def _ask_until_clear(self, request: JudgeRequested) -> Outcome:
        """Have the request judged. While somebody else holds its lease, wait: either the verdict comes, or the lease ends.

        While an operator has stopped the workers, wait as well; while a neighbour is away, for GIVE_BACK_AFTER_S. A judging has no time limit of its own
        here: the sandbox and the worker bound each of its steps.
        """
        give_back_at = trio.current_time() + GIVE_BACK_AFTER_S
        pause_s = FAILED_PAUSE_S
        while True:
            try:
                outcome: Outcome = await self.workers.ask(request, timeout=math.inf)
            except MessageQuarantined:
                outcome = await self._give_up(request)
            except MailboxClosed:
                outcome = Outcome.HELD
            if outcome in (Outcome.SETTLED, Outcome.REFUSED) or (
                outcome is Outcome.FAILED and trio.current_time() >= give_back_at
            ):
                return outcome
            if outcome is Outcome.HELD:
                await trio.sleep(HELD_PAUSE_S)
            else:
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, FAILED_PAUSE_CAP_S)

    async def _give_up(self, request: JudgeRequested) -> Outcome:
        """It has killed two workers: that must not go on, and the submission must not wait for ever. A living judge is not overruled."""
        _log.error("submission_quarantined", submission=request.submission_id)
        owner = f"{self.owner}intake"
        try:
            async with held(self.redis, request.submission_id, request.attempt, owner):
                work = await ask_core(self.rpc, GetWork(submission_id=request.submission_id, attempt=request.attempt))
                if work is not None:
                    verdict = judge_error(request, work.fencing, owner, "it crashed its judge twice")
                    if await ask_core(self.rpc, verdict) is None:
                        return Outcome.HELD
        except LeaseHeld:
            return Outcome.HELD
        except (LeaseLost, Unavailable, SetAside) as error:
            _log.warning("giving_up_interrupted", submission=request.submission_id, error=repr(error))
            return Outcome.FAILED
        except CodeWarzError as error:
            _log.error("giving_up_refused", submission=request.submission_id, error=repr(error))
            return Outcome.REFUSED
        return Outcome.SETTLED


def judge_error(request: JudgeRequested, fencing: int, judge: str, reason: str) -> PersistVerdict:
    """Return the verdict of last resort; it counts unless somebody has fetched the attempt since ``fencing``."""
    return PersistVerdict(
        submission_id=request.submission_id,
        attempt=request.attempt,
        fencing=fencing,
        verdict=Verdict.JE,
        judge=judge,
        judge_error=reason,
    )
