"""Mailboxes against a model that is a handful of lists: any order of sends, receives, answers, stops and crashes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor import Inbox, Mailbox, MailboxFull, Overflow

T = TypeVar("T")
READERS = st.sampled_from([0, 1])
KEYS = 3


def run(act: Callable[[], Awaitable[T]]) -> T:
    """One step in Trio. Nothing waits between steps, so each may have a run of its own."""

    async def stepped() -> T:
        return await act()

    return trio.run(stepped, clock=trio.testing.MockClock(autojump_threshold=0))


class MailboxModel(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 4), overflow=st.sampled_from(list(Overflow)), keyed=st.booleans())
    def create(self, capacity: int, overflow: Overflow, keyed: bool) -> None:
        self.keyed = keyed and overflow is Overflow.CONFLATE
        self.mailbox = Mailbox[int]("m", capacity, overflow, (lambda m: m % KEYS) if self.keyed else None)
        self.inboxes: list[Inbox[int]] = [self.mailbox.open_inbox(), self.mailbox.open_inbox()]
        self.waiting: list[int] = []
        self.held: list[list[int]] = [[], []]
        self.crashes: dict[int, int] = {}
        self.dealt_with: list[int] = []
        self.superseded: list[int] = []
        self.set_aside: list[int] = []
        self.most_in_flight = 0
        self.next = 0

    @rule(later=st.integers(0, KEYS))
    def tell(self, later: int) -> None:
        message = self.next + later
        self.next = message + 1
        mailbox = self.mailbox
        room = len(self.waiting) < mailbox.capacity
        same = [m for m in self.waiting if self.keyed and m % KEYS == message % KEYS]

        async def send() -> bool:
            with trio.move_on_after(1) as scope:
                await mailbox.address.tell(message)
            return not scope.cancelled_caught

        if same:
            assert run(send)
            self.waiting[self.waiting.index(same[0])] = message
            self.superseded.append(same[0])
        elif room:
            assert run(send)
            self.waiting.append(message)
        elif mailbox.overflow is Overflow.BLOCK:
            assert not run(send)
        elif mailbox.overflow is Overflow.REFUSE:
            try:
                run(send)
            except MailboxFull:
                return
            raise AssertionError("a full mailbox that refuses took a message")
        else:
            assert run(send)
            while len(self.waiting) >= mailbox.capacity:
                self.superseded.append(self.waiting.pop(0))
            self.waiting.append(message)

    @precondition(lambda self: self.waiting)
    @rule(reader=READERS, most=st.integers(1, 5))
    def receive(self, reader: int, most: int) -> None:
        async def receive() -> list[int]:
            return [delivery.message for delivery in await self.inboxes[reader].receive_batch(most)]

        self.dealt_with += self.held[reader]
        expected = [self.waiting.pop(0)]
        alone = self.crashes.get(expected[0], 0) > 0
        while not alone and len(expected) < most and self.waiting and not self.crashes.get(self.waiting[0], 0):
            expected.append(self.waiting.pop(0))
        self.held[reader] = expected
        assert run(receive) == expected
        self.most_in_flight = max(self.most_in_flight, sum(map(len, self.held)))

    @rule(reader=READERS)
    def done(self, reader: int) -> None:
        self.inboxes[reader].done()
        self.dealt_with += self.held[reader]
        self.held[reader] = []

    @rule(reader=READERS, crash=st.booleans())
    def incarnation_ends(self, reader: int, crash: bool) -> None:
        async def end() -> list[int]:
            return [q.message for q in self.inboxes[reader].release(crash="boom" if crash else None)]

        back, gone = [], []
        for message in self.held[reader]:
            self.crashes[message] = self.crashes.get(message, 0) + crash
            if self.crashes[message] >= 2:
                gone.append(message)
            elif self.keyed and any(m % KEYS == message % KEYS for m in self.waiting):
                self.superseded.append(message)
            else:
                back.append(message)
        if self.keyed:
            # Of several with one key in one batch the newest wins as well.
            newest = [m for i, m in enumerate(back) if all(m % KEYS != o % KEYS for o in back[i + 1 :])]
            self.superseded += [m for m in back if m not in newest]
            back = newest
        self.set_aside += gone
        self.waiting[:0] = back
        self.held[reader] = []
        assert run(end) == gone
        self.inboxes[reader] = self.mailbox.open_inbox()

    @invariant()
    def agrees_with_the_model(self) -> None:
        statistics = self.mailbox.statistics()
        assert [envelope.message for envelope in self.mailbox._queue] == self.waiting
        assert statistics.depth == len(self.waiting) <= statistics.capacity + self.most_in_flight
        assert statistics.in_flight == sum(map(len, self.held))
        assert statistics.waiting_senders == 0
        assert statistics.conflated == len(self.superseded)
        assert statistics.quarantined == len(self.set_aside)

    @invariant()
    def every_message_is_in_exactly_one_place(self) -> None:
        places = [*self.waiting, *self.held[0], *self.held[1], *self.dealt_with, *self.superseded, *self.set_aside]
        assert len(places) == len(set(places)) == self.mailbox.statistics().accepted


TestMailboxModel = MailboxModel.TestCase
TestMailboxModel.settings = settings(max_examples=60, stateful_step_count=30)
