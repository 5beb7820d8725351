"""The restart policy: a pure table. `step(state, event, now, rng)` gives the next state and what is to be done.

No I/O and no Trio: the tree executes the actions and reports what happened as the next event.

Rule 1: `MOVES` names, for each phase of a child and each event, the one function that answers it. A pair that is not
        in the table changes nothing (an exit that was overtaken by another, an operator asking for what is the case).
Rule 2: those functions only say what is *wanted*. `_settle` then starts and stops, and is the only one that does:
        stopping in reverse order, starting in order, nothing starts while its group is still being stopped.
Rule 3: a restart after a crash counts against the intensity, at the time of the crash. What an operator asks for, and
        the restart of siblings that a strategy takes along, do not.
Rule 4: a child that was told to go is not restarted for the way in which it went; a fault (start timed out, wedged)
        is a crash although it ends by a cancel.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from supervisor.spec import Backoff, Intensity, Restart, Strategy
from supervisor.states import (
    ALIVE,
    ENDED,
    WAITING,
    Action,
    Add,
    ChildState,
    Do,
    Doom,
    Happened,
    Phase,
    PolicyEvent,
    Remove,
    Shutdown,
    State,
    Tick,
    What,
)


def backoff_s(backoff: Backoff, attempt: int, rng: random.Random) -> float:
    """Seconds to wait before restart number `attempt` (from 0) in a row, within [(1 - jitter) * first_s, cap_s].

    The power is only taken when it stays below the cap: 2.0 ** 1024 is an OverflowError, and attempts have no bound.
    """
    delay_s = backoff.cap_s
    if backoff.first_s == 0:
        delay_s = 0.0
    elif backoff.factor == 1 or attempt < math.log(backoff.cap_s / backoff.first_s, backoff.factor):
        delay_s = min(backoff.cap_s, backoff.first_s * backoff.factor**attempt)
    return delay_s * (1.0 - backoff.jitter * rng.random())


def next_wake(state: State) -> float:
    """When the next `Tick` is due; infinity when only an event can change anything."""
    if state.over:
        return math.inf
    times = [child.deadline for child in state.children if child.phase in ALIVE and not child.stuck]
    if not state.shutting_down:
        times += [c.not_before for c in state.children if c.phase in WAITING and not _blocked(state, c)]
    return min(times, default=math.inf)


def step(state: State, event: PolicyEvent, now: float, rng: random.Random) -> tuple[State, tuple[Action, ...]]:
    """Decide. Pure, apart from the numbers it draws from `rng`."""
    if state.over:
        return state, ()
    actions: list[Action] = []
    match event:
        case Happened(what, name):
            child = state.child(name)
            move = MOVES.get((child.phase, what)) if child is not None else None
            if child is not None and move is not None:
                state = move(state, child, _Moment(now, rng, what, actions))
        case Tick():
            state = _deadlines(state, now, actions)
        case Add():
            state = _add(state, event.children, now)
        case Remove():
            for name in event.children:
                child = state.child(name)
                if child is not None:
                    state = state.put(replace(_condemned(child, Doom.DRAIN, wanted=False), leaving=True))
        case Shutdown():
            children = tuple(_condemned(child, Doom.DRAIN, wanted=False) for child in state.children)
            state = replace(state, shutting_down=True, children=children)
    return _settle(state, now, actions)


@dataclass(frozen=True)
class _Moment:
    """What a move may look at besides the state, and where it puts what cannot wait for `_settle`."""

    now: float
    rng: random.Random
    what: What
    actions: list[Action]


# Moves: each answers one kind of event for one child


def _condemned(child: ChildState, doom: Doom, *, wanted: bool) -> ChildState:
    """The child is to go (if it is there), and afterwards to be up again or not."""
    if child.phase in WAITING:
        return child if wanted else replace(child, phase=Phase.STOPPED, wanted=False, attempt=0)
    if child.phase in ENDED:
        return child
    if child.doom is Doom.CANCEL:
        doom = Doom.CANCEL
    return replace(child, doom=doom, wanted=wanted)


def _ready(state: State, child: ChildState, moment: _Moment) -> State:
    return state.put(replace(child, phase=Phase.RUNNING, deadline=math.inf, running_since=moment.now))


def _ended(state: State, child: ChildState, moment: _Moment) -> State:
    """It went by itself, or for its own fault."""
    if child.doom is not None and child.fault is None:
        return _gone(state, child, moment)
    crashed = moment.what is not What.RETURNED or child.fault is not None
    again = child.restart is Restart.PERMANENT or (child.restart is Restart.TRANSIENT and crashed)
    if again and child.wanted and not state.shutting_down:
        return _restart_after_crash(state, child, moment)
    return state.put(_at_rest(child, Phase.FAILED if crashed else Phase.STOPPED))


def _gone(state: State, child: ChildState, _: _Moment) -> State:
    """It was told to go, and went."""
    return state.put(_at_rest(child, Phase.QUEUED if child.wanted else Phase.STOPPED))


def _at_rest(child: ChildState, phase: Phase) -> ChildState:
    return replace(child, phase=phase, doom=None, fault=None, deadline=math.inf, running_since=math.inf, stuck=False)


def _restart_after_crash(state: State, child: ChildState, moment: _Moment) -> State:
    now = moment.now
    restarts = (*(at for at in state.restarts if at > now - state.intensity.window_s), now)
    if len(restarts) > state.intensity.restarts:
        moment.actions.append(Action(Do.ESCALATE, child.name, _too_many(state.intensity)))
        return replace(state.put(_at_rest(child, Phase.FAILED)), over=True)
    healthy = now - child.running_since >= child.backoff.healthy_after_s
    attempt = 0 if healthy else child.attempt
    not_before = now + backoff_s(child.backoff, attempt, moment.rng)
    resting = replace(_at_rest(child, Phase.BACKING_OFF), attempt=attempt + 1, not_before=not_before)
    state = replace(state, restarts=restarts).put(replace(resting, in_order=state.strategy is not Strategy.ONE_FOR_ONE))
    return _take_along(state, child.name, Doom.CANCEL, not_before)


def _too_many(intensity: Intensity) -> str:
    return f"more than {intensity.restarts} restarts in {intensity.window_s:g} s"


def _take_along(state: State, name: str, doom: Doom, not_before: float) -> State:
    """The siblings that the strategy restarts together with `name`. Those at rest stay at rest."""
    names = [child.name for child in state.children]
    match state.strategy:
        case Strategy.ONE_FOR_ONE:
            group: list[str] = []
        case Strategy.REST_FOR_ONE:
            group = names[names.index(name) + 1 :]
        case Strategy.ONE_FOR_ALL:
            group = [other for other in names if other != name]
    for child in state.children:
        if child.name not in group or child.phase in ENDED:
            continue
        wanted = child.wanted and child.restart is not Restart.TEMPORARY
        child = replace(child, in_order=True, not_before=max(child.not_before, not_before))
        state = state.put(_condemned(child, doom, wanted=wanted))
    return state


def _start(state: State, child: ChildState, moment: _Moment) -> State:
    """An operator wants it up, now."""
    if state.shutting_down or child.leaving:
        return state
    if child.phase in ALIVE:
        return state.put(replace(child, wanted=True))
    return state.put(replace(child, phase=Phase.QUEUED, wanted=True, not_before=moment.now, attempt=0, in_order=False))


def _restart(state: State, child: ChildState, moment: _Moment) -> State:
    if state.shutting_down or child.leaving:
        return state
    doom = child.doom or Doom.DRAIN
    child = replace(child, not_before=moment.now, in_order=state.strategy is not Strategy.ONE_FOR_ONE, attempt=0)
    state = state.put(_condemned(child, doom, wanted=True))
    return _take_along(state, child.name, Doom.DRAIN, moment.now)


def _stop(state: State, child: ChildState, _: _Moment) -> State:
    return state.put(_condemned(child, Doom.CANCEL, wanted=False))


def _drain(state: State, child: ChildState, _: _Moment) -> State:
    return state.put(_condemned(child, Doom.DRAIN, wanted=False))


def _wedged(state: State, child: ChildState, _: _Moment) -> State:
    if child.doom is not None:
        return state
    return state.put(replace(child, doom=Doom.CANCEL, fault="wedged: messages wait and none was received"))


def _stuck_below(state: State, child: ChildState, _: _Moment) -> State:
    return state.put(replace(child, stuck=True))


Move = Callable[[State, ChildState, _Moment], State]

MOVES: Mapping[tuple[Phase, What], Move] = {
    (Phase.QUEUED, What.START): _start,
    (Phase.QUEUED, What.STOP): _stop,
    (Phase.QUEUED, What.DRAIN): _drain,
    (Phase.QUEUED, What.RESTART): _start,
    (Phase.STARTING, What.READY): _ready,
    (Phase.STARTING, What.RETURNED): _ended,
    (Phase.STARTING, What.CRASHED): _ended,
    (Phase.STARTING, What.CANCELLED): _ended,
    (Phase.STARTING, What.START): _start,
    (Phase.STARTING, What.STOP): _stop,
    (Phase.STARTING, What.DRAIN): _drain,
    (Phase.STARTING, What.RESTART): _restart,
    (Phase.RUNNING, What.RETURNED): _ended,
    (Phase.RUNNING, What.CRASHED): _ended,
    (Phase.RUNNING, What.CANCELLED): _ended,
    (Phase.RUNNING, What.WEDGED): _wedged,
    (Phase.RUNNING, What.START): _start,
    (Phase.RUNNING, What.STOP): _stop,
    (Phase.RUNNING, What.DRAIN): _drain,
    (Phase.RUNNING, What.RESTART): _restart,
    (Phase.DRAINING, What.RETURNED): _gone,
    (Phase.DRAINING, What.CRASHED): _gone,
    (Phase.DRAINING, What.CANCELLED): _gone,
    (Phase.DRAINING, What.STUCK_BELOW): _stuck_below,
    (Phase.DRAINING, What.START): _start,
    (Phase.DRAINING, What.STOP): _stop,
    (Phase.DRAINING, What.DRAIN): _drain,
    (Phase.DRAINING, What.RESTART): _restart,
    (Phase.STOPPING, What.RETURNED): _ended,
    (Phase.STOPPING, What.CRASHED): _ended,
    (Phase.STOPPING, What.CANCELLED): _ended,
    (Phase.STOPPING, What.STUCK_BELOW): _stuck_below,
    (Phase.STOPPING, What.START): _start,
    (Phase.STOPPING, What.STOP): _stop,
    (Phase.STOPPING, What.DRAIN): _drain,
    (Phase.STOPPING, What.RESTART): _restart,
    (Phase.BACKING_OFF, What.START): _start,
    (Phase.BACKING_OFF, What.STOP): _stop,
    (Phase.BACKING_OFF, What.DRAIN): _drain,
    (Phase.BACKING_OFF, What.RESTART): _start,
    (Phase.STOPPED, What.START): _start,
    (Phase.STOPPED, What.RESTART): _start,
    (Phase.FAILED, What.START): _start,
    (Phase.FAILED, What.RESTART): _start,
}


def _add(state: State, children: tuple[ChildState, ...], now: float) -> State:
    """New workers; one that is on its way out stays instead."""
    for new in children:
        old = state.child(new.name)
        if old is None:
            state = replace(state, children=(*state.children, replace(new, in_order=False)))
        elif old.leaving:
            state = state.put(replace(old, leaving=False, wanted=True, not_before=now, in_order=False))
    return state


# Settling: from what is wanted to what is done


def _deadlines(state: State, now: float, actions: list[Action]) -> State:
    for child in state.children:
        if child.phase not in ALIVE or child.stuck or now < child.deadline:
            continue
        match child.phase:
            case Phase.STARTING:
                fault = f"not ready within {child.start_timeout_s:g} s"
                child = replace(child, doom=child.doom or Doom.CANCEL, fault=fault if child.doom is None else None)
                child = replace(child, deadline=math.inf)
            case Phase.DRAINING:
                child = replace(child, doom=Doom.CANCEL)
            case Phase.STOPPING:
                child = replace(child, stuck=True)
                actions.append(Action(Do.REPORT_STUCK, child.name))
        state = state.put(child)
    return state


def _settle(state: State, now: float, actions: list[Action]) -> tuple[State, tuple[Action, ...]]:
    if state.over:
        return state, tuple(actions)
    state = replace(state, children=tuple(c for c in state.children if not (c.leaving and c.phase not in ALIVE)))
    for child in reversed(state.children):
        if child.doom is not None and child.phase in ALIVE:
            state = _end_if_its_turn(state, child, now, actions)
    for index in range(len(state.children)):
        child = state.children[index]
        if child.phase not in WAITING or state.shutting_down or now < child.not_before or _blocked(state, child):
            continue
        actions.append(Action(Do.START, child.name))
        starting = replace(child, phase=Phase.STARTING, deadline=now + child.start_timeout_s)
        state = state.put(replace(starting, running_since=math.inf))
    if state.shutting_down and not any(child.phase in ALIVE for child in state.children):
        actions.append(Action(Do.FINISH))
        state = replace(state, over=True)
    return state, tuple(actions)


def _end_if_its_turn(state: State, child: ChildState, now: float, actions: list[Action]) -> State:
    later = state.children[state.children.index(child) + 1 :]
    begun = child.phase in (Phase.DRAINING, Phase.STOPPING)
    if state.ordered and not begun and any(_is_leaving(other) for other in later):
        return state
    if child.doom is Doom.CANCEL and child.phase is not Phase.STOPPING:
        actions.append(Action(Do.CANCEL, child.name, child.fault))
        return state.put(replace(child, phase=Phase.STOPPING, deadline=now + child.unwind_s))
    if child.doom is Doom.DRAIN and not begun:
        actions.append(Action(Do.DRAIN, child.name))
        return state.put(replace(child, phase=Phase.DRAINING, deadline=now + child.grace_s))
    return state


def _is_leaving(child: ChildState) -> bool:
    return child.phase in ALIVE and child.doom is not None and not child.stuck


def _blocked(state: State, child: ChildState) -> bool:
    """Does it wait for siblings, not for time?"""
    if not (state.ordered and child.in_order):
        return False
    if any(other.phase in ALIVE and other.doom is not None for other in state.children):
        return True
    before = state.children[: state.children.index(child)]
    return any(other.phase in WAITING or other.phase is Phase.STARTING for other in before)
