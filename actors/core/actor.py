"""The core actor: drains its mailbox and commits what it found as one transaction (group commit).

A commit costs one fsync, and with the outbox's NOTIFY one global lock, whatever it contains; requests that wait together pay it once. Submissions that follow
one another are accepted together (``accepting``); any other request stands in a savepoint of its own, so one that fails undoes only itself. Nobody gets an
answer before the commit.

Another core may commit at the same moment. What it made, and this one looked for in vain, is found by a second look in the same transaction; where both wait
for each other, one is undone wholly and begins again.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog

from actors.core import contests, people, problems, submissions
from actors.core.accepting import Overtaken, accept
from actors.core.desk import Desk
from actors.service import MailboxService
from contracts import messages
from contracts.errors import CodeWarzError, Collided, Duplicate, NotFound, Unauthenticated, Unavailable
from contracts.messages import BoardEvent, GetProblem, Request, RotateSession
from contracts.ports import Database, WallClock
from supervisor.context import Context
from supervisor.delivery import Delivery
from supervisor.mailbox import Address

BATCH_MOST = 64
TRIES_MOST = (
    3  # of a batch that collides with another core's; PostgreSQL takes a second to see that two wait for each other
)
LOOKS_MOST = 2

Handle = Callable[[Desk, Any], Awaitable[Any]]

HANDLERS: dict[type[Request[Any]], Handle] = {
    messages.CreateUser: people.create_user,
    messages.SetPassword: people.set_password,
    messages.RenewPasswordHash: people.renew_password_hash,
    messages.OpenSession: people.open_session,
    messages.RotateSession: people.rotate_session,
    messages.CloseSession: people.close_session,
    messages.CloseSessions: people.close_sessions,
    messages.CreateApiToken: people.create_api_token,
    messages.RevokeApiToken: people.revoke_api_token,
    messages.CreateContest: contests.create_contest,
    messages.ChangeContest: contests.change_contest,
    messages.AttachProblem: contests.attach_problem,
    messages.DetachProblem: contests.detach_problem,
    messages.Register: contests.register,
    messages.Withdraw: contests.withdraw,
    messages.ImportProblem: problems.import_problem,
    messages.Submit: submissions.submit,
    messages.GetWork: submissions.get_work,
    messages.PersistVerdict: submissions.persist_verdict,
    messages.Rejudge: submissions.rejudge,
}

_log = structlog.get_logger("core")


@dataclass(frozen=True)
class Core:
    """What the core actor is made of."""

    database: Database
    clock: WallClock
    rng: random.Random

    async def run(self, ctx: Context[Request[Any]]) -> None:
        """Commit one batch after the other until the mailbox ends."""
        ctx.ready()
        while True:
            batch = await ctx.inbox.receive_batch(BATCH_MOST)
            await self._commit([delivery for delivery in batch if not delivery.expired])
            ctx.inbox.done()

    async def _commit(self, batch: list[Delivery[Request[Any]]]) -> None:
        batch = sorted(batch, key=_place)
        answers: list[Any] = []
        for tries_left in reversed(range(TRIES_MOST)):
            try:
                answers = await self._transact([delivery.message for delivery in batch])
                break
            except Collided as error:
                _log.warning("commit_collided", requests=len(batch), error=error.detail, tries_left=tries_left)
                if not tries_left:
                    _fail_all(batch, error)
                    return
            except CodeWarzError as error:
                _fail_all(batch, error)
                return
        # buggify at core.committed
        for delivery, answer in zip(batch, answers, strict=True):
            if isinstance(answer, CodeWarzError):
                delivery.fail(answer)
            else:
                delivery.reply(answer)

    async def _transact(self, requests: list[Request[Any]]) -> list[Any]:
        """Answer all in one transaction, in order, with what each returned or raised."""
        answers: list[Any] = []
        async with self.database.transaction() as tx:
            desk = Desk(tx, self.clock.now_ms(), self.rng)
            for is_submit, several in groupby(requests, key=lambda each: isinstance(each, messages.Submit)):
                if is_submit:
                    answers += await self._accept(desk, list(several))
                else:
                    answers += [await self._answer(desk, each) for each in several]
            # buggify at core.before_commit
        return answers

    async def _accept(self, desk: Desk, requests: list[Any]) -> list[Any]:
        """Answer submissions together; one by one when another core has just accepted one of them."""
        if len(requests) > 1:
            with suppress(Overtaken):
                async with desk.tx.savepoint():
                    return list(await accept(desk, requests))
        return [await self._answer(desk, each) for each in requests]

    async def _answer(self, desk: Desk, request: Request[Any]) -> Any:
        """Answer one request.

        What it looked for and did not find, another core may have committed before it wrote: so a unique key that is taken makes it look again, once. If that
        was the reason it finds now what it would have found a moment later; otherwise the key is taken indeed.
        """
        handle = HANDLERS.get(type(request))
        if handle is None:
            return NotFound(f"core has no answer to {type(request).__name__}")
        answer: CodeWarzError
        for _ in range(LOOKS_MOST):
            try:
                async with desk.tx.savepoint():
                    return await handle(desk, request)
            except Unavailable:
                raise  # the database itself is in trouble: that concerns the whole batch
            except Duplicate as error:
                answer = error
            except CodeWarzError as error:
                return error
            except Overtaken:
                answer = Unavailable(
                    "the same submission is being accepted elsewhere: try again in a moment", retry_after_s=1
                )
        return answer


def _place(delivery: Delivery[Request[Any]]) -> tuple[bool, str]:
    """Return where in its batch a request is answered: submissions first, together; then in the order of what they change, which is every core's.

    Two cores that touch the same rows one after the other then wait for each other in turn, and not both at once.
    """
    request = delivery.message
    return not isinstance(request, messages.Submit), str(getattr(request, "submission_id", None) or "")


def _fail_all(batch: list[Delivery[Request[Any]]], error: CodeWarzError) -> None:
    if len(batch) > 1:
        _log.warning("commit_failed", requests=len(batch), error=error.detail)
    for delivery in batch:
        delivery.fail(error)


class CoreService(MailboxService):
    """Core's requests as others see them: reads go straight to the database, everything else through the mailbox."""

    def __init__(self, database: Database, core: Address[Request[Any]]) -> None:
        super().__init__(core)
        self._database = database

    async def __call__(self, request: Request[Any] | BoardEvent, *, timeout: float) -> Any:
        """Answer one request."""
        if isinstance(request, GetProblem):
            return await problems.get_problem(self._database, request)
        reply = await super().__call__(request, timeout=timeout)
        if reply is None and isinstance(request, RotateSession):
            # Raised here and not in the handler, because there it would undo the revocation.
            raise Unauthenticated("this refresh token was used before: the session is revoked, sign in again")
        return reply
