"""Argon2 behind the ``Passwords`` port.

One hash costs some 150 ms of a core and 64 MiB, so only ``THREADS`` run at once and only ``QUEUE_MAX`` wait: beyond that a caller is told to come
again, instead of everybody waiting longer and longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from contracts.errors import Busy

T = TypeVar("T")
THREADS = 2
QUEUE_MAX = 64
RETRY_AFTER_S = 2.0


class Argon2Passwords:
    """Hashes in threads of its own number. The default parameters are argon2-cffi's, RFC 9106's second recommendation (64 MiB, 3 passes)."""

    def __init__(
        self, hasher: PasswordHasher | None = None, *, threads: int = THREADS, queue_max: int = QUEUE_MAX
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._limiter = trio.CapacityLimiter(threads)
        self._queue_max = queue_max
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the encoded hash with its salt and parameters."""
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Say whether the password is right. With None (nobody has that name) it takes as long as a wrong password and answers False."""
        if encoded is not None:
            return await self._in_thread(lambda: self._is_right(encoded, password))
        if self._decoy is None:
            self._decoy = await self._in_thread(lambda: self._hasher.hash("nobody's password"))
        decoy = self._decoy
        await self._in_thread(lambda: self._is_right(decoy, password))
        return False

    def is_outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        try:
            return bool(self._hasher.check_needs_rehash(encoded))
        except InvalidHashError:
            return True

    def _is_right(self, encoded: str, password: str) -> bool:
        try:
            return bool(self._hasher.verify(encoded, password))
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._limiter.statistics().tasks_waiting >= self._queue_max:
            raise Busy("Many people are signing in at once; try again in a moment.", retry_after_s=RETRY_AFTER_S)
        # Not abandoned on cancel: the thread would go on and the limit would be a lie.
        return await trio.to_thread.run_sync(work, limiter=self._limiter)
