"""Passwords: right, wrong, nobody's, and too many at once."""

from typing import Any, Literal

import pytest
import trio
from argon2 import Parameters, PasswordHasher, extract_parameters

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


class Watched(PasswordHasher):
    """Notes what each verification costs: its parameters, and so its time, which only a quiet machine could tell."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.costs: list[Parameters] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2's own name
        self.costs.append(extract_parameters(hash if isinstance(hash, str) else hash.decode()))
        return super().verify(hash, password)


async def test_nobody_takes_as_long_as_a_wrong_password() -> None:
    hasher = Watched(time_cost=2, memory_cost=64, parallelism=1, hash_len=24, salt_len=12)
    passwords = Argon2Passwords(hasher)
    encoded = await passwords.hash("x")
    for of in (None, encoded, None):
        assert not await passwords.verify(of, "wrong")
    nobody, somebody, nobody_again = hasher.costs
    assert nobody == somebody == nobody_again == extract_parameters(encoded)


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
