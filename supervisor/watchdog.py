"""Liveness is progress, not a heartbeat: two detectors of being stuck.

A wedged actor: messages wait in its mailbox and it has received none for too long (`MailboxWatch`, in Trio, on the Trio
clock, without polling: it sleeps until the earliest time at which a mailbox could be wedged).

A blocked loop: something holds the Trio thread, so that no task runs at all (`LoopWatch`, an OS thread that watches a
tick). The only thread of this package, and optional: leave it out under simulation.
"""

import math
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from supervisor.events import EventLog, Kind
from supervisor.mailbox import Mailbox
from supervisor.node import Branch, Leaf, Node
from supervisor.spec import Pool
from supervisor.states import Happened, Phase, What


class MailboxWatch:
    """Finds actors and pools that do not read although messages wait."""

    def __init__(self) -> None:
        self._stirred = trio.Event()
        self._asleep = True
        self._wedged: dict[str, float] = {}
        """Path -> the Trio time since when, for those already reported."""

    def stir(self) -> None:
        """Messages wait where none waited before: look again when that may have become too long."""
        if self._asleep:
            self._stirred.set()

    def is_wedged(self, node: Node) -> bool:
        """Reported, and no progress since."""
        since = _stalled_since(node)
        return since is not None and self._wedged.get(node.path) == since

    async def run(self, root: Branch) -> None:
        """Watch until cancelled."""
        watched = [(node, after_s) for node in root.walk() if (after_s := _watched(node)[1]) is not None]
        watched = [(node, after_s) for node, after_s in watched if _watched(node)[0] is not None]
        for node, _ in watched:
            mailbox, _ = _watched(node)
            assert mailbox is not None
            mailbox.on_stir(self.stir)
        shortest_s = min((after_s for _, after_s in watched), default=math.inf)
        while True:
            due = min([self._look(node, after_s) for node, after_s in watched], default=math.inf)
            if due == math.inf:
                self._stirred, self._asleep = trio.Event(), True
                await self._stirred.wait()
                self._asleep = False
            # A busy mailbox is empty and not empty thousands of times a second. No stall that begins from now on can be
            # too long before this time, so none of that needs to wake anybody.
            await trio.sleep_until(min(due, trio.current_time() + shortest_s))

    def _look(self, node: Node, after_s: float) -> float:
        """Report it if it is wedged; else return when it would be."""
        since = _stalled_since(node)
        if since is None:
            return math.inf
        if self._wedged.get(node.path) == since:
            return trio.current_time() + after_s  # told already; but it may go on, and stall again without being empty
        if trio.current_time() < since + after_s:
            return since + after_s
        self._wedged[node.path] = since
        mailbox, _ = _watched(node)
        waiting = 0 if mailbox is None else mailbox.statistics().depth
        where = ", ".join(f"{leaf.name} at {leaf.waits_at()}" for leaf in node.leaves_alive())
        node.emit(Kind.WEDGED, f"{waiting} messages wait and none was received for {after_s:g} s; {where}")
        if isinstance(node, Leaf) and node.spec.restart_when_wedged and node.parent is not None:
            node.parent.apply(Happened(What.WEDGED, node.name))
        if isinstance(node, Branch) and isinstance(node.spec, Pool) and node.spec.restart_when_wedged:
            for leaf in list(node.leaves_alive()):
                node.apply(Happened(What.WEDGED, leaf.name))
        return trio.current_time() + after_s


def _watched(node: Node) -> tuple[Mailbox[Any] | None, float | None]:
    if isinstance(node, Leaf):
        return node.spec.mailbox, node.spec.wedged_after_s
    if isinstance(node, Branch) and isinstance(node.spec, Pool):
        return node.spec.mailbox, node.spec.wedged_after_s
    return None, None


def _stalled_since(node: Node) -> float | None:
    """Since when it could have received and did not; None when nothing waits or it is not running."""
    mailbox, _ = _watched(node)
    if mailbox is None or mailbox.stalled_since is None or node.parent is None:
        return None
    state = node.parent.state.child(node.name)
    if state is None or state.phase is not Phase.RUNNING:
        return None
    return max(mailbox.stalled_since, state.running_since)


class LoopWatch:
    """Says where the Trio thread is when it has not come back to its loop for `late_after_s` seconds.

    The watching thread hands the stack to `report` at once, because a loop that is blocked for ever never comes back;
    when it does come back, an event follows. `report` is called in that thread. `monotonic` gives seconds.
    """

    def __init__(
        self,
        log: EventLog,
        path: str,
        *,
        monotonic: Callable[[], float],
        report: Callable[[str], None],
        late_after_s: float = 1.0,
    ) -> None:
        self._log = log
        self._path = path
        self._monotonic = monotonic
        self._report = report
        self._late_after_s = late_after_s
        self._ticked = math.inf
        self._reported_tick = -math.inf
        self._over = threading.Event()
        # At most one stack for each tick that came late, and it is taken out by the next tick.
        self._stacks: deque[str] = deque(maxlen=4)
        self._watched_thread = 0

    async def run(self) -> None:
        """Tick, with the thread watching, until cancelled. To be run in the thread that is to be watched."""
        self._watched_thread = threading.get_ident()
        self._ticked = self._monotonic()
        thread = threading.Thread(target=self._watch, name=f"{self._path} loop watch", daemon=True)
        thread.start()
        try:
            while True:
                self._tick()
                await trio.sleep(self._late_after_s / 4)
        finally:
            self._over.set()
            thread.join()

    def _tick(self) -> None:
        before, self._ticked = self._ticked, self._monotonic()
        while self._stacks:
            detail = f"nothing else ran for {self._ticked - before:.2f} s"
            self._log.emit(Kind.LOOP_BLOCKED, self._path, detail=detail, traceback=self._stacks.popleft())

    def _watch(self) -> None:
        while not self._over.wait(self._late_after_s / 4):
            self.check()

    def check(self) -> None:
        """Look once whether the tick is late; each lateness is reported once."""
        ticked = self._ticked
        late_s = self._monotonic() - ticked
        if late_s < self._late_after_s or self._reported_tick == ticked:
            return
        self._reported_tick = ticked
        frame = sys._current_frames().get(self._watched_thread)  # noqa: SLF001  the documented way to see another thread
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "the thread is gone\n"
        self._stacks.append(stack)
        self._report(f"{self._path}: the loop is blocked for {late_s:.2f} s, here:\n{stack}")
