"""One bubblewrap box, host side: its processes, its end, and the conversation with its agent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import trio

from sandbox import cgroups, leftovers, protocol, seccomp
from sandbox.provider import BoxLimits, Command, File, Outcome, RunLimits, SandboxBroken

_READ_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20  # the largest an ordinary user may ask for
_F_SETPIPE_SZ = 1031
_MIB = 1 << 20
_HARD_WALL_FACTOR = 8  # as in agent.py
_OOM_SCORE = 500  # of a box: where memory runs out for server and boxes together, a program (1000, see agent.py) goes first, then a box, never the server
_PATIENCE_S = 30.0  # for the agent's own work around a run


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
            with _expendable():
                process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                    arguments(info_write),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._complaints,
                    env=leftovers.marked_environment(),
                    bufsize=0,
                    pass_fds=(info_write, *fds.values()),
                    start_new_session=True,  # Ctrl-C in a terminal goes to its whole process group: boxes end when we close them
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
        if process.returncode is not None:
            return  # whoever asked whether it was alive has reaped it: its pid may be somebody else's by now
        if self._pidfd < 0:
            for child in leftovers.kill_family(process.pid):
                try:
                    await trio.lowlevel.wait_readable(child)
                finally:
                    os.close(child)
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
        request = protocol.frame(b"run", _run_pairs(command, has_groups=self._has_groups))
        try:
            with trio.fail_after(_HARD_WALL_FACTOR * command.limits.wall_ms / 1000 + _PATIENCE_S):
                verb, pairs = await self._ask(request)
        except trio.TooSlowError as problem:
            raise SandboxBroken("the agent did not keep its own limits") from problem
        if verb != b"done":
            raise SandboxBroken(f"the agent said {verb!r} instead of done")
        try:
            return _outcome(pairs, command.limits)
        except (KeyError, ValueError, protocol.ProtocolError) as problem:
            raise SandboxBroken(f"the agent's account of a run makes no sense: {problem!r}") from problem


@contextlib.contextmanager
def _expendable() -> Iterator[None]:
    """What is started in the block is a likelier victim than this process when memory runs out.

    Set here and inherited, because nobody else can: a box may have no ``/proc``, and a child that has taken its own user namespace is not ours to write to.
    Anybody may raise the score, and lower it again to where it was.
    """
    score = Path("/proc/self/oom_score_adj")
    before = score.read_text()
    score.write_text(str(max(_OOM_SCORE, int(before))))
    try:
        yield
    finally:
        score.write_text(before)


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
    output_memory = min(size, int(facts[b"stdout_memory"]))  # less than its size where it has holes
    is_whole = status >= 0
    memory_kb = max(0, peak - output_memory) // 1024 if peak else int(facts[b"maxrss_kb"])
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
