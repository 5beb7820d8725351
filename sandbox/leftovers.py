"""What a killed server can leave behind, and how the next one finds it.

Boxes die with their server, except in the first milliseconds: bubblewrap's child asks to die with its parent only after its parent told it to go on. So
every bubblewrap carries its server's identity in its environment, and a start ends those whose server is gone.

Process numbers mean something only in their own PID namespace: who looks from outside sees a container's bubblewraps, but by that number somebody else, or
nobody, and would take them for orphans. So the mark names the namespace as well, and every server minds its own.
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


def namespace() -> str:
    """Return what names this process's PID namespace."""
    return str(Path("/proc/self/ns/pid").readlink())


def marked_environment() -> dict[str, str]:
    """Return the environment in which this server starts bubblewrap."""
    return {_MARK: f"{namespace()}/{identity(os.getpid())}"}


def marked() -> Iterator[tuple[int, str]]:
    """Yield (pid, identity of its server) of every bubblewrap process that a server in this PID namespace started and that we may look at."""
    here = namespace()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # gone, or somebody else's
                for item in (folder / "environ").read_bytes().split(b"\0"):
                    key, _, value = item.decode(errors="replace").partition("=")
                    there, _, server = value.partition("/")
                    if key == _MARK and there == here:
                        yield int(folder.name), server


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
