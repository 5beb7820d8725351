"""What an incarnation of an actor gets from its supervisor: who it is, its inbox, and when to finish."""

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from supervisor.errors import SpecError
from supervisor.mailbox import Inbox

M = TypeVar("M")


class Context(Generic[M]):
    """Given to `run`. It holds no nursery: what an actor starts, it starts in a nursery of its own and so ends with it.

    `path` is the address of the actor in the tree, `incarnation` counts its lives from 1. When `draining` is set the
    actor should finish what it has in hand and return; its inbox ends by itself.
    """

    def __init__(
        self, path: str, incarnation: int, inbox: Inbox[M] | None, draining: trio.Event, ready: Callable[[], None]
    ) -> None:
        self.path = path
        self.incarnation = incarnation
        self.draining = draining
        self._inbox = inbox
        self._ready = ready

    def __repr__(self) -> str:
        return f"<Context {self.path}#{self.incarnation}>"

    @property
    def inbox(self) -> Inbox[M]:
        """The actor's messages. Raises `SpecError` for an actor that was declared without a mailbox."""
        if self._inbox is None:
            raise SpecError(f"{self.path} has no mailbox: give its spec one (mailbox=Mailbox(...))")
        return self._inbox

    def ready(self) -> None:
        """Say that it can be relied on: the next sibling starts now. Saying it again changes nothing."""
        self._ready()
