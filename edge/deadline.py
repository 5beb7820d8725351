"""asyncio's deadlines as they should be, on every Python from 3.11.0 on; the other side's, for what runs on the asyncio loop.

Before 3.11.3, Debian 12's 3.11.2 among them, ``asyncio.timeout`` raises CancelledError in place of TimeoutError when its task counts as being cancelled
already: in what tidies up after a cancellation, and for ever after a ``TaskGroup`` one of whose tasks failed, for that leaves the count raised.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class CountingTimeout(asyncio.Timeout):  # type: ignore[misc]  # final: nobody was to need another
    """One that compares with how often its task had been cancelled when it began, as asyncio does from 3.11.3 on."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._task_of = _current()
        self._before = self._task_of.cancelling()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, exc, traceback)
        if self.expired() and isinstance(exc, asyncio.CancelledError) and self._task_of.cancelling() <= self._before:
            raise TimeoutError from exc


def timeout(seconds: float) -> asyncio.Timeout:
    """Return a block's deadline: TimeoutError when it has not ended in time, whatever became of its task before."""
    if sys.version_info >= (3, 11, 3):
        return asyncio.timeout(seconds)
    return CountingTimeout(asyncio.get_running_loop().time() + seconds)


async def apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it as a task of its own and return what it returns: what a TaskGroup in it does to its task's count ends with it, unseen by any driver's timeout.

    A cancellation that comes while such a group fails, which the group swallows before Python 3.13, is raised here.
    """
    result = await asyncio.create_task(coroutine)
    if _current().cancelling():
        raise asyncio.CancelledError
    return result


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
