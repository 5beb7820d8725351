"""The core actor: drains its mailbox and commits what it found as one transaction (group commit).

A commit costs one fsync, and with the outbox's NOTIFY one global lock, whatever it contains; requests that wait together pay it once. Submissions that follow
one another are accepted together (``accepting``); any other request stands in a savepoint of its own, so one that fails undoes only itself. Nobody gets an
answer before the commit.

Another core may commit the same submission at the same moment. Then this transaction is undone, and in a new one each request has a savepoint of its own.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog

from actors.core import contests, people, problems, submissions
from actors.core.accepting import Overtaken, accept
from actors.core.desk import Desk
from actors.service import MailboxService
from contracts import messages
from contracts.errors import CodeWarzError, NotFound, Unauthenticated, Unavailable
from contracts.messages import BoardEvent, GetProblem, Request, RotateSession
from contracts.ports import Database, WallClock
from supervisor.context import Context
from supervisor.delivery import Delivery
from supervisor.mailbox import Address

BATCH_MOST = 64

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
        try:
            try:
                answers = await self._transact(batch, together=True)
            except Overtaken:
                answers = await self._transact(batch, together=False)
        except CodeWarzError as error:
            if len(batch) > 1:
                _log.warning("commit_failed", requests=len(batch), error=error.detail)
            for delivery in batch:
                delivery.fail(error)
            return
        # buggify at core.committed
        for delivery, answer in zip(batch, answers, strict=True):
            if isinstance(answer, CodeWarzError):
                delivery.fail(answer)
            else:
                delivery.reply(answer)

    async def _transact(self, batch: list[Delivery[Request[Any]]], *, together: bool) -> list[Any]:
        """Answer all in one transaction, in order. Raises Overtaken, with nothing done, when submissions were accepted ``together`` and one is known by now."""
        answers: list[Any] = []
        async with self.database.transaction() as tx:
            desk = Desk(tx, self.clock.now_ms(), self.rng)
            for requests in _runs([delivery.message for delivery in batch], together=together):
                if len(requests) > 1:
                    answers += await accept(desk, requests)
                else:
                    is_alone = together and len(batch) == 1
                    alone: AbstractAsyncContextManager[None] = nullcontext() if is_alone else tx.savepoint()
                    answers.append(await self._answer(desk, requests[0], alone, is_last_try=not together))
            if len(answers) == 1 and isinstance(answers[0], CodeWarzError):
                raise answers[0]  # alone in its transaction: undo it
            # buggify at core.before_commit
        return answers

    async def _answer(
        self, desk: Desk, request: Request[Any], alone: AbstractAsyncContextManager[None], *, is_last_try: bool
    ) -> Any:
        handle = HANDLERS.get(type(request))
        if handle is None:
            return NotFound(f"core has no answer to {type(request).__name__}")
        try:
            async with alone:
                return await handle(desk, request)
        except Unavailable:
            raise  # the database itself is in trouble: that concerns the whole batch
        except CodeWarzError as error:
            return error
        except Overtaken:
            if not is_last_try:
                raise
            return Unavailable(
                "the same submission is being accepted elsewhere: try again in a moment", retry_after_s=1
            )


def _runs(requests: list[Request[Any]], *, together: bool) -> Iterator[list[Any]]:
    """Yield the requests in their order: submissions that follow one another together, everything else alone."""
    for is_submit, several in groupby(requests, key=lambda each: isinstance(each, messages.Submit)):
        if is_submit and together:
            yield list(several)
        else:
            yield from ([each] for each in several)


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
