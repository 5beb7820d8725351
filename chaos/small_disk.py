"""A small filesystem of its own, in memory, to be filled to the last byte. Only root may mount one."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

SIZE_MB = 256  # PostgreSQL's data takes 40 MB, its log 16 MB a piece
CHUNK = 1 << 20
_FILLER = "filler"


class CannotMount(Exception):
    """This machine gives us no filesystem; the text says why."""


def mount(folder: Path) -> None:
    """Mount one at ``folder``, which is made; CannotMount with the reason."""
    if os.geteuid() != 0:
        raise CannotMount("mounting a small filesystem needs root")
    folder.mkdir(mode=0o711, parents=True)
    done = subprocess.run(  # noqa: S603 - our own words
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=711", "codewarz-chaos", str(folder)],  # noqa: S607
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        folder.rmdir()
        raise CannotMount(f"a small filesystem cannot be mounted here: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    """Give it back, with everything on it."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)  # noqa: S603, S607


def fill(folder: Path) -> None:
    """Leave not a byte free."""
    with (folder / _FILLER).open("ab", buffering=0) as file:
        size = CHUNK
        while size:
            try:
                file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def free(folder: Path) -> None:
    """Make room again."""
    (folder / _FILLER).unlink()
