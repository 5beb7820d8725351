"""What a process is called, and what that gives it: the leases of an earlier start under the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors import house, system
from actors.judge.intake import Intake
from actors.judge.lease import LeaseHeld, acquire
from actors.settings import Settings
from edge.memory_redis import MemoryRedis
from tests.conftest import Clock


async def owner_of_a_start(monkeypatch: pytest.MonkeyPatch, data: Path, node: str) -> str:
    """Describe a whole process, as ``codewarz up`` does, and return the name in which its judge owns leases."""
    owners = []

    def intake(name: str, owner: str, *others: Any, **more: Any) -> Intake:
        owners.append(owner)
        return Intake(name, owner, *others, **more)

    monkeypatch.setattr(system, "Intake", intake)
    await house.open_house(Settings(data=data, node=node, _env_file=None), print)
    monkeypatch.setattr(system, "Intake", Intake)
    (owner,) = owners
    return f"{owner}worker"


async def test_a_node_that_was_given_a_name_takes_over_what_it_held_before_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis: MemoryRedis, clock: Clock
) -> None:
    first, second, other = [await owner_of_a_start(monkeypatch, tmp_path, node) for node in ("a/1", "a/1", "b")]
    await acquire(redis, "s1", 1, first)
    with pytest.raises(LeaseHeld):
        await acquire(redis, "s1", 1, other)
    await acquire(redis, "s1", 1, second)
    with pytest.raises(LeaseHeld):
        await acquire(
            redis, "s1", 1, first
        )  # it lives after all, under the same name: it must not take it back for ever


async def test_without_a_name_each_start_is_a_node_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis: MemoryRedis
) -> None:
    """Two containers may have one host's name and the same process number."""
    first, second = [await owner_of_a_start(monkeypatch, tmp_path, "") for _ in range(2)]
    await acquire(redis, "s1", 1, first)
    with pytest.raises(LeaseHeld):
        await acquire(redis, "s1", 1, second)
