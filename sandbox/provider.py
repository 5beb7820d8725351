"""The seam between judging and whatever makes boxes: bubblewrap now, containers later, one agent protocol in both.

A ``Box`` holds the files of one submission and runs programs one after another. Everything it reports is a fact from the kernel; verdicts are
``sandbox.judging``'s. A box that misbehaves raises ``SandboxBroken`` from whatever was asked of it and can only be closed.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from contracts.errors import CodeWarzError, Invalid, Unavailable

KIB, MIB = 1 << 10, 1 << 20


class SandboxBroken(CodeWarzError):
    """The agent died or broke the protocol. Destroy the box and judge again; it says nothing about the program."""

    code, status = "sandbox_broken", 500


class SandboxUnavailable(Unavailable):
    """No box can be made: what a sandbox needs is missing or forbidden here, or the pool is not running."""

    code = "sandbox_unavailable"


class RunLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one program may use. ``wall_ms`` counts only time in which the program did not wait for a busy machine's CPU; eight times that is the end."""

    cpu_ms: int = 1_000
    wall_ms: int = 5_000
    memory_kb: int = 256 * 1024
    processes: int = 64
    file_bytes: int = 8 * MIB  # any one file, and standard output
    open_files: int = 256
    stdout_bytes: int = 8 * MIB  # how much of the output is handed back
    stderr_bytes: int = 4 * KIB
    collect_bytes: int = 64 * KIB  # of each collected file
    address_space: bool = True  # fall back on RLIMIT_AS where no control group limits memory; wrong for a JVM, which reserves without using


class File(msgspec.Struct, frozen=True):
    """A file to be written before a run: ``path`` below ``/box`` or ``/tmp``."""

    path: str
    content: bytes
    mode: int = 0o644


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One program to run. ``merge`` sends standard output where errors go (a compiler's messages)."""

    argv: tuple[str, ...]
    limits: RunLimits
    env: dict[str, str] = {}
    cwd: str = "/tmp"  # noqa: S108 - inside the box, where it is a tmpfs of its own
    stdin: bytes = b""
    files: tuple[File, ...] = ()
    directories: tuple[str, ...] = ()
    collect: tuple[str, ...] = ()
    merge: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one run. Exactly one of ``exit_code``, ``signal`` and ``stopped`` ("cpu", "wall") says how it ended, besides ``oom``."""

    exit_code: int | None
    signal: int | None
    stopped: str
    oom: bool
    cpu_us: int
    wall_us: int
    memory_kb: int
    stdout: bytes
    stdout_size: int
    stderr: bytes
    collected: dict[str, bytes] = {}


class BoxLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole box may hold: its files live in memory."""

    box_bytes: int = 256 * MIB
    box_files: int = 16_384
    tmp_bytes: int = (
        256 * MIB
    )  # a validator's: input, answer and feedback of the largest test; a program's counts as its memory
    tmp_files: int = 4_096


class Box(Protocol):
    """One submission's sandbox."""

    async def run(self, command: Command) -> Outcome:
        """Run one program to its end and return the facts; the rest of the box is as before. SandboxBroken, also after a cancelled run."""
        ...

    async def put(self, file: File) -> None:
        """Write a file below ``/box``; it must not exist."""
        ...

    async def get(self, path: str, limit: int) -> bytes | None:
        """Read a regular file of at most ``limit`` bytes; None when there is none, or a larger one."""
        ...

    async def seal(self) -> None:
        """Make ``/box`` read-only for good: from now on no run can leave anything for the next."""
        ...

    async def close(self) -> None:
        """Destroy the box; returns when no process of it is left. Completes even when cancelled; may be called twice."""
        ...

    def is_alive(self) -> bool:
        """Whether its processes are still there."""
        ...


class Provider(Protocol):
    """Makes boxes."""

    async def open(self, limits: BoxLimits) -> Box:
        """Start a box and wait until its agent is ready.  SandboxUnavailable when that is impossible."""
        ...

    def clean_stale(self) -> int:
        """Remove what servers that were killed left behind; return how many things that was."""
        ...


def parse_url(url: str) -> str:
    """Return the kind of sandbox a ``CODEWARZ_SANDBOX`` setting asks for; Invalid for one that does not exist."""
    scheme = urlsplit(url).scheme
    if scheme != "bwrap":
        raise Invalid(f"CODEWARZ_SANDBOX={url!r} is not a sandbox this version knows: use bwrap://")
    return scheme
