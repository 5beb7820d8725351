import math
from collections.abc import Callable

import pytest

from supervisor import Actor, Backoff, Intensity, Mailbox, Pool, SpecError, Supervisor
from tests.supervisor.growing import idle


def slow_backoff() -> Actor:
    return Actor("a", idle, backoff=Backoff(first_s=0.1, cap_s=5.0, healthy_after_s=10.0), start_timeout_s=10.0)


def test_an_intensity_that_a_quiet_crash_loop_would_never_reach_is_refused() -> None:
    with pytest.raises(SpecError, match=r"would never trip on a crash loop of 'a'.*Use a window above 45 s"):
        Supervisor("s", (slow_backoff(),), intensity=Intensity(3, 5.0))
    assert Supervisor("s", (slow_backoff(),), intensity=Intensity(3, 46.0)).limit == Intensity(3, 46.0)


def test_a_pool_is_held_to_the_same_law() -> None:
    with pytest.raises(SpecError, match="would never trip"):
        Pool("p", idle, 1, 2, intensity=Intensity(3, 5.0))


def test_without_a_declared_intensity_the_window_is_one_that_trips_at_every_level() -> None:
    inner = Supervisor("inner", (slow_backoff(),))
    outer = Supervisor("outer", (inner, Pool("p", idle, 1, 2)))
    for supervisor in (inner, outer):
        cycle_s = max(child.crash_cycle_s for child in supervisor.children)
        assert supervisor.limit.restarts * cycle_s < supervisor.limit.window_s < math.inf


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a#1", "a\n"])
def test_names_are_addresses(name: str) -> None:
    with pytest.raises(SpecError, match="name is printable"):
        Actor(name, idle)


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="two children are called 'a'"):
        Supervisor("s", (Actor("a", idle), Actor("a", idle)))


def test_a_mailbox_has_one_owner() -> None:
    mailbox = Mailbox[int]("m", 1)
    inner = Supervisor("inner", (Actor("a", idle, mailbox),))
    with pytest.raises(SpecError, match="'m' is given to two"):
        Supervisor("s", (inner, Actor("b", idle, mailbox)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_s": 2.0, "cap_s": 1.0},
        {"factor": 0.5},
        {"jitter": 1.5},
        {"healthy_after_s": math.inf},
        {"cap_s": math.inf},
        {"first_s": 1e-9},
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        Backoff(**wrong)


@pytest.mark.parametrize(
    "describe",
    [
        lambda: Actor("a", idle, grace_s=-1),
        lambda: Actor("a", idle, start_timeout_s=0),
        lambda: Actor("a", idle, wedged_after_s=0),
        lambda: Pool("p", idle, 3, 2),
        lambda: Intensity(-1, 1),
        lambda: Intensity(1, 0),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_described(describe: Callable[[], object]) -> None:
    with pytest.raises(SpecError):
        describe()
