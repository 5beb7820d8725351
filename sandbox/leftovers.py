"""What a killed server can leave behind, and how the next one finds it.

Boxes die with their server, except in the first milliseconds: bubblewrap's child asks to die with its parent only after its parent told it to go on. So
every bubblewrap carries its server's identity in its environment, and a start ends those whose server is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_MARK = "CODEWARZ_BOX_OF"


def started(pid: int) -> str | None:
    """Return the start time of a process in clock ticks after boot, None when it does not exist: pids are used again, this pair is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def identity(pid: int) -> str:
    """Return what names a process for ever: pid and start time."""
    return f"{pid}.{started(pid)}"


def marked_environment() -> dict[str, str]:
    """Return the environment in which this server starts bubblewrap."""
    return {_MARK: identity(os.getpid())}


def marked() -> Iterator[tuple[int, str]]:
    """Yield (pid, identity of its server) of every bubblewrap process that a server of ours started and that we may look at."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # gone, or somebody else's
                for item in (folder / "environ").read_bytes().split(b"\0"):
                    key, _, value = item.partition(b"=")
                    if key == _MARK.encode():
                        yield int(folder.name), value.decode(errors="replace")


def end_orphans() -> int:
    """Kill the bubblewraps of servers that are gone; return how many."""
    ended = 0
    for pid, server in marked():
        owner = server.partition(".")[0]
        if owner.isdigit() and identity(int(owner)) != server:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                ended += 1
    return ended


def kill_family(parent: int) -> list[int]:
    """Kill a child of ours with all of its own children, none of which may have asked to die with it yet; return a pidfd of each of these.

    A child that is the init of a PID namespace is only over when everything in it is.
    """
    killed: list[int] = []
    with contextlib.suppress(ProcessLookupError):
        os.kill(parent, signal.SIGSTOP)  # so that it starts no more while we look
        os.waitid(os.P_PID, parent, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        for child in _children(parent):
            with contextlib.suppress(ProcessLookupError):
                killed.append(os.pidfd_open(child))
                os.kill(child, signal.SIGKILL)
        os.kill(parent, signal.SIGKILL)
    return killed


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
