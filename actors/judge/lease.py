"""Leases: at most one judge works on an attempt, and none keeps it by dying.

    free ──acquire──▶ held(owner) ──renew──▶ held(owner) ──release──▶ free
                           └────────────── ttl passes ──────────────▶ free

An owner's name begins with its node and the start of its process. A process that is started again takes over at once what its node held before; others wait.

A lease saves work, it does not guard the effect: Redis may forget it. What guards the effect is the fencing number, which comes from the database, and the
compare-and-set on (submission, attempt).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from contracts.errors import CodeWarzError
from contracts.lua import lua
from contracts.ports import Redis

TTL_S = 7.0  # of which a judge that dies keeps others waiting; the platform promises to be well again within 10 s
RENEW_S = TTL_S / 3  # two renewals may fail before the lease is lost


class LeaseHeld(Exception):
    """Somebody else is judging this attempt."""


class LeaseLost(Exception):
    """The lease expired or went to somebody else: what was being done under it must stop."""


@dataclass(frozen=True)
class Lease:
    """A lease, and who holds it or wants to."""

    redis: Redis
    key: str
    owner: str

    async def renew(self) -> bool:
        """Put the expiry off by TTL_S; False when it is no longer one's own."""
        return bool(await self.redis.script(lua("lease_renew"), [self.key], [self.owner, round(TTL_S * 1000)]))

    async def release(self) -> None:
        """Give it back; nothing happens when it is somebody else's by now."""
        await self.redis.script(lua("lease_release"), [self.key], [self.owner])


def lease_key(submission_id: str, attempt: int) -> str:
    """Return the key of an attempt's lease."""
    return f"lease:{submission_id}:{attempt}"


async def are_held(redis: Redis, attempts: Sequence[tuple[str, int]]) -> list[bool]:
    """Return for each attempt whether somebody has its lease. What lasts for ever, or much longer than any lease, is none of ours."""
    left_ms = await redis.pipeline([["PTTL", lease_key(*attempt)] for attempt in attempts])
    return [0 <= left <= 2000 * TTL_S for left in left_ms]


async def acquire(redis: Redis, submission_id: str, attempt: int, owner: str) -> Lease:
    """Take the lease; raises LeaseHeld while another owner has it that may be alive."""
    lease = Lease(redis, lease_key(submission_id, attempt), owner)
    try:
        is_ours = await redis.script(lua("lease_acquire"), [lease.key], [owner, round(TTL_S * 1000)])
    except BaseException:
        await _give_back(
            lease
        )  # whether it was taken nobody knows, and nobody would renew it: others would wait for its end
        raise
    if not is_ours:
        raise LeaseHeld(lease.key)
    return lease


@asynccontextmanager
async def held(redis: Redis, submission_id: str, attempt: int, owner: str) -> AsyncIterator[None]:
    """Hold the lease while the block runs, renewing it; raises LeaseHeld at once, or LeaseLost out of the block when it goes.

    Without an answer from Redis for TTL_S the lease counts as lost: by then somebody else may have it.
    """
    lease = await acquire(redis, submission_id, attempt, owner)
    # buggify at lease.acquired
    lost = False
    error: Exception | None = None

    async def keep(scope: trio.CancelScope) -> None:
        nonlocal lost
        good_until = trio.current_time() + TTL_S
        while trio.current_time() < good_until:
            await trio.sleep(RENEW_S)
            asked_at = trio.current_time()
            try:
                with trio.move_on_at(good_until):
                    if not await lease.renew():
                        break
                    good_until = asked_at + TTL_S
            except CodeWarzError:
                continue  # Redis is away: try again until the lease must have expired
        lost = True
        scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, nursery.cancel_scope, name=f"renew {lease.key}")
            try:
                yield
            except Exception as raised:  # noqa: BLE001 - raised again below, as it was: the nursery would wrap it into a group
                error = raised
            nursery.cancel_scope.cancel()
    finally:
        await _give_back(lease)
    if error is not None:
        raise error
    if lost:
        raise LeaseLost(lease.key)


async def _give_back(lease: Lease) -> None:
    """Release, also after a cancellation: a judge that stops in good order lets others begin at once."""
    with trio.move_on_after(1, shield=True), suppress(CodeWarzError):  # Redis is away: the lease expires by itself
        await lease.release()
