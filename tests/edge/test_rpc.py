"""Every variant of the ``Rpc`` port passes one suite; and what is the direct call's own."""

from typing import Any

import pytest
import trio
import trio.testing

from contracts.errors import Unavailable
from contracts.messages import Request
from edge.rpc import LocalRpc
from tests.edge.conformance_rpc import *  # noqa: F403 - the suite's tests, collected here
from tests.edge.conformance_rpc import ASK, answer


async def test_two_incarnations_cannot_serve_at_once() -> None:
    rpc = LocalRpc()
    async with rpc.serve("core", answer):
        with pytest.raises(RuntimeError, match="served already"):
            async with rpc.serve("core", answer):
                pass


async def test_calls_under_way_are_bounded() -> None:
    rpc = LocalRpc(calls_max=2)
    waiting = 0

    async def dawdle(request: Request[Any], *, timeout: float) -> Any:
        nonlocal waiting
        waiting += 1
        await trio.sleep_forever()

    async def call() -> None:
        await rpc.call("core", ASK, timeout=5)

    async with rpc.serve("core", dawdle), trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable, match="2 calls"):
            await rpc.call("core", ASK, timeout=5)
        assert waiting == 2
        nursery.cancel_scope.cancel()
