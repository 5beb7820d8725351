"""One life of a child: an inner nursery in a cancel scope of its own. When `run` has returned, it is provably gone."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from traceback import format_exception

import trio

from supervisor.errors import EndOfInbox, MailboxClosed, StartTimeout, Wedged
from supervisor.states import What


@dataclass(frozen=True)
class Exit:
    """How a life ended. `uncounted`: what was in flight goes back without blaming it for the end."""

    how: What
    error: Exception | None
    uncounted: bool

    @property
    def traceback(self) -> str | None:
        """The whole traceback with its causes, as text."""
        return None if self.error is None else "".join(format_exception(self.error))

    @property
    def summary(self) -> str:
        """The error in one line."""
        return "" if self.error is None else one_line(self.error)


def one_line(error: BaseException) -> str:
    """An error as one line: its type and the first line of what it says, or what it is a group of."""
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, BaseExceptionGroup):
        text = "; ".join(one_line(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Incarnation:
    """Runs `body` once. Told to go by `drain` (a wish) or `cancel` (an order); neither waits."""

    def __init__(self, path: str, number: int, body: Callable[["Incarnation"], Awaitable[None]]) -> None:
        self.path = path
        self.number = number
        self.draining = trio.Event()
        self.task: trio.lowlevel.Task | None = None
        self.tree_is_ending = False
        self._body = body
        self._scope = trio.CancelScope()
        self._fault: Exception | None = None

    def __repr__(self) -> str:
        return f"<Incarnation {self.path}#{self.number}>"

    def drain(self) -> None:
        """Ask it to finish."""
        self.draining.set()

    def cancel(self, fault: str | None) -> None:
        """Cancel its scope. With a fault the end counts as a crash, of that."""
        if fault is not None:
            kind = Wedged if fault.startswith("wedged") else StartTimeout
            self._fault = kind(f"{self.path}: {fault}{'' if kind is Wedged else HOW_TO_BE_READY}")
        self._scope.cancel(reason=fault or "told to stop by its supervisor")

    async def run(self, gone: Callable[[Exit], None]) -> None:
        """Live, then call `gone` with how it ended. Raises only a cancellation from above and non-`Exception`s."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._main, name=f"{self.path}#{self.number}")
        except BaseException as exc:
            ours, foreign = _split(exc)
            gone(self._exit(ours, cancelled=foreign is not None))
            if foreign is exc:
                raise
            if foreign is not None:
                raise foreign from None
        else:
            gone(self._exit(None, cancelled=self._scope.cancelled_caught))

    async def _main(self) -> None:
        self.task = trio.lowlevel.current_task()
        await self._body(self)

    def _exit(self, error: Exception | None, *, cancelled: bool) -> Exit:
        if self._fault is not None and (cancelled or error is not None):
            if error is not None:
                self._fault.__cause__ = error
            return Exit(What.CRASHED, self._fault, uncounted=False)
        if error is None or ((self.draining.is_set() or self.tree_is_ending) and _is_farewell(error)):
            how = What.CANCELLED if cancelled or (error is not None and not _is_end_of_inbox(error)) else What.RETURNED
            return Exit(how, None, uncounted=how is What.CANCELLED)
        return Exit(What.CRASHED, error, uncounted=cancelled or self._scope.cancel_called)


HOW_TO_BE_READY = ": call ctx.ready(), receive from the inbox, or declare ready_at_start=True"


def _split(exc: BaseException) -> tuple[Exception | None, BaseException | None]:
    """What the actor raised, and what is not for a supervisor to hold: cancellation from above, KeyboardInterrupt…"""
    if not isinstance(exc, BaseExceptionGroup):
        return (exc, None) if isinstance(exc, Exception) else (None, exc)
    ours, foreign = exc.split(Exception)
    return (_unwrap(ours) if ours is not None else None), foreign


def _unwrap(error: Exception) -> Exception:
    """A group of one is the nursery's wrapping, not news."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_end_of_inbox(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(_is_end_of_inbox(inner) for inner in error.exceptions)
    return isinstance(error, EndOfInbox)


def _is_farewell(error: Exception) -> bool:
    """Leaving a drained actor by one of these is how one may leave."""
    if isinstance(error, ExceptionGroup):
        return all(_is_farewell(inner) for inner in error.exceptions)
    return isinstance(error, EndOfInbox | MailboxClosed)
