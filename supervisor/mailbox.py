"""Mailboxes: bounded, outliving the actor that reads them, and honest about what became of each message.

Rule 1: a mailbox is bounded. What happens at the bound has a name (`Overflow`) and a counter.
Rule 2: order is kept. A sender that waits is served before one that comes later; what comes back goes to the head.
Rule 3: a delivery is in flight until it is dealt with: answered, or the next one was received, or `done()`.
Rule 4: what was in flight when its actor crashed comes back marked, and is from then on delivered alone. The second
        crash sets it aside (quarantine). A stop or a cancel from outside brings it back unmarked.
Rule 5: the bound is on what was admitted and waits. What comes back was admitted before, so the depth may exceed the
        capacity by as much as was in flight; no sender is admitted until it is below again.

One mailbox may have several readers (the workers of a pool), each with its own `Inbox`. Not thread-safe: Trio only.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
import outcome
import trio

from supervisor.delivery import Answer, Delivery, Envelope, Quarantined, summary
from supervisor.errors import (
    AskTimeout,
    EndOfInbox,
    MailboxClosed,
    MailboxFull,
    MessageConflated,
    MessageQuarantined,
)

M = TypeVar("M")

__all__ = ["Address", "Delivery", "Inbox", "Mailbox", "MailboxStatistics", "Overflow", "Quarantined"]

CRASHES_BEFORE_QUARANTINE = 2
QUARANTINE_KEEPS = 32


class Overflow(StrEnum):
    """What a sender meets when the mailbox is full."""

    BLOCK = "block"
    """It waits: back pressure. The default, because it loses nothing."""
    REFUSE = "refuse"
    """It gets `MailboxFull` at once and can tell its own caller."""
    CONFLATE = "conflate"
    """The newest wins: a message takes the place of the waiting one with its key, else, when full, of the oldest."""


class MailboxStatistics(msgspec.Struct, frozen=True):
    """A snapshot. `depth`, `in_flight` and `waiting_senders` are now; the rest counts since the beginning."""

    depth: int
    """Messages that wait to be received."""
    peak: int
    """The highest depth so far."""
    capacity: int
    in_flight: int
    """Received and not yet dealt with."""
    waiting_senders: int
    accepted: int
    """Messages admitted."""
    received: int
    """Deliveries handed to an actor; a redelivery counts again."""
    redelivered: int
    """Deliveries that came back, after a crash or a stop."""
    refused: int
    conflated: int
    quarantined: int


class Mailbox(Generic[M]):
    """A bounded queue of messages for one actor or one pool, created by whoever describes the tree.

    `conflate_key` belongs to `Overflow.CONFLATE`; without it no two messages share a key, and a full mailbox keeps
    the newest `capacity` of them.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        overflow: Overflow = Overflow.BLOCK,
        conflate_key: Callable[[M], Hashable] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name!r}: the capacity must be at least 1, not {capacity}")
        if conflate_key is not None and overflow is not Overflow.CONFLATE:
            raise ValueError(f"mailbox {name!r}: conflate_key is for Overflow.CONFLATE, not for {overflow}")
        self.name = name
        self.capacity = capacity
        self.overflow = overflow
        self.address: Address[M] = Address(self)
        self._key = conflate_key
        self._queue: deque[Envelope[M]] = deque()
        self._by_key: dict[Hashable, Envelope[M]] = {}
        self._senders: OrderedDict[trio.lowlevel.Task, Envelope[M]] = OrderedDict()
        self.readers = trio.lowlevel.ParkingLot()
        self._quarantine: deque[Quarantined] = deque(maxlen=QUARANTINE_KEEPS)
        self._closed: str | None = None
        self._waiting_since = 0.0
        self._stirred: Callable[[], None] | None = None
        self._in_flight = self._peak = self._accepted = self._received = self._redelivered = 0
        self._refused = self._conflated = self._quarantined = 0

    def __repr__(self) -> str:
        closed = " closed" if self._closed else ""
        return f"<Mailbox {self.name} {len(self._queue)}/{self.capacity} {self.overflow}{closed}>"

    def statistics(self) -> MailboxStatistics:
        """Depth, bound and counters, for status and metrics."""
        return MailboxStatistics(
            depth=len(self._queue),
            peak=self._peak,
            capacity=self.capacity,
            in_flight=self._in_flight,
            waiting_senders=len(self._senders),
            accepted=self._accepted,
            received=self._received,
            redelivered=self._redelivered,
            refused=self._refused,
            conflated=self._conflated,
            quarantined=self._quarantined,
        )

    def quarantined(self) -> tuple[Quarantined, ...]:
        """The newest messages that were set aside, oldest first; at most `QUARANTINE_KEEPS`."""
        return tuple(self._quarantine)

    def open_inbox(self, before_first: Callable[[], None] | None = None) -> "Inbox[M]":
        """A new reader; `before_first` is called when it first asks for a message (an actor is ready by then)."""
        return Inbox(self, before_first)

    def close(self, reason: str) -> None:
        """Senders, waiting or to come, and waiting askers get `MailboxClosed`. What waits stays and is counted."""
        self._closed = reason
        while self._senders:
            task, _ = self._senders.popitem(last=False)
            trio.lowlevel.reschedule(task, outcome.Error(self._closed_error()))
        for envelope in self._queue:
            if envelope.answer is not None:
                envelope.answer.fail(self._closed_error())

    def reopen(self) -> None:
        """Takes messages again, because the actor is started again."""
        self._closed = None

    @property
    def stalled_since(self) -> float | None:
        """Trio time since when messages wait and none was received; None while nothing waits."""
        return self._waiting_since if self._queue else None

    def on_stir(self, stirred: Callable[[], None]) -> None:
        """Have `stirred` called whenever an empty mailbox gets a message: a watcher then needs no polling."""
        self._stirred = stirred

    @property
    def waiting(self) -> bool:
        """Is there something to receive?"""
        return bool(self._queue)

    # Sending: the side of `Address`

    def _closed_error(self) -> MailboxClosed:
        return MailboxClosed(f"mailbox {self.name!r} is closed: {self._closed}")

    def full_error(self) -> MailboxFull:
        """The error for one that is refused, which is counted here."""
        self._refused += 1
        return MailboxFull(f"mailbox {self.name!r} is full ({self.capacity} messages wait): try again later")

    def _conflate(self, envelope: Envelope[M]) -> bool:
        """Put a message in the place of the waiting one with its key, if there is one."""
        if self._key is None:
            return False
        waiting = self._by_key.get(self._key(envelope.message))
        if waiting is None:
            return False
        self._supersede(waiting)
        self._accepted += 1
        waiting.message, waiting.answer, waiting.crashes = envelope.message, envelope.answer, 0
        return True

    def _supersede(self, envelope: Envelope[M]) -> None:
        self._conflated += 1
        if envelope.answer is not None:
            envelope.answer.fail(MessageConflated(f"mailbox {self.name!r}: a newer message took the place of this one"))

    def _admit(self, envelope: Envelope[M]) -> None:
        self._accepted += 1
        self._queue.append(envelope)
        self._waits(envelope)

    def _waits(self, envelope: Envelope[M]) -> None:
        if self._key is not None:
            self._by_key[self._key(envelope.message)] = envelope
        depth = len(self._queue)
        self._peak = max(self._peak, depth)
        if self.readers:
            self.readers.unpark()
        if depth == 1:
            self._waiting_since = trio.current_time()
            if self._stirred is not None:
                self._stirred()

    def send_nowait(self, envelope: Envelope[M]) -> bool:
        """False: there is no room, and nothing has happened."""
        if self._closed is not None:
            raise self._closed_error()
        if self._conflate(envelope):
            return True
        if len(self._queue) >= self.capacity:
            return False
        self._admit(envelope)
        return True

    async def send(self, envelope: Envelope[M]) -> None:
        """Admit a message as the overflow policy says; cancelled means not admitted."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.send_nowait(envelope):
            if self.overflow is Overflow.REFUSE:
                raise self.full_error()
            if self.overflow is Overflow.BLOCK:
                await self._wait_for_room(envelope)
                return
            while len(self._queue) >= self.capacity:
                self._supersede(self._pop())
            self._admit(envelope)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _wait_for_room(self, envelope: Envelope[M]) -> None:
        # As in Trio's memory channel: whoever makes room moves the message itself, so that no later sender overtakes
        # and a cancelled sender has certainly not sent.
        task = trio.lowlevel.current_task()
        self._senders[task] = envelope

        def abort(_: Any) -> trio.lowlevel.Abort:
            del self._senders[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _admit_waiting_senders(self) -> None:
        while self._senders and len(self._queue) < self.capacity and self._closed is None:
            task, envelope = self._senders.popitem(last=False)
            self._admit(envelope)
            trio.lowlevel.reschedule(task)

    # Receiving: the side of `Inbox`

    def _pop(self) -> Envelope[M]:
        envelope = self._queue.popleft()
        if self._key is not None and self._by_key.get(key := self._key(envelope.message)) is envelope:
            del self._by_key[key]
        return envelope

    def take(self, most: int) -> list[Envelope[M]]:
        """Up to `most` from the head; a message that was in flight at a crash comes alone (Rule 4)."""
        taken = [self._pop()]
        while len(taken) < most and self._queue and not (taken[0].crashes or self._queue[0].crashes):
            taken.append(self._pop())
        self._received += len(taken)
        self._in_flight += len(taken)
        self._waiting_since = trio.current_time()
        self._admit_waiting_senders()
        return taken

    def settled(self) -> None:
        """One that was in flight is dealt with."""
        self._in_flight -= 1

    def put_back(self, envelopes: list[Envelope[M]], error: str | None) -> list[Quarantined]:
        """Return what an incarnation had in flight to the head, in order; `error`: it crashed with that."""
        set_aside = []
        self._in_flight -= len(envelopes)
        for envelope in reversed(envelopes):
            if error is not None:
                envelope.crashes += 1
            if envelope.crashes >= CRASHES_BEFORE_QUARANTINE:
                set_aside.append(self._set_aside(envelope, error or ""))
            elif self._key is not None and self._key(envelope.message) in self._by_key:
                self._supersede(envelope)
            else:
                self._redelivered += 1
                self._queue.appendleft(envelope)
                self._waits(envelope)
                if self._closed is not None and envelope.answer is not None:
                    envelope.answer.fail(self._closed_error())
        self._quarantine.extend(reversed(set_aside))
        return set_aside[::-1]

    def _set_aside(self, envelope: Envelope[M], error: str) -> Quarantined:
        self._quarantined += 1
        text = summary(envelope.message)
        if envelope.answer is not None:
            envelope.answer.fail(
                MessageQuarantined(f"mailbox {self.name!r}: {text} crashed its actor {envelope.crashes} times: {error}")
            )
        return Quarantined(message=envelope.message, text=text, crashes=envelope.crashes, error=error)


class Address(Generic[M]):
    """What other actors hold. It stays valid whatever becomes of the actor behind it."""

    __slots__ = ("_mailbox",)

    def __init__(self, mailbox: Mailbox[M]) -> None:
        self._mailbox = mailbox

    def __repr__(self) -> str:
        return f"<Address {self._mailbox.name}>"

    @property
    def name(self) -> str:
        """The name of the mailbox behind this address."""
        return self._mailbox.name

    async def tell(self, message: M) -> None:
        """Send, as the overflow policy of the mailbox says. A checkpoint; cancelled means not sent.

        Raises `MailboxFull` (policy `refuse`) and `MailboxClosed`.
        """
        await self._mailbox.send(Envelope(message))

    def tell_nowait(self, message: M) -> None:
        """Send without waiting. Raises `MailboxFull` when there is no room, whatever the policy, and `MailboxClosed`.

        Under `conflate` a message whose key is waiting already takes that place and needs no room.
        """
        if not self._mailbox.send_nowait(Envelope(message)):
            raise self._mailbox.full_error()

    async def ask(self, message: M, *, timeout: float) -> Any:
        """Send and wait for the answer, `timeout` seconds for queueing and answer together.

        Raises what the actor failed the message with, and `AskTimeout`, `MailboxFull` (policy `refuse`),
        `MailboxClosed`, `MessageQuarantined`, `MessageConflated`. A crash of the actor in between is not seen here:
        the message is delivered again.
        """
        answer = Answer(trio.current_time() + timeout)
        try:
            with trio.move_on_at(answer.deadline):
                await self._mailbox.send(Envelope(message, answer))
                await answer.settled.wait()
        finally:
            answer.abandoned = True
        if answer.settled.is_set():
            return answer.unwrap()
        raise AskTimeout(f"{self._mailbox.name!r} did not answer {summary(message)} within {timeout:g} s")


class Inbox(Generic[M]):
    """What one incarnation of an actor reads. It has one reader at a time."""

    def __init__(self, mailbox: Mailbox[M], before_first: Callable[[], None] | None = None) -> None:
        self._mailbox = mailbox
        self._before_first = before_first
        # A dict for its order: several deliveries may be settled one by one, and what is left goes back in order.
        self._held: dict[int, Delivery[M]] = {}
        self._ended = False
        self._reading = False

    async def receive(self) -> Delivery[M]:
        """The next message. Says that the one before was dealt with. Raises `EndOfInbox` when the actor is drained."""
        return (await self.receive_batch(1))[0]

    async def receive_batch(self, most: int) -> list[Delivery[M]]:
        """Wait for one message, then take what else is there, up to `most`. Says that those before were dealt with.

        A message that was in flight when its actor crashed comes alone, so that the poisonous one is found.
        """
        if most < 1:
            raise ValueError(f"receive_batch: most must be at least 1, not {most}")
        if self._reading:
            raise trio.BusyResourceError("an inbox has one reader at a time: give each task its own actor or a pool")
        self.done()
        if self._before_first is not None:
            self._before_first()
            self._before_first = None
        self._reading = True
        try:
            await self._message_waits()
        finally:
            self._reading = False
        deliveries = [Delivery(envelope, self._settle) for envelope in self._mailbox.take(most)]
        self._held = {id(delivery): delivery for delivery in deliveries}
        return deliveries

    async def _message_waits(self) -> None:
        mailbox = self._mailbox
        if mailbox.waiting and not self._ended:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not self._ended and not mailbox.waiting:
            await mailbox.readers.park()
        if self._ended:
            if mailbox.waiting:
                mailbox.readers.unpark()  # this reader may have been woken for a message: pass that on
            raise EndOfInbox("this actor is being drained: there are no more messages for it")

    def done(self) -> None:
        """Say that everything received so far was dealt with: a crash from here on does not bring it back."""
        for delivery in list(self._held.values()):
            delivery.done()

    def __aiter__(self) -> "Inbox[M]":
        return self

    async def __anext__(self) -> Delivery[M]:
        try:
            return await self.receive()
        except EndOfInbox:
            raise StopAsyncIteration from None

    def _settle(self, delivery: Delivery[M]) -> None:
        if self._held.pop(id(delivery), None) is not None:
            self._mailbox.settled()

    def end(self) -> None:
        """For the supervisor: no more messages for this reader; what it holds it may finish."""
        self._ended = True
        self._mailbox.readers.unpark_all()

    def release(self, *, crash: str | None = None) -> list[Quarantined]:
        """For the supervisor, when the incarnation is gone: what it still held goes back to the mailbox.

        `crash` is the error it died of, if it did; returns the messages that this set aside.
        """
        self._ended = True
        held, self._held = list(self._held.values()), {}
        return self._mailbox.put_back([delivery.envelope for delivery in held], crash)
