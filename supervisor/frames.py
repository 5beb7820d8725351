"""Where a task waits right now, in words: the first question about anything that is stuck."""

from pathlib import PurePath
from types import FrameType

import trio

MACHINERY = ("trio", "outcome", "supervisor")


def await_frame(task: trio.lowlevel.Task | None) -> str | None:
    """The innermost frame of the task that is the actor's own code, as "folder/file:line function"."""
    if task is None:
        return None
    innermost: tuple[FrameType, int] | None = None
    own: tuple[FrameType, int] | None = None
    for frame, line in task.iter_await_frames():
        innermost = (frame, line)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in MACHINERY:
            own = innermost
    found = own or innermost
    return None if found is None else describe(*found)


def describe(frame: FrameType, line: int) -> str:
    """A frame as "folder/file:line function"."""
    code = frame.f_code
    return f"{'/'.join(PurePath(code.co_filename).parts[-2:])}:{line} {code.co_qualname}"
