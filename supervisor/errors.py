"""Every error of this package, so that a caller can see in one place what may go wrong and whose fault it is.

What an application may meet derives from `SupervisorError`. Errors of the person who asked (an unknown path, a worker
count out of range) are `OperatorError`s: nothing has happened, and the text says what to do instead.
"""


class SupervisorError(Exception):
    """Base of all errors raised here."""


class SpecError(SupervisorError, ValueError):
    """A tree was described wrongly; raised while it is being described, before anything runs."""


# Mailboxes


class MailboxError(SupervisorError):
    """A message could not be delivered."""


class MailboxFull(MailboxError):
    """The mailbox is at its bound. The message was not taken: nothing has happened."""


class MailboxClosed(MailboxError):
    """The actor has ended for good, or the tree is being shut down; it will not receive again."""


class MessageConflated(MailboxError):
    """A newer message took the place of this one before it was received, as the `conflate` policy promises."""


class MessageQuarantined(MailboxError):
    """The message crashed its actor twice and was set aside. Its effect is unknown."""


class AskTimeout(MailboxError):
    """No answer before the deadline. The message may have had its effect, or may still have it."""


class EndOfInbox(SupervisorError):
    """The actor is being drained and gets no more messages: finish and return.

    Not an error. Leaving `run` with it counts as a normal return.
    """


# Lives


class StartTimeout(SupervisorError):
    """An actor did not say that it is ready in time."""


class Wedged(SupervisorError):
    """An actor was restarted because messages were waiting and it received none."""


class IntensityExceeded(SupervisorError):
    """A supervisor gave up: more restarts in its window than allowed. Its cause is the last crash."""


# What an operator asked for


class OperatorError(SupervisorError):
    """The answer to an operator's request is no; the text says what to do instead."""


class UnknownPath(OperatorError):
    """There is nothing of that name in the tree."""


class NotAPool(OperatorError):
    """Only pools can be scaled."""


class NotPossible(OperatorError):
    """The request makes no sense for that child, or in its present state."""


class DidNotStart(OperatorError):
    """The request was carried out, but the child did not come up."""


class WouldNotStop(OperatorError):
    """The child was cancelled and is still there; the text says where it waits."""


# Control socket


class ControlError(SupervisorError):
    """The control socket cannot be served, or did not answer as agreed."""


class NothingRunning(ControlError):
    """Nobody listens on the control socket."""


class Refused(ControlError):
    """The other side understood the request and answered no. `kind` is the name of the error over there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
