"""The verifier: reads and judges uploaded problem packages, one at a time, so that uploads never take the sandboxes from the contest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from contracts.errors import CodeWarzError, Invalid, NotFound
from contracts.messages import Request, VerifyProblem
from contracts.ports import Judging
from supervisor.context import Context

VERIFY_MOST_S = 900.0  # one package must not keep the next ones waiting for ever


@dataclass(frozen=True)
class Verifier:
    """Answers VerifyProblem."""

    judging: Judging

    async def run(self, ctx: Context[Request[Any]]) -> None:
        """Verify one package after the other."""
        ctx.ready()
        async for delivery in ctx.inbox:
            if delivery.expired:
                continue
            if not isinstance(delivery.message, VerifyProblem):
                delivery.fail(NotFound(f"the judges have no answer to {type(delivery.message).__name__}"))
                continue
            try:
                with trio.fail_after(VERIFY_MOST_S):
                    delivery.reply(await self.judging.verify(delivery.message.package))
            except CodeWarzError as error:
                delivery.fail(error)
            except trio.TooSlowError:
                minutes = round(VERIFY_MOST_S / 60)
                delivery.fail(
                    Invalid(
                        f"verifying took longer than {minutes} minutes: give the package fewer tests or submissions"
                    )
                )
