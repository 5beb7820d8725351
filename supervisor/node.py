"""The tree at run time: leaves are actors, branches are supervisors and pools. They only execute what the policy says.

A branch reacts synchronously: whatever happens is put through `policy.step` and the actions are carried out at once, in
the task that reported it. Its own task only waits for timers, and to leave its nursery: by returning when all children
are gone, or by the exception that is an escalation.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import trio

from supervisor.context import Context
from supervisor.errors import IntensityExceeded
from supervisor.events import EventLog, Kind
from supervisor.frames import await_frame
from supervisor.incarnation import Exit, Incarnation
from supervisor.policy import next_wake, step
from supervisor.spec import Actor, Child, Pool, Strategy, Supervisor
from supervisor.states import (
    ALIVE,
    ENDED,
    WAITING,
    Action,
    ChildState,
    Do,
    Happened,
    Phase,
    PolicyEvent,
    Shutdown,
    State,
    Tick,
    What,
)
from supervisor.status import Stuck


@dataclass
class Surroundings:
    """What all nodes of one tree share."""

    rng: random.Random
    log: EventLog
    stir: Callable[[], None]
    """Tell the watchdog that there is something new to watch."""
    closing: bool = False
    """The tree is being shut down: what stops now stops for good."""


class Node:
    """A child of a branch (or the root): what stays of it from one incarnation to the next."""

    def __init__(self, path: str, name: str, parent: "Branch | None", around: Surroundings) -> None:
        self.path = path
        self.name = name
        self.parent = parent
        self.around = around
        self.incarnations = 0
        self.life: Incarnation | None = None
        self.last_exit: Exit | None = None
        self.last_error: str | None = None
        self.since = around.log.wall_clock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}#{self.incarnations} {self.phase}>"

    @property
    def phase(self) -> Phase:
        """Where it is in its life; the root has no parent to ask."""
        if self.parent is None:
            return Phase.STOPPED if self.life is None else Phase.RUNNING
        state = self.parent.state.child(self.name)
        if state is None or (state.phase in WAITING and self.parent.phase in ENDED):
            return Phase.STOPPED  # what never came up below one that has ended
        return state.phase

    def emit(self, kind: Kind, detail: str = "", traceback: str | None = None) -> None:
        """Record an event of the present incarnation."""
        self.around.log.emit(kind, self.path, incarnation=self.incarnations, detail=detail, traceback=traceback)

    def begin(self) -> Incarnation:
        """A new incarnation, not yet running."""
        self.incarnations += 1
        self.life = Incarnation(self.path, self.incarnations, self.body)
        self.prepare()
        self.emit(Kind.STARTED)
        return self.life

    def prepare(self) -> None:
        """Before an incarnation runs."""

    async def body(self, life: Incarnation) -> None:
        """What an incarnation does."""
        raise NotImplementedError

    def end(self, how: Exit) -> None:
        """After an incarnation has ended, whichever way."""
        self.life = None
        self.last_exit = how
        if how.error is not None:
            self.last_error = how.summary
            self.emit(Kind.CRASHED, how.summary, how.traceback)
        else:
            self.emit(Kind.RETURNED if how.how is What.RETURNED else Kind.CANCELLED)

    def drain(self) -> None:
        """Ask the present incarnation to finish."""
        if self.life is not None:
            self.life.drain()

    def close_mailbox(self, reason: str) -> None:
        """It will not receive again."""

    def leaves_alive(self) -> "Iterator[Leaf]":
        """The actors at or below here that have not gone."""
        raise NotImplementedError


class Leaf(Node):
    """An actor, or a worker of a pool."""

    def __init__(self, spec: Actor, path: str, parent: "Branch", around: Surroundings) -> None:
        super().__init__(path, spec.name, parent, around)
        self.spec = spec
        self.owns_mailbox = not isinstance(parent.spec, Pool)
        self._inbox = None if spec.mailbox is None else spec.mailbox.open_inbox()

    def prepare(self) -> None:
        """A fresh inbox; a mailbox that was closed when the actor ended takes messages again."""
        if self.spec.mailbox is not None:
            if self.owns_mailbox:
                self.spec.mailbox.reopen()
            self._inbox = self.spec.mailbox.open_inbox(self._ready)

    async def body(self, life: Incarnation) -> None:
        """Call the actor's function with its context."""
        context = Context(self.path, life.number, self._inbox, life.draining, self._ready)
        if self.spec.ready_at_start:
            self._ready()
        await self.spec.run(context)

    def _ready(self) -> None:
        assert self.parent is not None
        if self.phase is Phase.STARTING:
            self.emit(Kind.READY)
            self.parent.apply(Happened(What.READY, self.name))
            if self.spec.mailbox is not None and self.spec.mailbox.waiting:
                self.around.stir()

    def drain(self) -> None:
        """The inbox ends with the wish to finish."""
        super().drain()
        if self._inbox is not None:
            self._inbox.end()

    def end(self, how: Exit) -> None:
        """What it held goes back to its mailbox; a message that did this twice is set aside."""
        super().end(how)
        if self._inbox is None:
            return
        if how.how is What.RETURNED:
            self._inbox.done()
        crash = how.summary if how.how is What.CRASHED and not how.uncounted else None
        for message in self._inbox.release(crash=crash):
            self.emit(Kind.QUARANTINED, f"{message.text} crashed it {message.crashes} times: {message.error}")
        if self.around.closing:
            self.close_mailbox("the tree is being shut down")

    def close_mailbox(self, reason: str) -> None:
        """Senders learn that nobody will read."""
        if self.spec.mailbox is not None and self.owns_mailbox:
            self.spec.mailbox.close(reason)

    def leaves_alive(self) -> "Iterator[Leaf]":
        """Itself, if it has not gone."""
        if self.life is not None:
            yield self

    def waits_at(self) -> str | None:
        """Where its main task waits."""
        return None if self.life is None else await_frame(self.life.task)


class Branch(Node):
    """A supervisor or a pool."""

    def __init__(self, spec: Supervisor | Pool, path: str, parent: "Branch | None", around: Surroundings) -> None:
        super().__init__(path, spec.name, parent, around)
        self.spec = spec
        self.size = spec.size if isinstance(spec, Pool) else len(spec.children)
        self.nodes: dict[str, Node] = {}
        self.changed = trio.Event()
        self.on_ready: Callable[[], None] | None = None
        self.state = self._fresh_state()
        self._nursery: trio.Nursery | None = None
        self._wake = trio.Event()
        self._pending: deque[PolicyEvent] = deque()
        self._applying = False
        self._escalation: Action | None = None
        self._said_stuck = False

    def _fresh_state(self) -> State:
        spec = self.spec
        pool = isinstance(spec, Pool)
        children: tuple[Child, ...] = (
            tuple(spec.actor(n) for n in range(1, self.size + 1)) if isinstance(spec, Pool) else spec.children
        )
        for child in children:
            self.node(child)
        strategy = Strategy.ONE_FOR_ONE if isinstance(spec, Pool) else spec.strategy
        return State(tuple(child_state(child) for child in children), strategy, spec.limit, ordered=not pool)

    def node(self, child: Child) -> Node:
        """What stays of a child; made when it is first named."""
        if child.name not in self.nodes:
            path = f"{self.path}/{child.name}"
            if isinstance(child, Actor):
                self.nodes[child.name] = Leaf(child, path, self, self.around)
            else:
                self.nodes[child.name] = Branch(child, path, self, self.around)
        return self.nodes[child.name]

    @property
    def open(self) -> bool:
        """It has an incarnation that takes requests."""
        return self._nursery is not None and not self.state.over and not self.state.shutting_down

    def prepare(self) -> None:
        """Forget what the last incarnation decided."""
        self.state = self._fresh_state()
        self._escalation = None
        self._said_stuck = False
        if isinstance(self.spec, Pool) and self.spec.mailbox is not None:
            self.spec.mailbox.reopen()

    async def body(self, life: Incarnation) -> None:
        """Keep the children as the policy wants them, until told to drain or until it is too much."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.apply(Shutdown() if life.draining.is_set() else Tick())
                while not self.state.over:
                    with trio.move_on_at(next_wake(self.state)):
                        await self._wake.wait()
                    if not self._wake.is_set():
                        self.apply(Tick())
                    self._wake = trio.Event()
                if self._escalation is not None:
                    raise self._too_much(self._escalation)
        finally:
            self._nursery = None
            self._settle_phases()

    def _too_much(self, escalation: Action) -> IntensityExceeded:
        child = self.nodes[escalation.child]
        detail = f"{escalation.reason}, the last one of {child.path}: {child.last_error or 'it returned'}"
        self.emit(Kind.ESCALATED, detail)
        error = IntensityExceeded(f"{self.path}: {detail}")
        error.__cause__ = child.last_exit.error if child.last_exit is not None else None
        return error

    def _settle_phases(self) -> None:
        """The nursery is closed, so nothing below is alive, whatever was last decided about it."""
        children = tuple(
            child if child.phase in ENDED else replace(child, phase=Phase.STOPPED, doom=None, stuck=False)
            for child in self.state.children
        )
        self.state = replace(self.state, children=children, over=True)
        self.announce()

    def end(self, how: Exit) -> None:
        """A pool's mailbox is its own."""
        super().end(how)
        if self.around.closing:
            self.close_mailbox("the tree is being shut down")

    def close_mailbox(self, reason: str) -> None:
        """For all below."""
        for node in self.nodes.values():
            node.close_mailbox(reason)
        if isinstance(self.spec, Pool) and self.spec.mailbox is not None:
            self.spec.mailbox.close(reason)

    def drain(self) -> None:
        """End the children in reverse order, each with its grace."""
        super().drain()
        self.apply(Shutdown())

    # Deciding and doing

    def apply(self, event: PolicyEvent) -> None:
        """Put an event through the policy and carry out what it says."""
        if self._nursery is None:
            return
        self._pending.append(event)
        if self._applying:
            return
        self._applying = True
        try:
            while self._pending:
                before = self.state
                self.state, actions = step(before, self._pending.popleft(), trio.current_time(), self.around.rng)
                self._note_changes(before)
                for action in actions:
                    self._execute(action)
        finally:
            self._applying = False
        self.announce()

    def announce(self) -> None:
        """Wake whoever waits for a change here, and tell the parent what it waits for."""
        self._wake.set()
        self.changed.set()
        self.changed = trio.Event()
        is_up = self.state.at_rest() and self._escalation is None  # one that gives up is at rest, and not up
        if self.on_ready is not None and is_up:
            ready, self.on_ready = self.on_ready, None
            ready()
        elif self.parent is not None and self.phase is Phase.STARTING and is_up and self._nursery:
            self.emit(Kind.READY)
            self.parent.apply(Happened(What.READY, self.name))
        if self.state.shutting_down and not self._said_stuck and self.held_up():
            self._said_stuck = True
            if self.parent is not None:
                self.parent.apply(Happened(What.STUCK_BELOW, self.name))

    def held_up(self) -> bool:
        """Nothing is alive but what would not stop."""
        alive = [child for child in self.state.children if child.phase in ALIVE]
        return bool(alive) and all(child.stuck for child in alive)

    def _note_changes(self, before: State) -> None:
        now = self.around.log.wall_clock()
        for child in self.state.children:
            old = before.child(child.name)
            if old is not None and old.phase is child.phase:
                continue
            if child.name not in self.nodes:
                assert isinstance(self.spec, Pool)
                self.node(self.spec.actor(int(child.name)))
            node = self.nodes[child.name]
            node.since = now
            if child.phase is Phase.BACKING_OFF:
                node.emit(Kind.BACKING_OFF, f"restart in {child.not_before - trio.current_time():.2g} s")
            elif child.phase is Phase.FAILED:
                node.emit(Kind.FAILED, node.last_error or "")
            if child.phase in ENDED and child.wanted:
                node.close_mailbox("its actor has ended for good")

    def _execute(self, action: Action) -> None:
        if action.do in (Do.ESCALATE, Do.FINISH):
            self._escalation = action if action.do is Do.ESCALATE else None
            return
        node = self.nodes[action.child]
        match action.do:
            case Do.START:
                assert self._nursery is not None
                assert node.life is None, f"{node.path}: the old incarnation is not gone"
                life = node.begin()
                self._nursery.start_soon(self._live, node, life, name=f"{life.path}#{life.number} (life)")
            case Do.DRAIN:
                node.emit(Kind.DRAINING)
                node.drain()
            case Do.CANCEL:
                node.emit(Kind.STOPPING, action.reason or "")
                if node.life is not None:
                    node.life.cancel(action.reason)
            case Do.REPORT_STUCK:
                for leaf in node.leaves_alive():
                    leaf.emit(Kind.WOULD_NOT_STOP, f"it waits at {leaf.waits_at()}")

    async def _live(self, node: Node, life: Incarnation) -> None:
        ended: list[Exit] = []

        def gone(how: Exit) -> None:
            node.end(how)
            ended.append(how)

        await life.run(gone)
        # When this branch itself is being cancelled there is nothing left to decide.
        if trio.current_effective_deadline() != -math.inf:
            self.apply(Happened(ended[0].how, node.name))

    def leaves_alive(self) -> Iterator[Leaf]:
        """The actors below that have not gone."""
        for node in self.nodes.values():
            yield from node.leaves_alive()

    def stuck(self) -> tuple[Stuck, ...]:
        """Those that would not stop."""
        return tuple(Stuck(leaf.path, leaf.waits_at()) for leaf in self.leaves_alive())

    def walk(self) -> Iterator[Node]:
        """This branch and all below, in tree order."""
        yield self
        for child in self.state.children:
            node = self.nodes[child.name]
            if isinstance(node, Branch):
                yield from node.walk()
            else:
                yield node


def child_state(spec: Child) -> ChildState:
    """A child as the policy sees it. A branch has no deadlines of its own: its children have."""
    if isinstance(spec, Actor):
        return ChildState(spec.name, spec.restart, spec.backoff, spec.grace_s, spec.start_timeout_s, spec.unwind_s)
    return ChildState(spec.name, spec.restart, spec.backoff, math.inf, math.inf, unwind_s(spec))


def unwind_s(spec: Child) -> float:
    """How long a cancelled child may take: all below are cancelled at once, so as long as the slowest."""
    if isinstance(spec, Actor | Pool):
        return spec.unwind_s
    return max((unwind_s(child) for child in spec.children), default=0.0) + 1.0
