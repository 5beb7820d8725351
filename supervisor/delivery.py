"""One message on its way: what it carries, who waits for an answer, and how it is said to be dealt with."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
import trio

M = TypeVar("M")

SUMMARY_LENGTH = 160


def summary(message: object) -> str:
    """A message as one bounded line for people; a repr that fails must not take its actor down a third time."""
    try:
        text = repr(message)
    except Exception as exc:  # noqa: BLE001  the message is quarantined for crashing code; its repr is such code too
        text = f"<{type(message).__name__} whose repr fails with {type(exc).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= SUMMARY_LENGTH else text[: SUMMARY_LENGTH - 1] + "…"


class Quarantined(msgspec.Struct, frozen=True):
    """A message that was set aside, and why."""

    message: Any
    text: str
    crashes: int
    error: str


class Answer:
    """Where the asker waits. Settled once; a later answer, or one that nobody waits for, is dropped by design."""

    __slots__ = ("_error", "_value", "abandoned", "deadline", "settled")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.settled = trio.Event()
        self.abandoned = False
        self._value: Any = None
        self._error: Exception | None = None

    def reply(self, value: Any) -> None:
        """Answer with a value."""
        if not self.settled.is_set():
            self._value = value
            self.settled.set()

    def fail(self, error: Exception) -> None:
        """Answer with an error, which is raised in the asker."""
        if not self.settled.is_set():
            self._error = error
            self.settled.set()

    def unwrap(self) -> Any:
        """The value, or the error raised."""
        if self._error is not None:
            raise self._error
        return self._value


class Envelope(Generic[M]):
    """A message with what the mailbox must remember of it across deliveries."""

    __slots__ = ("answer", "crashes", "message")

    def __init__(self, message: M, answer: Answer | None = None) -> None:
        self.message = message
        self.answer = answer
        self.crashes = 0


class Delivery(Generic[M]):
    """A message handed to an actor. `reply`, `fail` and `done` all say that it was dealt with."""

    __slots__ = ("_settle", "envelope", "message")

    def __init__(self, envelope: Envelope[M], settle: Callable[["Delivery[M]"], None]) -> None:
        self.envelope = envelope
        self.message = envelope.message
        self._settle = settle

    def __repr__(self) -> str:
        return f"<Delivery {summary(self.message)}>"

    @property
    def crashes(self) -> int:
        """How many incarnations have crashed with this message in flight."""
        return self.envelope.crashes

    @property
    def expired(self) -> bool:
        """Someone asked, and is gone or past the deadline: an answer would be read by nobody."""
        answer = self.envelope.answer
        return answer is not None and (answer.abandoned or trio.current_time() >= answer.deadline)

    def reply(self, value: Any = None) -> None:
        """Answer the asker, if there is one: the effect is durable by now. May also come after the next receive."""
        if self.envelope.answer is not None:
            self.envelope.answer.reply(value)
        self._settle(self)

    def fail(self, error: Exception) -> None:
        """Raise `error` in the asker, if there is one. The actor itself goes on."""
        if self.envelope.answer is not None:
            self.envelope.answer.fail(error)
        self._settle(self)

    def done(self) -> None:
        """Dealt with, without an answer from here (one may still follow)."""
        self._settle(self)
