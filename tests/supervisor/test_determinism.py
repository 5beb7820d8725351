"""One seed, one history: nothing here depends on the order of sets, on object ids or on a clock of its own."""

import random

import pytest
import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from supervisor import Mailbox, Pool, Strategy, Supervisor, Tree
from supervisor.context import Context
from tests.supervisor.growing import actor, idle, wall


def history(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    chance = random.Random(seed)

    async def worker(ctx: Context[int]) -> None:
        async for delivery in ctx.inbox:
            await trio.sleep(chance.random())
            if chance.random() < 0.2:
                raise ValueError(f"unlucky with {delivery.message}")

    async def main() -> None:
        mailbox = Mailbox[int]("p", 4)
        pool = Pool("p", worker, 3, 3, mailbox)
        tree = Tree(
            Supervisor("root", (pool, actor("a", idle)), strategy=Strategy.REST_FOR_ONE),
            rng=random.Random(seed),
            wall_clock=wall,
            on_event=lambda event: said.append(f"{event.at:.6f} {event.text()}"),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            for number in range(15):
                await mailbox.address.tell(number)
            await tree.scale("p", 1)
            await tree.shutdown()

    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    trio_run._r.seed(seed)
    trio.run(main, clock=MockClock(autojump_threshold=0))
    return said


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_history(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = history(seed, monkeypatch)
    assert len(first) > 20
    assert history(seed, monkeypatch) == first


def test_other_seeds_give_other_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    assert history(1, monkeypatch) != history(2, monkeypatch)
