"""Both detectors of being stuck."""

import threading

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor import Event, Kind, LoopWatch, Mailbox, Pool
from supervisor.context import Context
from supervisor.events import EventLog
from tests.supervisor.growing import actor, growing, idle


async def hangs_on_the_first(ctx: Context[object]) -> None:
    async for delivery in ctx.inbox:
        if delivery.message == "hang":
            await trio.sleep_forever()


async def test_messages_that_wait_and_none_received_is_wedged(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    async with growing(actor("a", hangs_on_the_first, mailbox, wedged_after_s=30.0)) as grown:
        mailbox.address.tell_nowait("hang")
        await trio.sleep(100)
        assert grown.order(Kind.WEDGED) == [], "busy with the only message is not wedged"
        mailbox.address.tell_nowait("waits")
        await trio.sleep(29)
        assert not grown.tree.status().row("a").wedged
        await trio.sleep(2)
        assert grown.tree.status().row("a").wedged
        await trio.sleep(1000)
        [event] = [event for event in grown.events if event.kind is Kind.WEDGED]
        assert "1 messages wait and none was received for 30 s" in event.detail
        assert "hangs_on_the_first" in event.detail
        assert grown.tree.status().row("a").state == "running"


async def test_one_that_goes_on_and_stalls_again_is_told_again(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)

    async def slow(ctx: Context[object]) -> None:
        async for _ in ctx.inbox:
            await trio.sleep(100)

    async with growing(actor("a", slow, mailbox, wedged_after_s=30.0)) as grown:
        for number in range(3):
            mailbox.address.tell_nowait(number)
        await trio.sleep(250)
        assert grown.order(Kind.WEDGED) == ["a", "a"]
        assert not grown.tree.status().row("a").wedged


async def test_slow_but_moving_is_not_wedged(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)

    async def slow(ctx: Context[object]) -> None:
        async for _ in ctx.inbox:
            await trio.sleep(20)

    async with growing(actor("a", slow, mailbox, wedged_after_s=30.0)) as grown:
        for number in range(10):
            mailbox.address.tell_nowait(number)
        await trio.sleep(300)
        assert grown.order(Kind.WEDGED) == []
        assert mailbox.statistics().received == 10


async def test_a_wedged_actor_is_restarted_when_its_spec_says_so(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    wedging = actor("a", hangs_on_the_first, mailbox, wedged_after_s=30.0, restart_when_wedged=True)
    async with growing(wedging) as grown:
        for message in ("hang", "x", "y"):
            mailbox.address.tell_nowait(message)
        await trio.sleep(200)
        assert grown.order(Kind.WEDGED) == ["a", "a"]
        assert grown.said(Kind.QUARANTINED) == ["a quarantined"], "a message that wedges twice is poison as well"
        row = grown.tree.status().row("a")
        assert (row.state, row.wedged, row.incarnation) == ("running", False, 3)
        assert "wedged" in (row.last_error or "")
        assert row.mailbox is not None
        assert row.mailbox.depth == 0


async def test_a_pool_is_wedged_when_none_of_its_workers_receives(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("p", 10)
    pool = Pool("p", hangs_on_the_first, 2, 2, mailbox, wedged_after_s=30.0, restart_when_wedged=True)
    async with growing(pool) as grown:
        for message in ("hang", "hang", "x"):
            mailbox.address.tell_nowait(message)
        await trio.sleep(31)
        assert grown.order(Kind.WEDGED) == ["p"]
        await trio.sleep(100)
        assert mailbox.statistics().depth == 0


async def test_a_stopped_actor_is_not_wedged(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    async with growing(actor("a", hangs_on_the_first, mailbox, wedged_after_s=30.0)) as grown:
        await grown.tree.stop("a")
        mailbox.address.tell_nowait("x")
        await trio.sleep(100)
        await grown.tree.start("a")
        assert grown.order(Kind.WEDGED) == []


async def test_watching_needs_no_polling(mock_clock: MockClock) -> None:
    async with growing(actor("a", hangs_on_the_first, Mailbox("a", 1)), actor("b", idle)):
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_a_blocked_loop_is_reported_with_its_stack_while_it_is_blocked() -> None:
    import time

    events: list[Event] = []
    reports: list[str] = []
    reported = threading.Event()

    def report(text: str) -> None:
        reports.append(text)
        reported.set()

    log = EventLog(lambda: 0.0, events.append)
    watch = LoopWatch(log, "root", monotonic=time.monotonic, report=report, late_after_s=0.05)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await wait_all_tasks_blocked()
            assert reported.wait(10)  # holds the loop until the other thread has seen that
            while not events:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert "the loop is blocked" in reports[0]
    assert "holds the loop" in reports[0], "the stack shows the line"
    assert events[0].kind is Kind.LOOP_BLOCKED
    assert "nothing else ran for" in events[0].detail
    assert "test_watchdog.py" in (events[0].traceback or "")


@pytest.mark.parametrize("looks", [1, 3])
def test_one_late_tick_is_reported_once(looks: int) -> None:
    now = [0.0]
    reports: list[str] = []
    watch = LoopWatch(EventLog(lambda: 0.0), "root", monotonic=lambda: now[0], report=reports.append)
    watch._ticked = 0.0
    now[0] = 0.9
    watch.check()
    assert reports == []
    now[0] = 1.0
    for _ in range(looks):
        watch.check()
    assert len(reports) == 1
