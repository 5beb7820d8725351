"""Deadlines on the asyncio loop: TimeoutError, whatever became of the task before. Debian's Python 3.11.2 has to have that from us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edge.deadline import CountingTimeout, apart, timeout

SHORT_S = 0.01
Timeout = Callable[[float], asyncio.Timeout]


def counting(seconds: float) -> asyncio.Timeout:
    return CountingTimeout(asyncio.get_running_loop().time() + seconds)


@pytest.fixture(params=[timeout, counting], ids=["of this Python", "our own"])
def made(request: pytest.FixtureRequest) -> Timeout:
    chosen: Timeout = request.param
    return chosen


async def expires(made: Timeout) -> None:
    with pytest.raises(TimeoutError):
        async with made(SHORT_S):
            await asyncio.sleep(10)


async def fail() -> None:
    raise OSError


async def group_that_fails() -> None:
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(10))


async def is_cancelled(coroutine: Coroutine[Any, Any, None], *, after_turns: int) -> None:
    task = asyncio.create_task(coroutine)
    for _ in range(after_turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_deadline_is_a_timeout_error_and_what_ends_in_time_is_nothing(made: Timeout) -> None:
    async def main() -> None:
        await expires(made)
        async with made(10.0) as limit:
            await asyncio.sleep(0)
        assert not limit.expired()

    asyncio.run(main())


def test_it_is_one_after_a_group_of_the_same_task_has_failed(made: Timeout) -> None:
    async def main() -> None:
        await group_that_fails()
        await expires(made)

    asyncio.run(main())


def test_it_is_one_while_a_cancelled_task_tidies_up(made: Timeout) -> None:
    tidied = []

    async def worker() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await expires(made)
            tidied.append(True)

    asyncio.run(is_cancelled(worker(), after_turns=1))
    assert tidied == [True]


def test_a_cancellation_from_outside_stays_one(made: Timeout) -> None:
    async def worker() -> None:
        async with made(10.0):
            await asyncio.sleep(10)

    asyncio.run(is_cancelled(worker(), after_turns=1))


def test_a_group_that_fails_apart_leaves_no_trace_in_its_callers_task() -> None:
    async def main() -> None:
        await apart(group_that_fails())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_a_cancellation_that_a_failing_group_swallows_is_raised_all_the_same() -> None:
    async def caller() -> None:
        await apart(group_that_fails())
        pytest.fail("it went on")

    asyncio.run(is_cancelled(caller(), after_turns=3))  # the group's task has failed, and the group has not heard of it
