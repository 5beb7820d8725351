"""Cancellation in the middle of things: nothing is lost, nothing is sent twice, nothing stays behind."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor import AskTimeout, Kind, Mailbox, Pool, Supervisor
from supervisor.context import Context
from tests.supervisor.growing import Grown, actor, deaf_forever, echo, growing, idle


async def test_a_cancelled_sender_has_not_sent() -> None:
    mailbox = Mailbox[int]("m", 1)
    mailbox.address.tell_nowait(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.address.tell, 2)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert mailbox.statistics().waiting_senders == 0
    inbox = mailbox.open_inbox()
    assert [d.message for d in await inbox.receive_batch(5)] == [1]
    assert mailbox.statistics().depth == 0


async def test_a_sender_cancelled_after_its_message_was_taken_has_sent() -> None:
    mailbox = Mailbox[int]("m", 1)
    mailbox.address.tell_nowait(1)
    sent = []

    async def send() -> None:
        await mailbox.address.tell(2)
        sent.append(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await mailbox.open_inbox().receive()  # makes room, which admits the waiting message
        nursery.cancel_scope.cancel()
    assert sent == [2]
    assert mailbox.statistics().depth == 1


async def test_sending_under_a_cancelled_scope_sends_nothing() -> None:
    mailbox = Mailbox[int]("m", 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.address.tell(1)
    assert mailbox.statistics().depth == 0


async def test_receiving_under_a_cancelled_scope_takes_nothing() -> None:
    mailbox = Mailbox[int]("m", 1)
    mailbox.address.tell_nowait(1)
    inbox = mailbox.open_inbox()
    with trio.CancelScope() as scope:
        scope.cancel()
        await inbox.receive()
    assert mailbox.statistics().depth == 1
    assert (await inbox.receive()).message == 1


async def test_a_cancelled_receiver_does_not_swallow_the_wake_up_of_another() -> None:
    mailbox = Mailbox[int]("m", 1)
    received = []

    async def read() -> None:
        received.append((await mailbox.open_inbox().receive()).message)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(read)
                await wait_all_tasks_blocked()
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                scope.cancel()
        mailbox.address.tell_nowait(1)
    assert received == [1]


async def test_a_cancelled_asker_shows_in_the_delivery(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("m", 1)
    with trio.move_on_after(1):
        await mailbox.address.ask(1, timeout=60)
    delivery = await mailbox.open_inbox().receive()
    assert delivery.expired
    delivery.reply("nobody reads this")


async def test_cancelling_the_whole_tree_puts_messages_back_and_tells_every_exit(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 4)

    async def hold(ctx: Context[object]) -> None:
        async for _ in ctx.inbox:
            await trio.sleep_forever()

    grown = Grown(Supervisor("root", (actor("a", hold, mailbox), Supervisor("s", (actor("b", deaf_forever),)))))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        mailbox.address.tell_nowait("m")
        await wait_all_tasks_blocked()
        assert mailbox.statistics().in_flight == 1
        nursery.cancel_scope.cancel()
    assert mailbox.statistics().in_flight == 0
    assert mailbox.statistics().depth == 1
    assert sorted(grown.order(Kind.CANCELLED)) == ["a", "s", "s/b"]
    assert {row.state for row in grown.tree.status().rows} == {"stopped"}


async def test_an_error_during_the_cancellation_of_the_tree_is_not_lost(autojump_clock: MockClock) -> None:
    async def bad_cleanup(ctx: Context[object]) -> None:
        ctx.ready()
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup failed")

    grown = Grown(Supervisor("root", (actor("a", bad_cleanup),)))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        nursery.cancel_scope.cancel()
    crash = next(event for event in grown.events if event.kind is Kind.CRASHED)
    assert crash.detail == "ValueError: cleanup failed"
    assert grown.order(Kind.BACKING_OFF) == []


async def test_an_error_while_being_stopped_is_told_but_starts_nothing(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 4)

    async def bad_cleanup(ctx: Context[object]) -> None:
        async for _ in ctx.inbox:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("cleanup failed")

    async with growing(actor("a", bad_cleanup, mailbox)) as grown:
        mailbox.address.tell_nowait("m")
        await wait_all_tasks_blocked()
        await grown.tree.stop("a")
        assert grown.order(Kind.CRASHED) == ["a"]
        assert grown.tree.status().row("a").state == "stopped"
        assert mailbox.statistics().depth == 1
        assert mailbox.statistics().quarantined == 0


async def test_a_drained_actor_may_leave_by_the_end_of_its_inbox(autojump_clock: MockClock) -> None:
    async def plain(ctx: Context[object]) -> None:
        while True:
            await ctx.inbox.receive()

    async with growing(actor("a", plain, Mailbox("a", 1))) as grown:
        await grown.tree.drain("a")
        assert grown.order(Kind.CRASHED) == []
        assert grown.order(Kind.RETURNED) == ["a"]


async def test_a_request_whose_asker_goes_is_carried_out_nevertheless(autojump_clock: MockClock) -> None:
    async with growing(actor("a", deaf_forever)) as grown:
        with trio.move_on_after(1):
            await grown.tree.drain("a")  # takes its grace of five seconds
        await trio.sleep(10)
        assert grown.tree.status().row("a").state == "stopped"


async def test_an_actor_may_ask_for_its_own_restart(autojump_clock: MockClock) -> None:
    async def suicidal(ctx: Context[object]) -> None:
        ctx.ready()
        if ctx.incarnation == 1:
            await grown.tree.restart("a")
        await ctx.draining.wait()

    grown = Grown(Supervisor("root", (actor("a", suicidal),)))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        await trio.sleep(20)
        assert grown.tree.status().row("a").incarnation == 2
        nursery.cancel_scope.cancel()


async def test_cancelling_a_start_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async def slow(ctx: Context[object]) -> None:
        await trio.sleep(20)

    grown = Grown(Supervisor("root", (actor("a", slow), Pool("p", idle, 2, 2))))
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            await nursery.start(grown.tree.run)
    assert grown.order(Kind.STARTED) == ["a"]
    assert {row.state for row in grown.tree.status().rows} == {"stopped"}


async def test_a_keyboard_interrupt_is_not_a_crash_to_recover_from(autojump_clock: MockClock) -> None:
    async def interrupted(ctx: Context[object]) -> None:
        ctx.ready()
        raise KeyboardInterrupt

    grown = Grown(Supervisor("root", (actor("a", interrupted),)))
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        await grown.tree.run()


async def test_an_ask_that_timed_out_leaves_the_actor_at_peace(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 1)

    async def slow(ctx: Context[object]) -> None:
        async for delivery in ctx.inbox:
            await trio.sleep(5)
            delivery.reply("late")

    async with growing(actor("a", slow, mailbox), actor("b", echo, Mailbox("b", 1))) as grown:
        with pytest.raises(AskTimeout):
            await mailbox.address.ask("m", timeout=1)
        await trio.sleep(10)
        assert grown.tree.status().row("a").restarts == 0
