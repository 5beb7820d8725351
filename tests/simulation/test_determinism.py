"""One run is the same every time, and one that cannot get on says why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from chaos.simulation import determinism
from chaos.simulation.determinism import Deadlock, DiscreteClock, Livelock, Overdue, Standstill, simulate, strike


async def _order_of_five(clock: DiscreteClock) -> list[int]:
    """Five tasks that are always runnable together; only chance decides their order."""
    order: list[int] = []

    async def walker(number: int) -> None:
        for _ in range(4):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(walker, number)
    return order


def test_the_same_seed_gives_the_same_order_of_tasks() -> None:
    assert simulate(_order_of_five, seed=7) == simulate(_order_of_five, seed=7)


def test_other_seeds_give_other_orders() -> None:
    assert len({tuple(simulate(_order_of_five, seed=seed)) for seed in range(10)}) > 5


def test_time_jumps_to_the_next_deadline() -> None:
    async def main(clock: DiscreteClock) -> float:
        began = trio.current_time()
        await trio.sleep(3600)
        await clock.sleep(7200)
        with trio.move_on_after(0.5):
            await trio.sleep_forever()
        return trio.current_time() - began

    assert simulate(main, seed=1) == 10800.5


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    async def main(clock: DiscreteClock) -> list[float]:
        woken: list[float] = []

        async def sleeper(seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
            await sleep(seconds)
            woken.append(seconds)

        async with trio.open_nursery() as nursery:
            for number, seconds in enumerate((0.3, 0.1, 0.5, 0.2, 0.4)):
                nursery.start_soon(sleeper, seconds, clock.sleep if number % 2 else trio.sleep)
        return woken

    assert simulate(main, seed=3) == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_sleeper_that_is_cancelled_wakes_nobody() -> None:
    async def main(clock: DiscreteClock) -> float:
        with trio.move_on_after(1.0):
            await clock.sleep(5.0)
        await clock.sleep(10.0)
        return clock.elapsed_s

    assert simulate(main, seed=3) == 11.0


def test_a_deadlock_is_explained() -> None:
    async def main(clock: DiscreteClock) -> None:
        await trio.sleep(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.Event().wait, name="the one who waits")
            nursery.start_soon(trio.Event().wait, name="the other one")

    with pytest.raises(Deadlock, match=r"at 2\.000 s every task waits") as caught:
        simulate(main, seed=1)
    notes = "\n".join(caught.value.__notes__)
    assert "the one who waits" in notes
    assert "the other one" in notes


def test_a_livelock_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "STEPS_MOST", 2_000)

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def main(clock: DiscreteClock) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spin, name="hamster")

    with pytest.raises(Livelock, match=r"2000 steps without an end, the last one 'hamster'"):
        simulate(main, seed=1)


def test_work_that_lets_time_pass_is_no_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "STEPS_MOST", 2_000)

    async def main(clock: DiscreteClock) -> int:
        for _ in range(3_000):
            await trio.sleep(0.01)
        return 3_000

    assert simulate(main, seed=1) == 3_000


def test_a_run_that_does_not_come_to_rest_in_time_is_explained() -> None:
    async def main(clock: DiscreteClock) -> None:
        while True:
            await trio.sleep(7)

    with pytest.raises(Overdue, match="not at rest after 60 simulated seconds"):
        simulate(main, seed=1, most_s=60)


def test_what_the_run_raises_is_raised() -> None:
    async def main(clock: DiscreteClock) -> None:
        await trio.sleep(1)
        raise LookupError("of its own")

    with pytest.raises(LookupError, match="of its own"):
        simulate(main, seed=1)


def test_a_task_can_be_struck_where_it_waits() -> None:
    async def main(clock: DiscreteClock) -> str:
        fate = ""

        async def victim(*, task_status: trio.TaskStatus[trio.lowlevel.Task]) -> None:
            nonlocal fate
            task_status.started(trio.lowlevel.current_task())
            try:
                await trio.sleep_forever()
            except ZeroDivisionError as error:
                fate = str(error)

        async with trio.open_nursery() as nursery:
            task = await nursery.start(victim)
            await trio.sleep(1)
            assert strike(task, ZeroDivisionError("out of the blue"))
        return fate

    assert simulate(main, seed=1) == "out of the blue"


# ---- who stands still ------------------------------------------------------------------------------------------------


async def _still_for_ten_seconds(clock: DiscreteClock) -> dict[str, float]:
    """Two tasks that want to do something at once, by a deadline and by a sleep; one of each stands still for ten seconds."""
    done: dict[str, float] = {}
    began = trio.current_time()

    async def patient(name: str) -> None:
        with trio.move_on_after(1.0):
            await trio.sleep_forever()
        await clock.sleep(1.0)
        done[name] = trio.current_time() - began

    async with trio.open_nursery() as nursery:
        nursery.start_soon(patient, "free", name="free")
        nursery.start_soon(patient, "still", name="still")
        standstill = Standstill(lambda task: task.name == "still")
        standstill.begin()
        await clock.sleep(10.0)
        standstill.end()
    return done


def test_who_stands_still_is_woken_when_it_may_go_on_and_time_has_passed() -> None:
    done = simulate(_still_for_ten_seconds, seed=1)
    assert done["free"] == 2.0
    assert 10.0 < done["still"] <= 11.0


def test_who_stands_still_at_the_end_does_not_keep_a_run_from_ending() -> None:
    async def main(clock: DiscreteClock) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="still")
            Standstill(lambda task: task.name == "still").begin()
            await clock.sleep(1.0)
            await trio.sleep_forever()

    with pytest.raises(Deadlock):
        simulate(main, seed=1)
    assert simulate(_order_of_five, seed=7) == simulate(_order_of_five, seed=7)
