"""The restart policy without Trio: the table, and what holds for any sequence of events."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Backoff, Intensity, Restart, Strategy
from supervisor.policy import MOVES, backoff_s, next_wake, step
from supervisor.states import (
    ALIVE,
    WAITING,
    Action,
    ChildState,
    Do,
    Doom,
    Happened,
    Phase,
    PolicyEvent,
    Shutdown,
    State,
    Tick,
    What,
)

RNG = random.Random(1)
STEADY = Backoff(first_s=1.0, factor=2.0, cap_s=4.0, jitter=0.0, healthy_after_s=10.0)


def supervisor(*children: ChildState, strategy: Strategy = Strategy.ONE_FOR_ONE, restarts: int = 3) -> State:
    return State(children, strategy, Intensity(restarts, 100.0))


def child(name: str, **more: object) -> ChildState:
    return ChildState(name, backoff=STEADY, **more)  # type: ignore[arg-type]  # whatever ChildState takes


def running(*names: str, **more: object) -> tuple[ChildState, ...]:
    return tuple(child(name, phase=Phase.RUNNING, running_since=0.0, **more) for name in names)


def feed(state: State, *events: PolicyEvent, now: float = 0.0) -> tuple[State, list[Action]]:
    said: list[Action] = []
    for event in events:
        state, actions = step(state, event, now, RNG)
        said += actions
    return state, said


def phases(state: State) -> dict[str, str]:
    return {c.name: c.phase.value for c in state.children}


def test_children_start_in_order_each_when_the_one_before_is_ready() -> None:
    state, said = feed(supervisor(child("a"), child("b")), Tick())
    assert said == [Action(Do.START, "a")]
    _, said = feed(state, Happened(What.READY, "a"))
    assert said == [Action(Do.START, "b")]


def test_a_child_that_returns_before_it_is_ready_holds_nobody_up() -> None:
    state, _ = feed(supervisor(child("a", restart=Restart.TRANSIENT), child("b")), Tick())
    state, said = feed(state, Happened(What.RETURNED, "a"))
    assert said == [Action(Do.START, "b")]
    assert phases(state) == {"a": "stopped", "b": "starting"}


@pytest.mark.parametrize(
    ("restart", "what", "then"),
    [
        (Restart.PERMANENT, What.CRASHED, "backing_off"),
        (Restart.PERMANENT, What.RETURNED, "backing_off"),
        (Restart.TRANSIENT, What.CRASHED, "backing_off"),
        (Restart.TRANSIENT, What.RETURNED, "stopped"),
        (Restart.TEMPORARY, What.CRASHED, "failed"),
        (Restart.TEMPORARY, What.RETURNED, "stopped"),
    ],
)
def test_when_a_child_is_started_again(restart: Restart, what: What, then: str) -> None:
    state, _ = feed(supervisor(*running("a", restart=restart)), Happened(what, "a"))
    assert phases(state) == {"a": then}


@pytest.mark.parametrize(
    ("strategy", "cancelled"),
    [
        (Strategy.ONE_FOR_ONE, []),
        (Strategy.REST_FOR_ONE, ["c"]),
        (Strategy.ONE_FOR_ALL, ["c", "a"]),
    ],
)
def test_whom_a_crash_takes_along_in_reverse_order(strategy: Strategy, cancelled: list[str]) -> None:
    state, said = feed(supervisor(*running("a", "b", "c"), strategy=strategy), Happened(What.CRASHED, "b"))
    for name in cancelled:
        assert said == [Action(Do.CANCEL, name)]  # one at a time
        state, said = feed(state, Happened(What.CANCELLED, name))
    assert said == []
    started = []
    state, said = feed(state, Tick(), now=1.0)
    while said:
        started += [action.child for action in said]
        state, said = feed(state, *[Happened(What.READY, action.child) for action in said], now=1.0)
    assert started == sorted([*cancelled, "b"])


def test_siblings_that_were_stopped_stay_stopped() -> None:
    state, _ = feed(supervisor(*running("a", "b"), strategy=Strategy.ONE_FOR_ALL), Happened(What.STOP, "b"))
    state, _ = feed(state, Happened(What.CANCELLED, "b"), Happened(What.CRASHED, "a"))
    state, said = feed(state, Tick(), now=50.0)
    assert said == [Action(Do.START, "a")]
    assert phases(state) == {"a": "starting", "b": "stopped"}


def test_a_group_is_not_started_while_one_of_it_is_still_being_stopped() -> None:
    state, _ = feed(supervisor(*running("a", "b"), strategy=Strategy.ONE_FOR_ALL), Happened(What.CRASHED, "a"))
    state, said = feed(state, Tick(), now=1.5)
    assert said == []
    _, said = feed(state, Happened(What.CANCELLED, "b"), now=1.6)
    assert said == [Action(Do.START, "a")]


def test_one_restart_too_many_escalates_and_decides_nothing_more() -> None:
    state = supervisor(*running("a"), restarts=1)
    state, _ = feed(state, Happened(What.CRASHED, "a"))
    state, _ = feed(state, Tick(), Happened(What.READY, "a"), now=2.0)
    state, said = feed(state, Happened(What.CRASHED, "a"), now=3.0)
    assert said == [Action(Do.ESCALATE, "a", "more than 1 restarts in 100 s")]
    assert feed(state, Tick(), Happened(What.START, "a"), now=99.0) == (state, [])


def test_restarts_older_than_the_window_are_forgotten() -> None:
    state = replace(supervisor(*running("a"), restarts=1), restarts=(0.0,))
    state, said = feed(state, Happened(What.CRASHED, "a"), now=100.0)
    assert phases(state) == {"a": "backing_off"}
    assert state.restarts == (100.0,)
    assert said == []


def test_a_healthy_life_begins_the_backoff_anew() -> None:
    state = supervisor(*running("a", attempt=2))
    soon, _ = feed(state, Happened(What.CRASHED, "a"), now=9.0)
    late, _ = feed(state, Happened(What.CRASHED, "a"), now=10.0)
    assert soon.children[0].not_before == 13.0
    assert late.children[0].not_before == 11.0


def test_an_operator_restarts_during_a_backoff_at_once_and_free() -> None:
    state, _ = feed(supervisor(*running("a")), Happened(What.CRASHED, "a"))
    state, said = feed(state, Happened(What.RESTART, "a"), now=0.1)
    assert said == [Action(Do.START, "a")]
    assert len(state.restarts) == 1


def test_an_operator_restart_counts_nothing_however_often() -> None:
    state = supervisor(*running("a"))
    for _ in range(20):
        state, said = feed(state, Happened(What.RESTART, "a"))
        assert said == [Action(Do.DRAIN, "a")]
        state, said = feed(state, Happened(What.RETURNED, "a"), Happened(What.READY, "a"))
        assert said == [Action(Do.START, "a")]
    assert state.restarts == ()


def test_grace_then_cancel_then_report() -> None:
    state, said = feed(supervisor(*running("a")), Happened(What.DRAIN, "a"))
    assert said == [Action(Do.DRAIN, "a")]
    assert next_wake(state) == 5.0
    state, said = feed(state, Tick(), now=5.0)
    assert said == [Action(Do.CANCEL, "a")]
    state, said = feed(state, Tick(), now=7.0)
    assert said == [Action(Do.REPORT_STUCK, "a")]
    assert next_wake(state) == float("inf")


def test_not_ready_in_time_is_a_crash_although_it_ends_by_a_cancel() -> None:
    state, _ = feed(supervisor(child("a", start_timeout_s=3.0)), Tick())
    state, said = feed(state, Tick(), now=3.0)
    assert said == [Action(Do.CANCEL, "a", "not ready within 3 s")]
    state, _ = feed(state, Happened(What.CRASHED, "a"), now=3.0)
    assert phases(state) == {"a": "backing_off"}
    assert state.restarts == (3.0,)


def test_shutdown_is_in_reverse_order_and_passes_one_that_would_not_stop() -> None:
    state, said = feed(supervisor(*running("a", "b")), Shutdown())
    assert said == [Action(Do.DRAIN, "b")]
    state, said = feed(state, Tick(), now=5.0)
    state, said = feed(state, Tick(), now=7.0)
    assert said == [Action(Do.REPORT_STUCK, "b"), Action(Do.DRAIN, "a")]
    state, said = feed(state, Happened(What.RETURNED, "a"), now=7.0)
    assert said == []
    _, said = feed(state, Happened(What.RETURNED, "b"), now=8.0)
    assert said == [Action(Do.FINISH)]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("what", list(What))
def test_what_is_not_in_the_table_changes_nothing(phase: Phase, what: What) -> None:
    if (phase, what) in MOVES:
        return
    state = supervisor(child("a", phase=phase, not_before=1e9))
    assert feed(state, Happened(what, "a")) == (state, [])


def test_every_move_of_the_table_leaves_a_state_of_the_table() -> None:
    for phase, what in MOVES:
        doom = Doom.CANCEL if phase is Phase.STOPPING else Doom.DRAIN if phase is Phase.DRAINING else None
        state, _ = feed(supervisor(child("a", phase=phase, doom=doom, running_since=0.0)), Happened(what, "a"))
        assert all(c.phase in Phase for c in state.children)


@given(
    attempt=st.integers(0, 10_000),
    seed=st.integers(),
    first=st.just(0.0) | st.floats(0.001, 10),
    more=st.floats(0, 100),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
)
def test_a_backoff_stays_within_its_bounds(
    attempt: int, seed: int, first: float, more: float, factor: float, jitter: float
) -> None:
    backoff = Backoff(first_s=first, factor=factor, cap_s=first + more, jitter=jitter)
    delay = backoff_s(backoff, attempt, random.Random(seed))
    assert first * (1 - jitter) * (1 - 1e-9) <= delay <= backoff.cap_s


def test_ten_thousand_attempts_overflow_nothing_and_never_get_shorter() -> None:
    backoff = Backoff(first_s=0.1, factor=2.0, cap_s=60.0, jitter=0.0)
    delays = [backoff_s(backoff, attempt, RNG) for attempt in range(10_000)]
    assert delays == sorted(delays)
    assert delays[-1] == 60.0


NAMES = ["a", "b", "c"]
OPERATOR = [What.START, What.STOP, What.DRAIN, What.RESTART]
EXITS = [What.RETURNED, What.CRASHED, What.CANCELLED]


@st.composite
def supervisors(draw: st.DrawFn) -> State:
    backoff = Backoff(first_s=0.5, cap_s=draw(st.sampled_from([0.5, 4.0])), jitter=0.5, healthy_after_s=5.0)
    children = tuple(
        ChildState(name, draw(st.sampled_from(list(Restart))), backoff, start_timeout_s=3.0, grace_s=2.0)
        for name in NAMES[: draw(st.integers(1, 3))]
    )
    strategy = draw(st.sampled_from(list(Strategy)))
    return State(children, strategy, Intensity(draw(st.integers(0, 4)), 40.0), ordered=draw(st.booleans()))


happenings = st.tuples(
    st.floats(0, 6),
    st.one_of(
        st.builds(
            Happened, st.sampled_from([*EXITS, *EXITS, What.READY, What.READY, What.WEDGED]), st.sampled_from(NAMES)
        ),
        st.builds(Happened, st.sampled_from(OPERATOR), st.sampled_from(NAMES)),
        st.just(Tick()),
        st.just(Tick()),
        st.just(Shutdown()),
    ),
)


class World:
    """Does what the policy says and checks that it could be done; a task is there from START to its exit."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.alive: list[str] = []
        self.now = 0.0
        self.decided: list[float] = []

    def tell(self, event: PolicyEvent) -> None:
        before = self.state
        if isinstance(event, Happened) and event.what in EXITS:
            if event.child not in self.alive:
                return
            self.alive.remove(event.child)
        if isinstance(event, Happened) and event.what is What.READY and event.child not in self.alive:
            return
        self.state, actions = step(self.state, event, self.now, RNG)
        if len(self.state.restarts) and (not before.restarts or self.state.restarts[-1] != before.restarts[-1]):
            self.decided.append(self.now)
        for action in actions:
            self.do(action)
        self.check()

    def do(self, action: Action) -> None:
        match action.do:
            case Do.START:
                assert action.child not in self.alive, "two incarnations of one child"
                assert not self.state.shutting_down, "nothing starts during a shutdown"
                self.alive.append(action.child)
            case Do.DRAIN | Do.CANCEL | Do.REPORT_STUCK:
                assert action.child in self.alive, "told to go, but not there"
            case Do.FINISH:
                assert not self.alive, "finished, but somebody is still there"
            case Do.ESCALATE:
                assert self.state.over

    def check(self) -> None:
        state = self.state
        limit = state.intensity
        if state.over:
            return  # the nursery is being left: exits are no longer put through the policy
        assert [c.name for c in state.children if c.phase in ALIVE] == [n for n in NAMES if n in self.alive]
        for at in self.decided:
            within = [t for t in self.decided if at <= t < at + limit.window_s]
            assert len(within) <= limit.restarts
        for c in state.children:
            assert c.phase in ALIVE or c.doom is None
            assert c.phase is not Phase.STOPPING or c.doom is Doom.CANCEL
            if c.phase is Phase.BACKING_OFF:
                assert c.not_before <= self.now + c.backoff.cap_s
        assert next_wake(state) > self.now, "a timer that is due must have been dealt with"


@settings(max_examples=300)
@given(state=supervisors(), sequence=st.lists(happenings, max_size=40))
def test_for_any_sequence_of_events(state: State, sequence: list[tuple[float, PolicyEvent]]) -> None:
    world = World(state)
    world.tell(Tick())
    for wait, event in sequence:
        if wait >= next_wake(world.state) - world.now:
            world.now = max(world.now, next_wake(world.state))
            world.tell(Tick())
        else:
            world.now += wait
        world.tell(event)


@settings(max_examples=200)
@given(state=supervisors(), sequence=st.lists(happenings, max_size=20))
def test_left_alone_everything_comes_to_rest(state: State, sequence: list[tuple[float, PolicyEvent]]) -> None:
    """After any trouble: when children become ready and go when told to, nothing waits for ever."""
    world = World(state)
    world.tell(Tick())
    for _, event in sequence:
        world.tell(event)
    for _ in range(60):
        for c in world.state.children:
            if c.phase is Phase.STARTING:
                world.tell(Happened(What.READY, c.name))
            elif c.phase in (Phase.DRAINING, Phase.STOPPING):
                world.tell(Happened(What.RETURNED, c.name))
        if next_wake(world.state) != float("inf"):
            world.now = max(world.now, next_wake(world.state))
            world.tell(Tick())
    assert world.state.over or not any(
        c.phase in WAITING or c.phase in (Phase.STARTING, Phase.DRAINING, Phase.STOPPING) for c in world.state.children
    )
