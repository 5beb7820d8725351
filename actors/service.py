"""A service that is answered by an actor's mailbox."""

from __future__ import annotations

from typing import Any

from contracts.errors import DeadlineExceeded, SetAside, Unavailable
from contracts.messages import BoardEvent, Request
from supervisor.errors import AskTimeout, MailboxClosed, MailboxFull, MessageConflated, MessageQuarantined
from supervisor.mailbox import Address


class MailboxService:
    """Answers requests by asking an actor; the one place where the supervisor's errors become errors that callers know."""

    def __init__(self, address: Address[Any]) -> None:
        self._address = address

    async def __call__(self, request: Request[Any] | BoardEvent, *, timeout: float) -> Any:
        """Return the actor's reply, or raise the CodeWarzError that it answered with."""
        try:
            return await self._address.ask(request, timeout=timeout)
        except (MailboxFull, MessageConflated) as error:
            raise Unavailable("too many requests at once: try again in a moment", retry_after_s=1) from error
        except MailboxClosed as error:
            raise Unavailable("the service is shutting down: try again in a moment", retry_after_s=5) from error
        except MessageQuarantined as error:
            raise SetAside("this request broke its handler twice and was set aside for the operators") from error
        except AskTimeout as error:
            raise DeadlineExceeded(
                "no answer in time, the outcome is unknown: repeat with the same identifier", retry_after_s=1
            ) from error
