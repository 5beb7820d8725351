"""Passwords: right, wrong, nobody's, and too many at once."""

import time

import pytest
import trio
from argon2 import PasswordHasher

from contracts.errors import Unavailable
from edge.passwords import Argon2Passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


async def test_a_password_verifies_against_its_own_hash_only() -> None:
    passwords = Argon2Passwords(QUICK)
    encoded = await passwords.hash("correct horse")
    assert encoded.startswith("$argon2id$")
    assert await passwords.verify(encoded, "correct horse")
    assert not await passwords.verify(encoded, "correct horsf")


async def test_two_hashes_of_one_password_differ() -> None:
    passwords = Argon2Passwords(QUICK)
    assert await passwords.hash("same") != await passwords.hash("same")


async def test_nobodys_password_is_always_wrong_and_a_broken_hash_is_not_an_error() -> None:
    passwords = Argon2Passwords(QUICK)
    assert not await passwords.verify(None, "nobody's password")
    assert not await passwords.verify("no hash at all", "x")


async def test_nobody_takes_as_long_as_a_wrong_password() -> None:
    passwords = Argon2Passwords(PasswordHasher(time_cost=2, memory_cost=8 * 1024, parallelism=1))
    encoded = await passwords.hash("x")
    await passwords.verify(None, "warm the decoy up")

    async def took(of: str | None) -> float:
        best = 9.0
        for _ in range(5):
            began = time.perf_counter()
            await passwords.verify(of, "wrong")
            best = min(best, time.perf_counter() - began)
        return best

    assert 0.4 < await took(None) / await took(encoded) < 2.5


def test_a_hash_of_other_parameters_is_outdated() -> None:
    passwords = Argon2Passwords(QUICK)
    assert not passwords.is_outdated(QUICK.hash("x"))
    assert passwords.is_outdated(PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash("x"))
    assert passwords.is_outdated("$2b$12$something else entirely")


async def test_a_long_queue_turns_callers_away_with_a_time_to_come_again() -> None:
    passwords = Argon2Passwords(QUICK, threads=1, queue_max=2)
    refused = []

    async def one() -> None:
        try:
            await passwords.hash("x")
        except Unavailable as error:
            refused.append(error.retry_after_s)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(one)
    assert refused
    assert all(wait is not None and wait > 0 for wait in refused)


async def test_a_cancelled_caller_gives_its_place_back() -> None:
    passwords = Argon2Passwords(QUICK, threads=1, queue_max=2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await passwords.hash("x")
    assert scope.cancelled_caught
    assert await passwords.verify(await passwords.hash("y"), "y")


async def test_a_refusal_is_an_unavailable() -> None:
    passwords = Argon2Passwords(QUICK, queue_max=0)
    with pytest.raises(Unavailable):
        await passwords.hash("x")
