"""Turns a living tree into its frozen status."""

import trio

from supervisor.events import EventLog
from supervisor.mailbox import Mailbox
from supervisor.node import Branch, Leaf, Node
from supervisor.spec import Pool
from supervisor.states import ChildState, Phase, What
from supervisor.status import IntensityUse, QuarantinedRow, Row, TreeStatus
from supervisor.watchdog import MailboxWatch


def snapshot(root: Branch, log: EventLog, watch: MailboxWatch, newest_events: int) -> TreeStatus:
    """The whole tree as it is now."""
    rows = tuple(_row(node, root.path, watch) for node in root.walk())
    return TreeStatus(root.name, rows[0].state, log.wall_clock(), rows, log.newest(newest_events))


def _row(node: Node, root_path: str, watch: MailboxWatch) -> Row:
    mailbox = _mailbox(node)
    state = None if node.parent is None else node.parent.state.child(node.name)
    backing_off = state is not None and state.phase is Phase.BACKING_OFF
    branch = node if isinstance(node, Branch) else None
    pool = node.spec if isinstance(node, Branch) and isinstance(node.spec, Pool) else None
    return Row(
        path=node.path,
        name=node.name,
        level=node.path.count("/") - root_path.count("/"),
        kind=_kind(node),
        state=_root_state(node) if node.parent is None else _shown(node, state),
        since=node.since,
        incarnation=node.incarnations,
        restarts=max(0, node.incarnations - 1),
        mailbox=None if mailbox is None else mailbox.statistics(),
        quarantined=()
        if mailbox is None
        else tuple(QuarantinedRow(q.text, q.crashes, q.error) for q in mailbox.quarantined()),
        waits_at=node.waits_at() if isinstance(node, Leaf) else None,
        last_error=node.last_error,
        next_start_in_s=max(0.0, state.not_before - trio.current_time()) if state is not None and backing_off else None,
        wedged=watch.is_wedged(node),
        stuck=state is not None and state.stuck,
        strategy=None if branch is None or pool is not None else branch.state.strategy.value,
        intensity=None if branch is None else _intensity(branch),
        size=None if pool is None or branch is None else branch.size,
        most=None if pool is None else pool.most,
    )


def _shown(node: Node, state: ChildState | None) -> str:
    """The phase in a word; one that returned by itself is not one that somebody stopped."""
    returned = node.last_exit is not None and node.last_exit.how is What.RETURNED
    is_finished = node.phase is Phase.STOPPED and state is not None and state.wanted and returned
    return "finished" if is_finished else node.phase.value


def _mailbox(node: Node) -> Mailbox[object] | None:
    """A worker's mailbox is its pool's and is shown there, once."""
    if isinstance(node, Leaf):
        return node.spec.mailbox if node.owns_mailbox else None
    return node.spec.mailbox if isinstance(node, Branch) and isinstance(node.spec, Pool) else None


def _kind(node: Node) -> str:
    if isinstance(node, Leaf):
        return "actor" if node.owns_mailbox else "worker"
    return "pool" if isinstance(node, Branch) and isinstance(node.spec, Pool) else "supervisor"


def _root_state(root: Node) -> str:
    if root.life is None or not isinstance(root, Branch):
        return Phase.STOPPED.value
    if root.state.shutting_down:
        return Phase.DRAINING.value
    return Phase.STARTING.value if root.on_ready is not None else Phase.RUNNING.value


def _intensity(branch: Branch) -> IntensityUse:
    limit = branch.state.intensity
    since = trio.current_time() - limit.window_s
    return IntensityUse(sum(at > since for at in branch.state.restarts), limit.restarts, limit.window_s)
