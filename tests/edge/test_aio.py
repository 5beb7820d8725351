"""The bridge between Trio and the asyncio loop: results, errors, cancellation both ways, feeds, the end."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from functools import partial

import pytest
import trio

from contracts.errors import EdgeLost
from edge.aio import AsyncioLoop, Feed


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Gate:
    """Something on the asyncio side that waits until it is cancelled, and tells Trio what became of it."""

    def __init__(self, aio: AsyncioLoop) -> None:
        self.aio = aio
        self.entered = trio.Event()
        self.cancelled = 0
        self.cleaned = False

    async def wait(self) -> None:
        self.aio.post_to_trio(self.entered.set)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(0.01)  # as a driver that rolls back: a second cancellation would interrupt it
            self.cleaned = True
            raise


# ---- calls -----------------------------------------------------------------------------------------------------------


async def test_a_call_returns_what_the_coroutine_returned_from_another_thread(aio: AsyncioLoop) -> None:
    async def where() -> threading.Thread:
        return threading.current_thread()

    assert await aio.call(double, 21) == 42
    assert await aio.call(where) is not threading.current_thread()


async def test_an_error_arrives_as_it_was_raised(aio: AsyncioLoop) -> None:
    async def fail() -> None:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        await aio.call(fail)


async def test_many_calls_at_once_each_get_their_own_result(aio: AsyncioLoop) -> None:
    results: dict[int, int] = {}

    async def one(number: int) -> None:
        results[number] = await aio.call(double, number)

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(one, number)
    assert results == {number: 2 * number for number in range(300)}


# ---- cancellation ----------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_is_cancelled_once_there_and_waited_for(aio: AsyncioLoop) -> None:
    gate = Gate(aio)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(aio.call, gate.wait)
        await gate.entered.wait()
        nursery.cancel_scope.cancel()
    assert gate.cancelled == 1
    assert gate.cleaned


async def test_a_call_that_is_cancelled_before_its_first_step_ends(aio: AsyncioLoop) -> None:
    aio.post(lambda: time.sleep(0.02))  # so that the call and its cancellation arrive together
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(aio.call, double, 1)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert repr(aio) == "<AsyncioLoop open calls=0>"
    assert await aio.call(double, 1) == 2


async def test_a_result_that_is_there_when_the_cancellation_comes_is_not_thrown_away(aio: AsyncioLoop) -> None:
    async def stubborn() -> str:
        try:
            aio.post_to_trio(scope.cancel)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "it happened"
        return ""

    with trio.CancelScope() as scope:
        assert await aio.call(stubborn) == "it happened"
        with pytest.raises(trio.Cancelled):
            await trio.lowlevel.checkpoint()
        return
    pytest.fail("the scope swallowed it")


async def test_a_call_in_a_cancelled_scope_does_not_begin(aio: AsyncioLoop) -> None:
    begun = False

    async def begin() -> None:
        nonlocal begun
        begun = True

    with trio.CancelScope() as scope:
        scope.cancel()
        await aio.call(begin)
    assert await aio.call(double, 1) == 2  # everything posted before has been looked at by now
    assert scope.cancelled_caught
    assert not begun


async def test_an_asyncio_cancellation_that_nobody_here_asked_for_is_a_lost_edge(aio: AsyncioLoop) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(EdgeLost):
        await aio.call(give_up)


# ---- the other direction ---------------------------------------------------------------------------------------------


async def test_asyncio_calls_a_trio_function_and_gets_its_result_or_error(aio: AsyncioLoop) -> None:
    async def trio_side(number: int) -> int:
        await trio.lowlevel.checkpoint()
        if number < 0:
            raise ValueError("negative")
        return number + 1

    async with trio.open_nursery() as nursery:
        assert await aio.call(partial(aio.call_trio, nursery, trio_side, 4)) == 5
        with pytest.raises(ValueError, match="negative"):
            await aio.call(partial(aio.call_trio, nursery, trio_side, -1))


async def test_a_cancelled_asyncio_caller_cancels_the_trio_function_and_waits_for_it(aio: AsyncioLoop) -> None:
    entered, cleaned = trio.Event(), False

    async def trio_side() -> None:
        nonlocal cleaned
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            cleaned = True

    async with trio.open_nursery() as services, trio.open_nursery() as callers:
        callers.start_soon(aio.call, partial(aio.call_trio, services, trio_side))
        await entered.wait()
        callers.cancel_scope.cancel()
    assert cleaned


async def test_a_service_that_ends_fails_its_asyncio_callers(aio: AsyncioLoop) -> None:
    entered = trio.Event()
    errors: list[Exception] = []

    async def trio_side() -> None:
        entered.set()
        await trio.sleep_forever()

    async def caller(services: trio.Nursery) -> None:
        try:
            await aio.call(partial(aio.call_trio, services, trio_side))
        except EdgeLost as error:
            errors.append(error)

    async with trio.open_nursery() as callers:
        async with trio.open_nursery() as services:
            callers.start_soon(caller, services)
            await entered.wait()
            services.cancel_scope.cancel()
        await aio.call(double, 1)
        callers.start_soon(caller, services)  # it is closed by now
    assert len(errors) == 2


# ---- feeds -----------------------------------------------------------------------------------------------------------


async def test_a_feed_gives_items_in_order_and_then_its_end(aio: AsyncioLoop) -> None:
    feed: Feed[int] = Feed(aio, 10)

    async def produce() -> None:
        for number in range(3):
            assert feed.put(number)
            await asyncio.sleep(0)
        feed.end(EdgeLost("gone"))
        feed.end(EdgeLost("the second end does not count"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(aio.call, produce)
        assert [await feed.receive() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(EdgeLost, match="gone"):
            await feed.receive()


async def test_a_full_feed_refuses_and_a_cancelled_receive_loses_nothing(aio: AsyncioLoop) -> None:
    feed: Feed[int] = Feed(aio, 2)

    async def fill() -> list[bool]:
        return [feed.put(number) for number in range(3)]

    with trio.move_on_after(0.01):
        await feed.receive()
    assert await aio.call(fill) == [True, True, False]
    assert (await feed.receive(), await feed.receive()) == (0, 1)


# ---- the end ---------------------------------------------------------------------------------------------------------


async def test_the_end_cancels_what_is_under_way_and_refuses_what_comes_later() -> None:
    interval = sys.getswitchinterval()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async with AsyncioLoop() as aio:
                gate = Gate(aio)
                failed: list[EdgeLost] = []

                async def wait() -> None:
                    try:
                        await aio.call(gate.wait)
                    except EdgeLost as error:
                        failed.append(error)

                nursery.start_soon(wait)
                await gate.entered.wait()
            assert gate.cleaned
            with pytest.raises(EdgeLost):
                await aio.call(double, 1)
        assert len(failed) == 1
    assert sys.getswitchinterval() == interval
    assert not [each for each in threading.enumerate() if each.name == "asyncio"]
    gc.collect()
