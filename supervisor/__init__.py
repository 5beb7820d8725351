"""A supervision library for Trio: trees of actors that are restarted by a pure policy, and the mailboxes between them.

Here belongs what any program of actors needs: describing a tree, running it, restarting and stopping its parts, the
messages that survive that, and an operator's view of it (status, control socket, verbs of a command line). What the
actors do, and anything that knows an application's names, belongs elsewhere; nothing of ours is imported here.
"""

from supervisor.cli import add_verbs, make_app
from supervisor.client import request
from supervisor.context import Context
from supervisor.control import serve_control
from supervisor.delivery import Delivery, Quarantined
from supervisor.errors import (
    AskTimeout,
    ControlError,
    DidNotStart,
    EndOfInbox,
    IntensityExceeded,
    MailboxClosed,
    MailboxError,
    MailboxFull,
    MessageConflated,
    MessageQuarantined,
    NotAPool,
    NothingRunning,
    NotPossible,
    OperatorError,
    Refused,
    SpecError,
    StartTimeout,
    SupervisorError,
    UnknownPath,
    Wedged,
    WouldNotStop,
)
from supervisor.events import Event, Kind
from supervisor.mailbox import Address, Inbox, Mailbox, MailboxStatistics, Overflow
from supervisor.spec import Actor, Backoff, Intensity, Pool, Restart, Strategy, Supervisor
from supervisor.status import IntensityUse, QuarantinedRow, Row, StopReport, Stuck, TreeStatus
from supervisor.tree import Tree
from supervisor.watchdog import LoopWatch

__all__ = [
    "Actor",
    "Address",
    "AskTimeout",
    "Backoff",
    "Context",
    "ControlError",
    "Delivery",
    "DidNotStart",
    "EndOfInbox",
    "Event",
    "Inbox",
    "Intensity",
    "IntensityExceeded",
    "IntensityUse",
    "Kind",
    "LoopWatch",
    "Mailbox",
    "MailboxClosed",
    "MailboxError",
    "MailboxFull",
    "MailboxStatistics",
    "MessageConflated",
    "MessageQuarantined",
    "NotAPool",
    "NotPossible",
    "NothingRunning",
    "OperatorError",
    "Overflow",
    "Pool",
    "Quarantined",
    "QuarantinedRow",
    "Refused",
    "Restart",
    "Row",
    "SpecError",
    "StartTimeout",
    "StopReport",
    "Strategy",
    "Stuck",
    "Supervisor",
    "SupervisorError",
    "Tree",
    "TreeStatus",
    "UnknownPath",
    "Wedged",
    "WouldNotStop",
    "add_verbs",
    "make_app",
    "request",
    "serve_control",
]
