"""What every ``Rpc`` does. Collected by ``test_rpc.py``, which says against which variants."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from contracts.errors import CodeWarzError, DeadlineExceeded, NotFound, Unavailable
from contracts.messages import BuildBoard, GetProblem, ProblemBlob, Request
from contracts.ports import Rpc

ASK = GetProblem(problem_id="p", version=3)
BLOB = ProblemBlob(problem_id="p", version=3, digest="d", package=b"\x00\xff")


async def answer(request: Request[Any], *, timeout: float) -> Any:
    assert request == ASK
    assert 0 < timeout <= 5
    return BLOB


async def test_a_call_brings_the_reply(rpc: Rpc) -> None:
    async with rpc.serve("core", answer):
        assert await rpc.call("core", ASK, timeout=5) == BLOB


async def test_the_services_error_is_the_callers(rpc: Rpc) -> None:
    async def refuse(request: Request[Any], *, timeout: float) -> Any:
        raise NotFound("there is no problem p")

    async with rpc.serve("core", refuse):
        with pytest.raises(NotFound, match="there is no problem p"):
            await rpc.call("core", ASK, timeout=5)


async def test_nobody_serving_is_unavailable(rpc: Rpc) -> None:
    async with rpc.serve("core", answer):
        with pytest.raises(Unavailable):
            await rpc.call("leaderboard", BuildBoard(contest_id="c"), timeout=5)
    with pytest.raises(Unavailable):
        await rpc.call("core", ASK, timeout=5)


async def test_no_answer_in_time_is_deadline_exceeded_and_ends_the_work(rpc: Rpc) -> None:
    began, ended = trio.Event(), trio.Event()

    async def dawdle(request: Request[Any], *, timeout: float) -> Any:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with rpc.serve("core", dawdle):
        for timeout in (0.05, 0.5, 5.0):  # the first is enough for a call to arrive, but on a busy machine
            with pytest.raises(DeadlineExceeded):
                await rpc.call("core", ASK, timeout=timeout)
            if began.is_set():
                break
        with trio.fail_after(10):
            await ended.wait()


async def test_a_cancelled_call_ends_the_work_and_disturbs_nobody(rpc: Rpc) -> None:
    began, ended = trio.Event(), trio.Event()

    async def dawdle_once(request: Request[Any], *, timeout: float) -> Any:
        if began.is_set():
            return BLOB
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with rpc.serve("core", dawdle_once):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                await rpc.call("core", ASK, timeout=5)

            nursery.start_soon(call)
            await began.wait()
            nursery.cancel_scope.cancel()
        await ended.wait()
        assert await rpc.call("core", ASK, timeout=5) == BLOB


async def test_a_service_that_stops_fails_the_calls_under_way(rpc: Rpc) -> None:
    began = trio.Event()

    async def dawdle(request: Request[Any], *, timeout: float) -> Any:
        began.set()
        await trio.sleep_forever()

    async def call() -> None:
        with pytest.raises(CodeWarzError) as caught:
            await rpc.call("core", ASK, timeout=5)
        assert isinstance(caught.value, Unavailable)
        assert not isinstance(caught.value, DeadlineExceeded)

    async with trio.open_nursery() as nursery, rpc.serve("core", dawdle):
        nursery.start_soon(call)
        await began.wait()


async def test_a_service_can_be_served_again_after_it_stopped(rpc: Rpc) -> None:
    for _ in range(2):
        async with rpc.serve("core", answer):
            assert await rpc.call("core", ASK, timeout=5) == BLOB
