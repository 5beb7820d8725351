"""A supervision library for Trio: trees of actors that are restarted by a pure policy, and the mailboxes between them.

Here belongs what any program of actors needs: describing a tree, running it, restarting and stopping its parts, the
messages that survive that, and an operator's view of it (status, control socket, verbs of a command line). What the
actors do, and anything that knows an application's names, belongs elsewhere; nothing of ours is imported here.
"""

from supervisor.context import Context
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
