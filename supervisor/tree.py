"""The tree as its owner sees it: run it, look at it, ask something of a part of it, end it."""

import random
from collections.abc import Callable

import trio

from supervisor.errors import DidNotStart, NotAPool, NotPossible, UnknownPath, WouldNotStop
from supervisor.events import Event, EventLog, Kind
from supervisor.incarnation import Exit
from supervisor.node import Branch, Node, Surroundings, child_state
from supervisor.snapshot import snapshot
from supervisor.spec import Pool, Supervisor, mailboxes
from supervisor.states import ALIVE, ENDED, Add, Happened, Phase, Remove, Shutdown, What
from supervisor.status import StopReport, TreeStatus
from supervisor.watchdog import MailboxWatch

STATUS_EVENTS = 32


class Tree:
    """A described tree, brought to life by `run`.

    `rng` gives the jitter, `wall_clock` (seconds since the epoch) only stamps events; all waiting is on the Trio clock.
    `on_event` gets each event as it happens, in the Trio thread; it must not raise. Paths may be written with or
    without the name of the root.
    """

    def __init__(
        self,
        root: Supervisor,
        *,
        rng: random.Random,
        wall_clock: Callable[[], float],
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.log = EventLog(wall_clock, on_event)
        self._watch = MailboxWatch()
        self._around = Surroundings(rng, self.log, self._watch.stir)
        self._root = Branch(root, root.name, None, self._around)
        self._running = False

    def __repr__(self) -> str:
        return f"<Tree {self._root.name} {'running' if self._running else 'not running'}>"

    async def run(self, *, task_status: trio.TaskStatus["Tree"] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `shutdown`. Started when the whole tree is ready.

        Raises `IntensityExceeded` when the root gives up; its cause is the last crash. A tree may be run again later.
        """
        if self._running:
            raise NotPossible(f"the tree {self._root.name!r} is running already")
        self._running, self._around.closing = True, False
        ended: list[Exit] = []

        def gone(how: Exit) -> None:
            self._root.end(how)
            ended.append(how)
            self._root.announce()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch.run, self._root, name=f"{self._root.name} mailbox watch")
                self._root.on_ready = lambda: self._started(task_status)
                life = self._root.begin()
                await life.run(gone)
                nursery.cancel_scope.cancel()
        finally:
            self._running = False
            for mailbox in mailboxes(self._root.spec):
                mailbox.close("the tree has ended")
        if ended[0].error is not None:
            raise ended[0].error

    def _started(self, task_status: trio.TaskStatus["Tree"]) -> None:
        self._root.emit(Kind.READY)
        task_status.started(self)

    def status(self) -> TreeStatus:
        """The present state of everything, with the newest events."""
        return snapshot(self._root, self.log, self._watch, STATUS_EVENTS)

    # Requests of an operator. Each returns when it is carried out.

    async def restart(self, path: str) -> None:
        """Drain it, and those that its supervisor's strategy takes along, and start it again. Free of intensity.

        During a backoff it starts at once; stopped, it is started. Raises `UnknownPath`, `NotPossible`,
        `WouldNotStop`, `DidNotStart`.
        """
        branch, node = self._child(path)
        await self._up(branch, node, What.RESTART, node.incarnations + 1)

    async def start(self, path: str) -> None:
        """Start it if it is stopped, has failed or is backing off. Raises as `restart`."""
        branch, node = self._child(path)
        await self._up(branch, node, What.START, max(1, node.incarnations + (node.phase not in ALIVE)))

    async def stop(self, path: str) -> None:
        """Cancel it now and keep it down; messages in hand go back. Raises `UnknownPath`, `NotPossible`, `WouldNotStop`."""
        await self._down(path, What.STOP)

    async def drain(self, path: str) -> None:
        """Let it finish what it has in hand, within its grace, and keep it down. Raises as `stop`."""
        await self._down(path, What.DRAIN)

    async def scale(self, path: str, n: int) -> None:
        """Give a pool `n` workers. Raises `UnknownPath`, `NotAPool`, `NotPossible`."""
        node = self._find(path)
        if not isinstance(node, Branch) or not isinstance(node.spec, Pool):
            pools = [n.path for n in self._root.walk() if isinstance(n, Branch) and isinstance(n.spec, Pool)]
            raise NotAPool(f"{node.path} is no pool, so it cannot be scaled. Pools here: {', '.join(pools) or 'none'}")
        spec = node.spec
        if not 0 <= n <= spec.most:
            raise NotPossible(f"{node.path} can have 0 to {spec.most} workers, not {n}")
        self.log.emit(Kind.SCALED, node.path, detail=f"{node.size} -> {n}")
        node.size = n
        if not node.open:
            return  # it will start with so many
        there = [child.name for child in node.state.children if not child.leaving]
        wanted = [str(number) for number in range(1, n + 1)]
        node.apply(Add(tuple(child_state(spec.actor(int(name))) for name in wanted if name not in there)))
        node.apply(Remove(tuple(name for name in there if name not in wanted)))
        while node.state.leaving() or not node.state.at_rest():
            await node.changed.wait()

    async def shutdown(self) -> StopReport:
        """End everything in reverse start order, each child with its grace, and say who would not stop.

        After a clean report `run` returns. After one that is not it cannot: a nursery is not left before its tasks.
        """
        began = trio.current_time()
        root = self._root
        if not self._around.closing:
            self.log.emit(Kind.SHUTDOWN, root.path)
        self._around.closing = True
        for leaf in root.leaves_alive():
            if leaf.life is not None:
                leaf.life.tree_is_ending = True
        if root.life is not None:
            root.life.drain()
        root.apply(Shutdown())
        while root.life is not None and not root.held_up():
            await root.changed.wait()
        stuck = root.stuck()
        return StopReport(clean=not stuck, took_s=trio.current_time() - began, stuck=stuck)

    # How requests are carried out

    async def _up(self, branch: Branch, node: Node, what: What, incarnation: int) -> None:
        self._request(branch, node, what)
        while True:
            if node.incarnations >= incarnation and node.phase is Phase.RUNNING:
                return
            state = branch.state.child(node.name)
            if not branch.open or state is None:
                raise DidNotStart(f"{node.path}: its supervisor {branch.path} ended meanwhile")
            if state.stuck:
                raise self._would_not_stop(node)
            if node.incarnations >= incarnation and node.phase in (*ENDED, Phase.BACKING_OFF):
                if node.phase is Phase.STOPPED and state.wanted:
                    return  # it started, did what it had to do, and returned
                raise DidNotStart(f"{node.path} is {node.phase.value.replace('_', ' ')} after {node.last_error}")
            await branch.changed.wait()

    async def _down(self, path: str, what: What) -> None:
        branch, node = self._child(path)
        self._request(branch, node, what)
        while True:
            state = branch.state.child(node.name)
            if state is None or state.phase in ENDED:
                return
            if state.stuck:
                raise self._would_not_stop(node)
            if state.wanted:
                raise NotPossible(f"{node.path} was started again meanwhile, by somebody else's request")
            await branch.changed.wait()

    def _request(self, branch: Branch, node: Node, what: What) -> None:
        if not branch.open:
            hint = "the tree is ending" if self._around.closing else f"start {branch.path} first"
            raise NotPossible(f"{branch.path}, the supervisor of {node.path}, is not running: {hint}")
        node.emit(Kind.OPERATOR, what.value)
        branch.apply(Happened(what, node.name))

    def _would_not_stop(self, node: Node) -> WouldNotStop:
        waits = ", ".join(f"{leaf.path} at {leaf.waits_at()}" for leaf in node.leaves_alive())
        return WouldNotStop(
            f"{node.path} was cancelled and is still there; waiting: {waits}. Only its process can end it"
        )

    def _child(self, path: str) -> tuple[Branch, Node]:
        node = self._find(path)
        if node.parent is None:
            raise NotPossible(
                f"{node.path} is the root, which has no supervisor: ask for its children, or end the process"
            )
        return node.parent, node

    def _find(self, path: str) -> Node:
        names = path.strip("/").split("/")
        if names[0] == self._root.name:
            names = names[1:]
        node: Node = self._root
        for name in names:
            children = (
                {child.name: node.nodes[child.name] for child in node.state.children}
                if isinstance(node, Branch)
                else {}
            )
            if name not in children:
                known = f"it has {', '.join(children)}" if children else "it has no children"
                raise UnknownPath(f"there is no {name!r} in {node.path}: {known}")
            node = children[name]
        return node
