from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor import (
    AskTimeout,
    EndOfInbox,
    Inbox,
    Mailbox,
    MailboxClosed,
    MailboxFull,
    MessageConflated,
    MessageQuarantined,
    Overflow,
)


def filled(capacity: int, overflow: Overflow = Overflow.BLOCK) -> Mailbox[int]:
    mailbox = Mailbox[int]("m", capacity, overflow)
    for number in range(capacity):
        mailbox.address.tell_nowait(number)
    return mailbox


async def drained(mailbox: Mailbox[int]) -> list[int]:
    inbox = mailbox.open_inbox()
    messages = []
    while mailbox.statistics().depth:
        messages += [d.message for d in await inbox.receive_batch(100)]
    inbox.done()
    return messages


async def test_messages_arrive_in_order() -> None:
    assert await drained(filled(5)) == [0, 1, 2, 3, 4]


async def test_a_blocking_mailbox_makes_senders_wait_and_serves_them_in_order() -> None:
    mailbox = filled(2)
    async with trio.open_nursery() as nursery:
        for number in (10, 11, 12):
            nursery.start_soon(mailbox.address.tell, number)
            await wait_all_tasks_blocked()
        assert mailbox.statistics().waiting_senders == 3
        assert mailbox.statistics().depth == 2
        assert await drained(mailbox) == [0, 1, 10, 11, 12]


async def test_a_refusing_mailbox_says_so_and_counts_it() -> None:
    mailbox = filled(1, Overflow.REFUSE)
    with pytest.raises(MailboxFull, match="try again later"):
        await mailbox.address.tell(9)
    assert mailbox.statistics().refused == 1
    assert await drained(mailbox) == [0]


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_tell_nowait_refuses_whatever_the_policy(overflow: Overflow) -> None:
    mailbox = filled(1, overflow)
    with pytest.raises(MailboxFull):
        mailbox.address.tell_nowait(9)
    assert await drained(mailbox) == [0]


async def test_conflate_without_a_key_keeps_the_newest() -> None:
    mailbox = filled(2, Overflow.CONFLATE)
    await mailbox.address.tell(7)
    assert mailbox.statistics().conflated == 1
    assert await drained(mailbox) == [1, 7]


async def test_conflate_by_key_replaces_in_place_and_fails_the_older_asker(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[tuple[str, int]]("m", 2, Overflow.CONFLATE, conflate_key=lambda m: m[0])
    with pytest.RaisesGroup(MessageConflated):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await mailbox.address.ask(("a", 1), timeout=5)

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            await mailbox.address.tell(("b", 1))
            await mailbox.address.tell(("a", 2))
            mailbox.address.tell_nowait(("b", 2))
    inbox = mailbox.open_inbox()
    assert [d.message for d in await inbox.receive_batch(9)] == [("a", 2), ("b", 2)]


async def test_a_conflated_message_that_comes_back_gives_way_to_a_newer_one() -> None:
    mailbox = Mailbox[tuple[str, int]]("m", 2, Overflow.CONFLATE, conflate_key=lambda m: m[0])
    await mailbox.address.tell(("a", 1))
    inbox = mailbox.open_inbox()
    await inbox.receive()
    await mailbox.address.tell(("a", 2))
    inbox.release()
    assert [d.message for d in await mailbox.open_inbox().receive_batch(9)] == [("a", 2)]


async def test_what_was_in_flight_at_a_stop_comes_back_to_the_head_unmarked() -> None:
    mailbox = filled(4)
    inbox = mailbox.open_inbox()
    await inbox.receive_batch(2)
    assert inbox.release() == []
    again = await mailbox.open_inbox().receive_batch(9)
    assert [d.message for d in again] == [0, 1, 2, 3]
    assert [d.crashes for d in again] == [0, 0, 0, 0]


async def test_a_batch_that_crashed_is_delivered_one_by_one_and_only_the_poison_is_set_aside() -> None:
    mailbox = filled(4)
    first = mailbox.open_inbox()
    await first.receive_batch(4)
    first.release(crash="boom")
    healthy = []
    while mailbox.statistics().depth:
        inbox = mailbox.open_inbox()
        [delivery] = await inbox.receive_batch(4)
        if delivery.message == 2:
            [set_aside] = inbox.release(crash="ValueError: 2")
            assert (set_aside.message, set_aside.crashes, set_aside.error) == (2, 2, "ValueError: 2")
        else:
            healthy.append(delivery.message)
            inbox.done()
    assert healthy == [0, 1, 3]
    assert [q.message for q in mailbox.quarantined()] == [2]


async def test_fresh_messages_are_not_batched_with_a_suspect() -> None:
    mailbox = filled(3)
    inbox = mailbox.open_inbox()
    await inbox.receive()
    inbox.release(crash="boom")
    inbox = mailbox.open_inbox()
    assert [d.message for d in await inbox.receive_batch(9)] == [0]
    assert [d.message for d in await inbox.receive_batch(9)] == [1, 2]


@pytest.mark.parametrize("settle", [lambda d: d.reply(1), lambda d: d.fail(ValueError()), lambda d: d.done()])
async def test_what_was_dealt_with_does_not_come_back(settle: Callable[[object], None]) -> None:
    mailbox = filled(3)
    inbox = mailbox.open_inbox()
    first, *_ = await inbox.receive_batch(3)
    settle(first)
    inbox.release(crash="boom")
    assert await drained(mailbox) == [1, 2]


async def test_quarantine_is_bounded() -> None:
    mailbox = Mailbox[int]("m", 1)
    for number in range(40):
        mailbox.address.tell_nowait(number)
        for _ in range(2):
            inbox = mailbox.open_inbox()
            await inbox.receive()
            inbox.release(crash="boom")
    assert [q.message for q in mailbox.quarantined()] == list(range(8, 40))
    assert mailbox.statistics().quarantined == 40


async def test_an_answer_reaches_the_asker(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("m", 1)

    async def answer() -> None:
        (await mailbox.open_inbox().receive()).reply("seven")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await mailbox.address.ask(7, timeout=1) == "seven"


async def test_an_actor_can_fail_the_asker(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("m", 1)

    async def answer() -> None:
        (await mailbox.open_inbox().receive()).fail(LookupError("no such board"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(LookupError, match="no such board"):
            await mailbox.address.ask(7, timeout=1)


async def test_a_deadline_covers_queueing_and_answer(autojump_clock: MockClock) -> None:
    mailbox = filled(1)
    began = trio.current_time()
    with pytest.raises(AskTimeout, match="within 2 s"):
        await mailbox.address.ask(7, timeout=2)
    assert trio.current_time() - began == pytest.approx(2)
    assert mailbox.statistics().waiting_senders == 0
    assert await drained(mailbox) == [0]


async def test_a_delivery_tells_that_its_asker_is_past_the_deadline(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("m", 1)
    with pytest.raises(AskTimeout):
        await mailbox.address.ask(7, timeout=2)
    delivery = await mailbox.open_inbox().receive()
    assert delivery.expired
    delivery.reply("too late")


async def test_the_asker_of_a_poisonous_message_is_told(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("m", 1)

    async def crash_twice() -> None:
        for _ in range(2):
            inbox = mailbox.open_inbox()
            await inbox.receive()
            inbox.release(crash="ZeroDivisionError")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_twice)
        with pytest.raises(MessageQuarantined, match="crashed its actor 2 times: ZeroDivisionError"):
            await mailbox.address.ask(7, timeout=60)


async def test_a_closed_mailbox_fails_waiting_senders_and_askers(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("m", 1)
    failed = []

    async def expect(send: Callable[[], object]) -> None:
        with pytest.raises(MailboxClosed, match="the actor has ended"):
            await send()  # type: ignore[misc]
        failed.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, lambda: mailbox.address.ask(1, timeout=60))
        await wait_all_tasks_blocked()
        nursery.start_soon(expect, lambda: mailbox.address.tell(2))
        await wait_all_tasks_blocked()
        mailbox.close("the actor has ended")
    assert len(failed) == 2
    with pytest.raises(MailboxClosed):
        mailbox.address.tell_nowait(3)
    mailbox.reopen()
    assert await drained(mailbox) == [1]


async def test_an_ended_inbox_finishes_a_loop_and_leaves_the_rest_for_the_next() -> None:
    mailbox = filled(3)
    inbox = mailbox.open_inbox()
    seen = []
    async for delivery in inbox:
        seen.append(delivery.message)
        inbox.end()
    assert seen == [0]
    with pytest.raises(EndOfInbox):
        await inbox.receive()
    assert await drained(mailbox) == [1, 2]


async def test_a_reader_that_ends_when_it_was_woken_passes_the_message_on() -> None:
    mailbox = Mailbox[int]("m", 1)
    first, second = mailbox.open_inbox(), mailbox.open_inbox()
    received = []

    async def read(inbox: Inbox[int]) -> None:
        received.extend([delivery.message async for delivery in inbox])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, first)
        await wait_all_tasks_blocked()
        nursery.start_soon(read, second)
        await wait_all_tasks_blocked()
        mailbox.address.tell_nowait(5)  # wakes the first
        first.end()  # before it could run
        await wait_all_tasks_blocked()
        assert mailbox.statistics().depth == 0
        second.end()
    assert received == [5]


async def test_an_inbox_has_one_reader_at_a_time() -> None:
    inbox = Mailbox[int]("m", 1).open_inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await inbox.receive()
        nursery.cancel_scope.cancel()


async def test_a_message_whose_repr_fails_can_still_be_set_aside() -> None:
    class Nasty:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    mailbox = Mailbox[Nasty]("m", 1)
    mailbox.address.tell_nowait(Nasty())
    for _ in range(2):
        inbox = mailbox.open_inbox()
        await inbox.receive()
        set_aside = inbox.release(crash="boom")
    assert set_aside[0].text == "<Nasty whose repr fails with RuntimeError>"


def test_a_mailbox_needs_a_bound_and_a_key_its_policy() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox("m", 0)
    with pytest.raises(ValueError, match=r"Overflow\.CONFLATE"):
        Mailbox("m", 1, conflate_key=lambda m: m)
