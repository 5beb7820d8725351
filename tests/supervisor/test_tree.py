"""Strategies, readiness, escalation, operators' requests and shutdown, on real nurseries."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor import (
    Actor,
    DidNotStart,
    Intensity,
    IntensityExceeded,
    Kind,
    Mailbox,
    MailboxClosed,
    MessageQuarantined,
    NotAPool,
    NotPossible,
    Pool,
    Restart,
    Strategy,
    Supervisor,
    Tree,
    UnknownPath,
    WouldNotStop,
)
from supervisor.context import Context
from tests.supervisor.growing import QUICK, Grown, actor, echo, growing, idle, wall


async def never_ready(ctx: Context[object]) -> None:
    await trio.sleep_forever()


async def stubborn(ctx: Context[object]) -> None:
    ctx.ready()
    with trio.CancelScope(shield=True):
        await trio.sleep(1000)


async def deaf(ctx: Context[object]) -> None:
    """Does not look at `draining`."""
    ctx.ready()
    await trio.sleep_forever()


# Readiness


async def test_started_means_that_the_whole_tree_is_ready_in_order(autojump_clock: MockClock) -> None:
    async def slow(ctx: Context[object]) -> None:
        await trio.sleep(3)
        await idle(ctx)

    async with growing(actor("a", slow), Supervisor("s", (actor("b", slow), actor("c")))) as grown:
        assert trio.current_time() == pytest.approx(6)
        assert grown.order(Kind.STARTED) == ["a", "s", "s/b", "s/c"]
        assert grown.order(Kind.READY) == ["a", "s/b", "s/c", "s"]
        assert [row.state for row in grown.tree.status().rows] == ["running"] * 5


async def test_an_actor_is_ready_when_it_first_receives_or_says_so_in_its_spec(autojump_clock: MockClock) -> None:
    async with growing(actor("a", echo, Mailbox("a", 1)), actor("b", never_ready, ready_at_start=True)) as grown:
        assert grown.tree.status().row("b").state == "running"


async def test_one_that_is_never_ready_crashes_with_a_word_on_what_to_do(autojump_clock: MockClock) -> None:
    grown = Grown(Supervisor("root", (actor("a", never_ready, start_timeout_s=3.0),), intensity=Intensity(0, 10.0)))
    with pytest.raises(IntensityExceeded, match=r"not ready within 3 s: call ctx.ready\(\)"):
        await grown.tree.run()


async def test_an_actor_without_a_mailbox_is_told_so(autojump_clock: MockClock) -> None:
    grown = Grown(Supervisor("root", (actor("a", echo),), intensity=Intensity(0, 100.0)))
    with pytest.raises(IntensityExceeded, match="root/a has no mailbox"):
        await grown.tree.run()


async def test_a_tree_that_gives_up_on_its_way_up_never_says_that_it_is_ready(autojump_clock: MockClock) -> None:
    async def broken(ctx: Context[object]) -> None:
        raise OSError("no such place")

    grown = Grown(Supervisor("root", (actor("a"), actor("b", broken)), intensity=Intensity(1, 100.0)))

    async def start() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(grown.tree.run)
            pytest.fail("it was started")

    with pytest.raises(ExceptionGroup) as caught:
        await start()
    assert caught.group_contains(IntensityExceeded)


# Crashes


async def test_a_crashed_actor_comes_back_and_its_mailbox_was_never_away(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    async with growing(actor("a", echo, mailbox)) as grown:
        mailbox.address.tell_nowait(ValueError("boom"))
        assert await mailbox.address.ask("after", timeout=60) == "after"
        row = grown.tree.status().row("a")
        assert (row.incarnation, row.restarts, row.last_error) == (3, 2, "ValueError: boom")
        assert row.quarantined[0].message == "ValueError('boom')"
        crash = next(event for event in grown.events if event.kind is Kind.CRASHED)
        assert crash.traceback is not None
        assert "in echo" in crash.traceback
        assert grown.said(Kind.QUARANTINED) == ["a quarantined"]


async def test_the_asker_of_a_message_that_kills_twice_is_told(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    async with growing(actor("a", echo, mailbox)):
        with pytest.raises(MessageQuarantined):
            await mailbox.address.ask(ValueError("boom"), timeout=60)


async def test_a_crash_of_several_tasks_is_told_whole(autojump_clock: MockClock) -> None:
    async def two(ctx: Context[object]) -> None:
        async def fail(text: str) -> None:
            raise ValueError(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "first")
            nursery.start_soon(fail, "second")

    grown = Grown(Supervisor("root", (actor("a", two, restart=Restart.TEMPORARY),)))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        error = grown.tree.status().row("a").last_error
        assert error is not None
        assert "ValueError: first" in error
        assert "ValueError: second" in error
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("strategy", "again"),
    [
        (Strategy.ONE_FOR_ONE, ["b"]),
        (Strategy.REST_FOR_ONE, ["b", "c"]),
        (Strategy.ONE_FOR_ALL, ["a", "b", "c"]),
    ],
)
async def test_strategies(autojump_clock: MockClock, strategy: Strategy, again: list[str]) -> None:
    mailbox = Mailbox[object]("b", 10)
    root = Supervisor("root", (actor("a"), actor("b", echo, mailbox), actor("c")), strategy=strategy)
    async with growing(root=root) as grown:
        first = len(grown.order(Kind.STARTED))
        mailbox.address.tell_nowait(ValueError("boom"))
        await mailbox.address.ask("after", timeout=60)  # two crashes, then the quarantine
        await wait_all_tasks_blocked()
        assert grown.order(Kind.STARTED)[first:] == again * 2
        assert [row.state for row in grown.tree.status().rows] == ["running"] * 4


async def test_siblings_taken_along_keep_their_messages_without_blame(autojump_clock: MockClock) -> None:
    seen = []
    users, edge = Mailbox[object]("users", 10), Mailbox[object]("edge", 10)

    async def user(ctx: Context[object]) -> None:
        async for delivery in ctx.inbox:
            seen.append((ctx.incarnation, delivery.message, delivery.crashes))
            if ctx.incarnation == 1:
                await trio.sleep_forever()
            delivery.reply(None)

    root = Supervisor("root", (actor("edge", echo, edge), actor("user", user, users)), strategy=Strategy.REST_FOR_ONE)
    async with growing(root=root):
        users.address.tell_nowait("m")
        await wait_all_tasks_blocked()
        edge.address.tell_nowait(ValueError("boom"))
        await users.address.ask("n", timeout=60)
        # The second incarnation was taken along by the second crash before it could read.
        assert seen == [(1, "m", 0), (3, "m", 0), (3, "n", 0)]


async def test_never_two_incarnations_at_once(autojump_clock: MockClock) -> None:
    alive = 0
    lives = 0

    async def careful(ctx: Context[object]) -> None:
        nonlocal alive, lives
        alive += 1
        lives += 1
        assert alive == 1
        try:
            ctx.ready()
            await trio.sleep(1)
            raise ValueError("boom")
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)  # slow to clean up
            alive -= 1

    async with growing(actor("a", careful)) as grown:
        await trio.sleep(3)
        await grown.tree.restart("a")
        assert lives == 2


async def test_a_transient_actor_may_end_and_its_senders_learn_it(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)

    async def one(ctx: Context[object]) -> None:
        (await ctx.inbox.receive()).reply("done")

    async with growing(actor("a", one, mailbox, Restart.TRANSIENT)) as grown:
        assert await mailbox.address.ask(1, timeout=1) == "done"
        await wait_all_tasks_blocked()
        assert grown.tree.status().row("a").state == "finished"
        with pytest.raises(MailboxClosed, match="ended for good"):
            await mailbox.address.tell(2)
        await grown.tree.start("a")
        assert await mailbox.address.ask(3, timeout=1) == "done"


# Escalation


async def test_a_supervisor_that_gives_up_is_restarted_by_its_parent(autojump_clock: MockClock) -> None:
    async def fails_at_first(ctx: Context[object]) -> None:
        ctx.ready()
        if ctx.incarnation <= 3:
            raise ValueError(f"life {ctx.incarnation}")
        await ctx.draining.wait()

    inner = Supervisor("inner", (actor("a", fails_at_first), actor("b")), intensity=Intensity(2, 100.0), backoff=QUICK)
    async with growing(inner) as grown:
        await trio.sleep(30)
        assert grown.said(Kind.ESCALATED) == ["inner escalated"]
        status = grown.tree.status()
        assert status.row("inner").incarnation == 2
        assert status.row("inner").state == status.row("inner/a").state == "running"
        assert "more than 2 restarts in 100 s" in (status.row("inner").last_error or "")


async def test_a_root_that_gives_up_raises_with_the_crash_as_its_cause(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("m", 4)

    async def crash(ctx: Context[object]) -> None:
        ctx.ready()
        raise ValueError("boom")

    inner = Supervisor("inner", (actor("a", crash),), backoff=QUICK)
    grown = Grown(Supervisor("root", (actor("m", echo, mailbox), inner)))
    with pytest.raises(IntensityExceeded, match="of root/inner") as caught:
        await grown.tree.run()
    assert isinstance(caught.value.__cause__, IntensityExceeded)
    assert isinstance(caught.value.__cause__.__cause__, ValueError)
    assert len(grown.order(Kind.CRASHED)) == 6 * 6 + 6
    with pytest.raises(MailboxClosed):
        mailbox.address.tell_nowait(1)


async def test_a_quiet_crash_loop_trips_with_the_default_intensity(autojump_clock: MockClock) -> None:
    async def nearly_healthy(ctx: Context[object]) -> None:
        ctx.ready()
        await trio.sleep(9.9)
        raise ValueError("boom")

    grown = Grown(Supervisor("root", (Actor("a", nearly_healthy),)))
    with pytest.raises(IntensityExceeded):
        await grown.tree.run()


# An operator's requests


async def test_restart_works_during_a_backoff_and_is_free(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    async with growing(actor("a", echo, mailbox)) as grown:
        mailbox.address.tell_nowait(ValueError("boom"))
        await wait_all_tasks_blocked()
        assert grown.tree.status().row("a").state == "backing_off"
        before = trio.current_time()
        for _ in range(10):
            await grown.tree.restart("a")
        assert trio.current_time() - before <= 1.0  # the poison crashed it once more
        intensity = grown.tree.status().rows[0].intensity
        assert intensity is not None
        assert intensity.used <= 2


async def test_restart_lets_it_finish_what_it_has_in_hand(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)

    async def slow(ctx: Context[object]) -> None:
        async for delivery in ctx.inbox:
            await trio.sleep(2)
            delivery.reply(ctx.incarnation)

    async with growing(actor("a", slow, mailbox)) as grown, trio.open_nursery() as nursery:
        answers = []

        async def ask() -> None:
            answers.append(await mailbox.address.ask("m", timeout=60))

        for _ in range(2):
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
        await grown.tree.restart("a")
        assert answers == [1]
        await trio.sleep(3)
        assert answers == [1, 2]


async def test_stop_start_and_drain(autojump_clock: MockClock) -> None:
    async with growing(actor("a"), actor("b", deaf)) as grown:
        tree = grown.tree
        await tree.stop("a")
        assert tree.status().row("a").state == "stopped"
        await tree.start("root/a")
        assert tree.status().row("a").state == "running"
        await tree.start("a")  # is the case already
        assert tree.status().row("a").incarnation == 2
        before = trio.current_time()
        await tree.drain("b")
        assert trio.current_time() - before == pytest.approx(5)  # its grace, then the cancel


async def test_a_stopped_actor_keeps_its_messages_until_it_is_started(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 10)
    async with growing(actor("a", echo, mailbox)) as grown, trio.open_nursery() as nursery:
        await grown.tree.stop("a")
        nursery.start_soon(lambda: mailbox.address.ask(1, timeout=10))
        await wait_all_tasks_blocked()
        assert mailbox.statistics().depth == 1
        await grown.tree.start("a")


async def test_a_supervisor_can_be_stopped_and_started_with_all_below(autojump_clock: MockClock) -> None:
    async with growing(Supervisor("s", (actor("a"), actor("b")))) as grown:
        await grown.tree.drain("s")
        assert grown.order(Kind.RETURNED) == ["s/b", "s/a", "s"]
        assert grown.tree.status().row("s/a").state == "stopped"
        with pytest.raises(NotPossible, match="start root/s first"):
            await grown.tree.start("s/a")
        await grown.tree.start("s")
        assert grown.tree.status().row("s/b").state == "running"


async def test_requests_that_make_no_sense_say_what_to_do(autojump_clock: MockClock) -> None:
    async with growing(actor("a"), Pool("p", idle, 1, 2)) as grown:
        tree = grown.tree
        with pytest.raises(UnknownPath, match="there is no 'x' in root: it has a, p"):
            await tree.restart("x")
        with pytest.raises(UnknownPath, match="it has no children"):
            await tree.restart("a/x")
        with pytest.raises(NotAPool, match="Pools here: root/p"):
            await tree.scale("a", 2)
        with pytest.raises(NotPossible, match="can have 0 to 2 workers, not 3"):
            await tree.scale("p", 3)
        with pytest.raises(NotPossible, match="is the root"):
            await tree.stop("root")
        with pytest.raises(NotPossible, match="running already"):
            await tree.run()


async def test_a_restart_that_fails_says_so(autojump_clock: MockClock) -> None:
    async def second_fails(ctx: Context[object]) -> None:
        if ctx.incarnation == 2:
            raise ValueError("no database")
        await idle(ctx)

    async with growing(actor("a", second_fails)) as grown:
        with pytest.raises(DidNotStart, match="root/a is backing off after ValueError: no database"):
            await grown.tree.restart("a")


async def test_stopping_one_that_would_not_stop_says_where_it_waits(autojump_clock: MockClock) -> None:
    async with growing(actor("a", stubborn)) as grown:
        with pytest.raises(WouldNotStop, match=r"root/a at .*test_tree.py:\d+ stubborn"):
            await grown.tree.stop("a")
        row = grown.tree.status().row("a")
        assert (row.state, row.stuck) == ("stopping", True)
        await trio.sleep(1000)
        assert grown.tree.status().row("a").state == "stopped"


# Pools


async def test_a_pool_shares_its_mailbox_and_scales(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[int]("p", 20)
    finished: list[tuple[str, int]] = []

    async def worker(ctx: Context[int]) -> None:
        async for delivery in ctx.inbox:
            await trio.sleep(2)
            finished.append((ctx.path.rpartition("/")[2], delivery.message))

    async with growing(Pool("p", worker, 2, 4, mailbox)) as grown:
        for number in range(6):
            mailbox.address.tell_nowait(number)
        await grown.tree.scale("p", 4)
        assert len([row for row in grown.tree.status().rows if row.kind == "worker"]) == 4
        await trio.sleep(1)
        await grown.tree.scale("p", 1)  # each of the three finishes what it has
        assert sorted(message for _, message in finished) == [0, 1, 2, 3]
        assert [row.name for row in grown.tree.status().rows if row.kind == "worker"] == ["1"]
        await trio.sleep(5)
        assert sorted(message for _, message in finished) == [0, 1, 2, 3, 4, 5]
        assert finished[-1][0] == "1"


async def test_scaling_up_again_while_a_worker_drains_keeps_it(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("p", 20)

    async def worker(ctx: Context[object]) -> None:
        async for _ in ctx.inbox:
            await trio.sleep(2)

    async with growing(Pool("p", worker, 1, 1, mailbox)) as grown, trio.open_nursery() as nursery:
        mailbox.address.tell_nowait(1)
        await wait_all_tasks_blocked()
        nursery.start_soon(grown.tree.scale, "p", 0)
        await wait_all_tasks_blocked()
        await grown.tree.scale("p", 1)
        await trio.sleep(3)
        assert grown.tree.status().row("p/1").state == "running"
        assert grown.tree.status().row("p/1").incarnation == 2


async def test_a_pool_keeps_its_size_across_a_restart(autojump_clock: MockClock) -> None:
    async with growing(Pool("p", idle, 1, 3)) as grown:
        await grown.tree.scale("p", 3)
        await grown.tree.restart("p")
        assert grown.tree.status().row("p").size == 3
        assert grown.tree.status().row("p/3").state == "running"


async def test_one_crash_in_a_pool_leaves_the_others_alone(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("p", 20)
    async with growing(Pool("p", echo, 3, 3, mailbox)) as grown:
        mailbox.address.tell_nowait(ValueError("boom"))
        await trio.sleep(60)
        restarts = [row.restarts for row in grown.tree.status().rows if row.kind == "worker"]
        assert sum(restarts) == 2
        assert mailbox.statistics().quarantined == 1


# Shutdown


async def test_shutdown_is_in_reverse_order_and_clean(autojump_clock: MockClock) -> None:
    grown = Grown(Supervisor("root", (actor("a"), Supervisor("s", (actor("b"), actor("c"))), Pool("p", idle, 2, 2))))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        report = await grown.tree.shutdown()
    assert report.clean
    assert report.text() == "stopped cleanly in 0.0 s"
    order = grown.order(Kind.RETURNED)
    assert sorted(order[:2]) == ["p/1", "p/2"]
    assert order[2:] == ["p", "s/c", "s/b", "s", "a"]
    assert grown.tree.status().state == "stopped"


async def test_shutdown_gives_each_its_grace_then_cancels(autojump_clock: MockClock) -> None:
    grown = Grown(Supervisor("root", (actor("a", deaf, grace_s=2.0), actor("b", deaf, grace_s=3.0))))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        report = await grown.tree.shutdown()
    assert report.clean
    assert report.took_s == pytest.approx(5)
    assert grown.order(Kind.CANCELLED) == ["b", "a"]


async def test_shutdown_reports_those_who_would_not_stop_and_ends_the_others(autojump_clock: MockClock) -> None:
    root = Supervisor("root", (actor("a"), Supervisor("s", (actor("b", stubborn), actor("c"))), actor("d")))
    async with growing(root=root) as grown:
        report = await grown.tree.shutdown()
        assert not report.clean
        assert [stuck.path for stuck in report.stuck] == ["root/s/b"]
        assert "stubborn" in (report.stuck[0].waits_at or "")
        assert "root/s/b would not stop; it waits at" in report.text()
        assert grown.order(Kind.RETURNED) == ["d", "s/c", "a"]
        assert grown.said(Kind.WOULD_NOT_STOP) == ["s/b would_not_stop"]


async def test_shutdown_during_a_backoff_or_start_does_not_wait(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 1)
    async with growing(actor("a", echo, mailbox)) as grown:
        mailbox.address.tell_nowait(ValueError("boom"))
        await wait_all_tasks_blocked()
        assert (await grown.tree.shutdown()).took_s == 0
    grown = Grown(Supervisor("root", (actor("a", never_ready, grace_s=0.0), actor("b"))))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(grown.tree.run)
        await wait_all_tasks_blocked()
        assert (await grown.tree.shutdown()).clean


async def test_an_actor_that_sends_to_one_already_stopped_ends_without_a_crash(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("b", 1)

    async def sender(ctx: Context[object]) -> None:
        ctx.ready()
        while True:
            await mailbox.address.tell("m")
            await trio.sleep(1)

    grown = Grown(Supervisor("root", (actor("a", sender), actor("b", deaf, mailbox))))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        assert (await grown.tree.shutdown()).clean
    assert grown.order(Kind.CRASHED) == []


async def test_a_tree_can_be_run_again(autojump_clock: MockClock) -> None:
    mailbox = Mailbox[object]("a", 1)
    grown = Grown(Supervisor("root", (actor("a", echo, mailbox),)))
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(grown.tree.run)
            assert await mailbox.address.ask("m", timeout=1) == "m"
            assert (await grown.tree.shutdown()).clean


async def test_several_trees_live_in_one_run(autojump_clock: MockClock) -> None:
    async with growing(actor("a")) as one, growing(actor("a")) as other:
        await one.tree.restart("a")
        assert other.tree.status().row("a").restarts == 0


async def test_events_and_status_are_data(autojump_clock: MockClock) -> None:
    import msgspec

    async with growing(actor("a", echo, Mailbox("a", 3))) as grown:
        status = grown.tree.status()
        assert msgspec.json.decode(msgspec.json.encode(status), type=type(status)) == status
        assert (status.row("a").waits_at or "").endswith(" echo")
        event = status.events[0]
        assert event.as_map()["at"].endswith("Z")
        assert event.text() == "root#1 started"
        assert wall() == status.at


def test_a_tree_has_a_repr_for_operators() -> None:
    import random

    assert repr(Tree(Supervisor("root", ()), rng=random.Random(1), wall_clock=lambda: 0.0)) == "<Tree root not running>"
