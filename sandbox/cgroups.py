"""Control groups for boxes, version 1 and 2: memory that is limited and measured as a whole, and CPU time that no process can hide.

A box's group is made below the server's own group, so whatever limits the server limits its boxes. Groups are named after the server's process and its start
time: a later server recognises what a killed one left behind. Files are opened here and handed to the agent as descriptors, because no group is
visible inside a box.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import trio

from sandbox.leftovers import identity, started

_PREFIX = "codewarz."
_LEAF = "codewarz.server"  # where a version 2 server moves itself: groups with members cannot have limited children
_DELEGATE = "systemd-run --user --scope -p Delegate=yes codewarz up"
_REMOVE_TRIES = 400
_REMOVE_PAUSE_S = 0.005


class Hierarchies(msgspec.Struct, frozen=True):
    """Where boxes' groups go. ``cpu`` is the same folder as ``memory`` in version 2, and None where CPU time cannot be read in version 1."""

    version: int
    memory: Path
    cpu: Path | None


class NoGroups(Exception):
    """No control group can be used here; the text says why, ``remedy`` what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


def _mounts(proc: Path) -> list[tuple[str, Path, str, set[str]]]:
    """Return (root, mount point, file system type, super options) of every control group mount."""
    found = []
    for line in (proc / "self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = left.split(" ")
            found.append((fields[3], Path(fields[4]), kind, set(options.split(","))))
    return found


def _own(proc: Path) -> dict[str, str]:
    """Return controller → this process's group; "" is version 2."""
    groups = {}
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _below(root: str, mount: Path, path: str) -> Path:
    """Return where ``path`` is under a mount of ``root``: in a container the two may not start alike."""
    inside = path[len(root) :] if root != "/" and path.startswith(root) else path
    there = mount / inside.lstrip("/")
    return there if there.is_dir() else mount


def detect(proc: Path = Path("/proc")) -> Hierarchies:
    """Find a hierarchy in which this process may limit memory, trying it out; NoGroups otherwise. Changes nothing that stays."""
    mounts, own = _mounts(proc), _own(proc)
    for root, mount, kind, options in mounts:
        if kind == "cgroup" and "memory" in options and "memory" in own:
            memory = _below(root, mount, own["memory"])
            cpu = next(
                (
                    _below(r, m, own["cpuacct"])
                    for r, m, k, o in mounts
                    if k == "cgroup" and "cpuacct" in o and "cpuacct" in own
                ),
                None,
            )
            _try(
                memory, "run as root, or boot with systemd.unified_cgroup_hierarchy=1: only version 2 can be delegated"
            )
            return Hierarchies(1, memory, cpu)
    for root, mount, kind, _ in mounts:
        if kind == "cgroup2":
            return _detect_v2(_below(root, mount, own.get("", "/")))
    raise NoGroups("no control group file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup")


def _try(folder: Path, remedy: str = _DELEGATE) -> None:
    probe = folder / f"{_PREFIX}probe.{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as problem:
        raise NoGroups(f"{folder} is not writable: {problem.strerror}", remedy) from problem


def _detect_v2(own: Path) -> Hierarchies:
    parent = own.parent if own.name == _LEAF else own
    if "memory" not in (parent / "cgroup.controllers").read_text().split():
        raise NoGroups(f"{parent} has no memory controller", _DELEGATE)
    _try(parent)
    return Hierarchies(2, parent, parent)


def prepare(where: Hierarchies) -> None:
    """Version 2 only: move this process into a leaf and let the children of its group be limited. NoGroups when others live in the group."""
    if where.version == 1 or "memory" in (where.memory / "cgroup.subtree_control").read_text().split():
        return
    try:
        leaf = where.memory / _LEAF
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        (where.memory / "cgroup.subtree_control").write_text("+memory")
    except OSError as problem:
        why = f"{where.memory} cannot limit its children: {problem.strerror} (other processes live in it)"
        raise NoGroups(why, _DELEGATE) from problem


class Group:
    """One box's group: ``fds`` for the agent, by name; ``remove`` when all of its processes are dead."""

    def __init__(self, where: Hierarchies, slot: int) -> None:
        name = f"{_PREFIX}{identity(os.getpid())}.{slot}"
        self.folders = [folder / name for folder in dict.fromkeys((where.memory, where.cpu)) if folder is not None]
        self.fds: dict[str, int] = {}
        self.unlimited = "-1" if where.version == 1 else "max"
        try:
            for folder in self.folders:
                folder.mkdir()
            self._open(where.version)
        except BaseException:
            self.close_fds()
            for folder in self.folders:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise

    def _open(self, version: int) -> None:
        memory, cpu = self.folders[0], self.folders[-1]
        if version == 1:
            files = {"limit": "memory.limit_in_bytes", "usage": "memory.usage_in_bytes", "events": "memory.oom_control"}
            files |= {"peak_reset": "memory.max_usage_in_bytes", "stat": "memory.stat"}
            swap = memory / "memory.swappiness"
        else:
            files = {
                "limit": "memory.max",
                "usage": "memory.current",
                "events": "memory.events",
                "peak_reset": "memory.peak",
                "stat": "memory.stat",
            }
            swap = memory / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        for name, file in files.items():
            writable = name in ("limit", "peak_reset")
            try:
                self.fds[name] = os.open(memory / file, os.O_RDWR if writable else os.O_RDONLY)
            except PermissionError:
                if (
                    name != "peak_reset"
                ):  # before Linux 6.12 a version 2 peak cannot be reset, so it tells nothing of one run
                    raise
        for number, folder in enumerate(self.folders):
            self.fds[f"procs{number}"] = os.open(folder / "cgroup.procs", os.O_WRONLY)
        if version == 2:
            self.fds["cpu_stat"] = os.open(cpu / "cpu.stat", os.O_RDONLY)
        elif len(self.folders) > 1:
            self.fds["cpu_ns"] = os.open(cpu / "cpuacct.usage", os.O_RDONLY)

    def close_fds(self) -> None:
        """Close the server's copies; the agent has its own."""
        while self.fds:
            os.close(self.fds.popitem()[1])

    async def remove(self) -> None:
        """Remove the folders; the kernel may need a moment after the last process. OSError when one is still in use after two seconds."""
        self.close_fds()
        for folder in self.folders:
            for attempt in range(_REMOVE_TRIES):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if attempt == _REMOVE_TRIES - 1:
                        raise
                    await trio.sleep(_REMOVE_PAUSE_S)


def clean_stale(where: Hierarchies) -> int:
    """Remove the groups of servers that are gone; return how many. Their boxes died with them, so the groups are empty."""
    removed = 0
    for parent in {where.memory, where.cpu or where.memory}:
        for folder in parent.glob(f"{_PREFIX}*"):
            parts = folder.name.split(".")
            if len(parts) == 4 and parts[1].isdigit() and started(int(parts[1])) != parts[2]:
                with contextlib.suppress(OSError):  # still dying: the next start removes it
                    folder.rmdir()
                    removed += 1
    return removed
