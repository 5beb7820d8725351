"""The agent: PID 1 inside a box. It starts, limits, watches and accounts for each program; the host alone decides what that means.

Started as ``python -I -S -E -B agent.py``: standard library only, nothing of ours can be imported here. It speaks the frames of ``sandbox.protocol``
over its stdin and stdout, one request at a time, and leaves when its stdin ends.

Rule 1: every program runs in a PID and a mount namespace of its own, whose init (a fork of this file) stands between agent and program. When the program
        ends, the init kills and reaps whatever else the program started, so its usage is complete; and killing the init kills everything at once.
Rule 2: a program gets three descriptors, a ``/tmp`` and a ``/proc`` that nobody had before it, its limits, no capabilities and the system call filter.
        Nothing else of the agent's, and nothing that counts what ran before: not even process numbers may carry a note from one test to the next.
Rule 3: no program is alive while the agent touches files, so there is no race to win; and still no symlink is ever followed.
Rule 4: when anything here fails, say why and exit. The host destroys the box; there is no repair.

The next init is made, gives up its powers and rehearses its part while the host looks at the last result: it costs nobody's waiting time. A third process,
the nursery, forks it: a fork takes longer than all that the agent itself has to do around a run.
"""
# ruff: noqa: D101, D102, D103, S108, PTH123, PTH208, SIM105 - a script for inside the box: /tmp is its own, and pathlib or contextlib would cost a third of its start

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps in enums, at a millisecond's cost
import _socket
import ctypes
import fcntl
import gc
import os
import resource
import select
import sys
import time

MAX_FRAME = 1 << 28
MAX_SPEC = 1 << 16
SYS_CLONE, SYS_CAPSET = {"x86_64": (56, 126), "aarch64": (220, 91)}[os.uname().machine]
CLONE_NEWPID, CLONE_NEWNS, CLONE_PARENT, SIGCHLD, SIGKILL, SIGTERM = 0x20000000, 0x00020000, 0x8000, 17, 9, 15
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 4, 22, 38, 47, 4
MSG_CMSG_CLOEXEC = 0x40000000
F_ADD_SEALS, ALL_SEALS, MFD_CLOEXEC, MFD_ALLOW_SEALING = 1033, 15, 1, 2
NURSERY = "2"  # its pid: the agent's first child
HARD_WALL_FACTOR = 8  # a program that only waits for a busy machine's CPU gets this many wall limits, never more
STOP_PATIENCE_MS = 2000
CACHE_MATTERS = 8 << 20  # bytes of peak below which the share of file cache in it is not worth asking for
TICK_S = 0.25  # a watcher that wakes later than this after it wanted to has stood still, and the program with it
POLL_CPU_S = 0.02  # how closely a CPU limit is watched once a program comes near it
CPUS = len(os.sched_getaffinity(0))
NUMBERS = (b"cpu_ms", b"wall_ms", b"memory", b"stdout", b"stderr", b"collect_bytes")
RLIMITS = (
    (resource.RLIMIT_CPU, b"cpu_s"),
    (resource.RLIMIT_AS, b"address_space"),
    (resource.RLIMIT_STACK, b"stack"),
    (resource.RLIMIT_NPROC, b"processes"),
    (resource.RLIMIT_FSIZE, b"file_bytes"),
    (resource.RLIMIT_NOFILE, b"open_files"),
    (resource.RLIMIT_MSGQUEUE, b"queues"),
    (resource.RLIMIT_MEMLOCK, b"locked"),
)
HARD = {what: resource.getrlimit(what)[1] for what, _ in RLIMITS}

libc = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL: after a raw clone() there is nobody to hand it back
libc.syscall.restype = ctypes.c_long
CAPABILITY_VERSION_3, NO_CAPABILITIES = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()


def pack(*fields: bytes | bytearray | memoryview) -> bytes:
    return b"".join(len(field).to_bytes(4, "little") + field for field in fields)


def unpack(body: bytes | memoryview) -> list[memoryview]:
    view, fields, at = memoryview(body), [], 0
    while at < len(view):
        end = at + 4 + int.from_bytes(view[at : at + 4], "little")
        fields.append(view[at + 4 : end])
        at = end
    return fields


def read_exactly(size: int) -> bytearray:
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        count = os.readv(0, [view[got:]])
        if not count:
            os._exit(0)  # the server is gone, and so are we
        got += count
    return buffer


def send(*fields: bytes) -> None:
    body = pack(*fields)
    view = memoryview(len(body).to_bytes(4, "little") + body)
    while view:
        view = view[os.write(1, view) :]


def must(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


class Group:
    """The box's control group, through descriptors that the host opened; absent where the machine has none."""

    def __init__(self, fds: dict[str, int], unlimited: bytes) -> None:
        self.fds, self.unlimited = fds, unlimited
        for fd in fds.values():
            os.set_inheritable(fd, False)
        for name, fd in fds.items():
            if name.startswith("procs"):
                os.write(fd, b"0")
        self.baseline = self.cpu_baseline = self.oom_baseline = self.own_baseline = 0
        self.cache = self.file_cache()

    def number(self, name: str, key: bytes = b"") -> int:
        if name not in self.fds:
            return 0
        for line in os.pread(self.fds[name], 4096, 0).splitlines():
            if line.startswith(key):
                return int(line[len(key) :])
        return 0

    def cpu_ns(self) -> int:
        return self.number("cpu_ns") or self.number("cpu_stat", b"usage_usec ") * 1000

    def file_cache(self) -> int:
        """Return the bytes of files on disks that were first read in this group: charged to it, but given up whenever memory is short."""
        if "stat" not in self.fds:
            return 0
        stat = dict(line.split() for line in os.pread(self.fds["stat"], 8192, 0).splitlines())
        return int(stat.get(b"cache") or stat[b"file"]) - int(stat[b"shmem"])

    def begin(self, limit: int) -> None:
        if "limit" in self.fds:
            self.baseline = self.number("usage")
            os.pwrite(self.fds["limit"], b"%d" % (self.baseline + limit), 0)
            if "peak_reset" in self.fds:
                os.pwrite(self.fds["peak_reset"], b"0", 0)
            self.oom_baseline = self.number("events", b"oom_kill ")
        self.cpu_baseline, self.own_baseline = self.cpu_ns(), time.process_time_ns()

    def used_cpu_ns(self) -> int:
        """Return the run's CPU time so far: the group's, or else what its processes and those they waited for have used."""
        if not self.cpu_baseline:
            return sum(map(cpu_of, pids_of_run()))
        return max(0, self.cpu_ns() - self.cpu_baseline - (time.process_time_ns() - self.own_baseline))

    def end(self) -> tuple[int, int]:
        """Return (peak bytes above the baseline or 0, oom kills) and lift the limit, so that the agent itself is never its victim."""
        peak = max(0, self.number("peak_reset") - self.baseline) if "peak_reset" in self.fds else 0
        if peak > CACHE_MATTERS:  # whoever is the first to run a large program must not pay for its pages
            peak = max(peak - max(0, self.file_cache() - self.cache), CACHE_MATTERS)
        ooms = self.number("events", b"oom_kill ") - self.oom_baseline
        if "limit" in self.fds:
            os.pwrite(self.fds["limit"], self.unlimited, 0)
        return peak, ooms


class Agent:
    def __init__(self, config: dict[bytes, bytes]) -> None:
        text = {key.decode(): value for key, value in config.items()}
        self.uid, self.gid = int(text["uid"]), int(text["gid"])
        self.own_uid = os.getuid()
        self.seccomp = text["seccomp"]
        self.filter_code = ctypes.create_string_buffer(self.seccomp, len(self.seccomp))
        self.filter = (ctypes.c_uint64 * 2)(
            len(self.seccomp) // 8, ctypes.addressof(self.filter_code)
        )  # struct sock_fprog
        names = text["group"].decode().split()
        self.group = Group({name: int(fd) for name, fd in (item.split("=") for item in names)}, text["unlimited"])
        owner = b"uid=%d,gid=%d," % (self.uid, self.gid)
        box = owner + b"mode=0755,size=%d,nr_inodes=%d" % (int(text["box_bytes"]), int(text["box_files"]))
        must(libc.mount(b"tmpfs", b"/box", b"tmpfs", MS_NOSUID | MS_NODEV, box), "mount /box")
        for device in ("null", "zero", "full", "random", "urandom"):
            freeze_times(b"/dev/" + device.encode())
        self.tmp_options = owner + b"mode=0700,size=%d,nr_inodes=%d" % (int(text["tmp_bytes"]), int(text["tmp_files"]))
        self.has_proc = os.access("/proc/self", os.F_OK)
        self.tmp = -1  # the run's /tmp, which lies in its init's mount namespace
        self.nursery: Nursery = None  # type: ignore[assignment]  # until it settles: a copy of all that is above
        self.spare: Init | None = None
        must(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl dumpable")

    def settle(self) -> None:
        """Start the nursery, which is a copy of this process as it is now, and have it make the first init."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self.nursery = Nursery(self)
        self.spare = Init(self.nursery)

    # ---- files: names are relative to /box or /tmp and every component is opened without following links -------------

    def directory(self, path: bytes) -> int:
        parts = [part for part in path.split(b"/") if part]
        if not parts or parts[0] not in (b"box", b"tmp") or b".." in parts:
            raise ValueError(f"not a place for files: {path!r}")
        fd = os.dup(self.tmp) if parts[0] == b"tmp" else os.open(b"/box", os.O_RDONLY | os.O_DIRECTORY)
        for part in parts[1:]:
            parent, fd = fd, -1
            try:
                fd = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            finally:
                os.close(parent)
        return fd

    def put(self, path: memoryview, mode: int, content: memoryview | None) -> None:
        parent, name = os.path.split(bytes(path))
        at = self.directory(parent)
        try:
            if content is None:
                os.mkdir(name, 0o700, dir_fd=at)
                os.chown(name, self.uid, self.gid, dir_fd=at, follow_symlinks=False)
                return
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
        finally:
            os.close(at)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if self.own_uid != self.uid:
                os.fchown(fd, self.uid, self.gid)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)

    def get(self, path: memoryview, limit: int) -> bytes | None:
        """Return up to ``limit`` + 1 bytes of a regular file, or None when there is none of that name."""
        parent, name = os.path.split(bytes(path))
        try:
            at = self.directory(parent)
        except OSError:
            return None
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        except OSError:
            return None
        finally:
            os.close(at)
        try:
            return read_file(fd, limit + 1) if os.fstat(fd).st_mode & 0o170000 == 0o100000 else None
        finally:
            os.close(fd)

    def seal(self) -> None:
        must(
            libc.mount(None, b"/box", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, None),
            "remount /box",
        )
        old, self.spare = self.spare, None
        if old is not None:  # its own view of /box is still writable
            os.close(old.ready())
            old.kill()
            self.spare = Init(self.nursery)

    # ---- one run -----------------------------------------------------------------------------------------------------

    def run(self, request: list[tuple[bytes, memoryview]]) -> None:
        bulky = (b"arg", b"env", b"file", b"dir", b"collect", b"stdin")
        one = {key: bytes(value) for key, value in request if key not in bulky}
        limits = {key: int(one[key]) for key in NUMBERS}
        init, self.spare = self.spare or Init(self.nursery), None
        self.tmp = init.ready()
        stdin = self.prepare(request)
        err_read, err_write = os.pipe()
        os.set_blocking(err_read, False)
        is_merged = one[b"merge"] == b"1"
        out = os.dup(err_write) if is_merged else os.memfd_create("stdout", MFD_CLOEXEC)
        self.group.begin(limits[b"memory"])
        began = time.monotonic_ns()
        init.go(request, one, (stdin, out, err_write))
        os.close(err_write)
        stderr = bytearray()
        stopped, report = self.watch(init, err_read, stderr, limits)
        if not report:
            init.kill()  # it could not even report: out of memory, or it would not stop
        cpu_seen, elapsed = self.group.used_cpu_ns() if self.group.fds else 0, time.monotonic_ns() - began
        self.drain(err_read, stderr, limits[b"stderr"])
        peak, ooms = self.group.end()
        self.spare = Init(self.nursery)  # from here on nothing is counted
        written = os.fstat(out)
        size, kept = (0, 0) if is_merged else (written.st_size, written.st_blocks * 512)
        stdout = read_file(out, min(size, limits[b"stdout"])) if size else b""
        for fd in (out, err_read, stdin):
            os.close(fd)
        facts = init.facts(report, elapsed)
        facts[b"cpu_ns"] = max(facts[b"cpu_ns"], cpu_seen - facts.pop(b"own_ns"), 0)
        facts.update({b"peak": peak, b"ooms": ooms, b"stdout_bytes": size, b"stdout_memory": min(size, kept)})
        reply = [b"done", b"stopped", stopped, b"stdout", stdout, b"stderr", bytes(stderr)]
        for name, number in facts.items():
            reply += [name, b"%d" % number]
        for key, value in request:
            if key == b"collect":
                content = self.get(value, limits[b"collect_bytes"])
                if content is not None:
                    reply += [b"file", pack(value, content)]
        os.close(self.tmp)
        self.tmp = -1
        send(*reply)
        init.wait()
        if peak >= CACHE_MATTERS:
            self.group.cache = self.group.file_cache()

    def prepare(self, request: list[tuple[bytes, memoryview]]) -> int:
        """Write the run's files into ``/tmp`` and return the descriptor of its standard input."""
        stdin = -1
        for key, value in request:
            if key == b"dir":
                self.put(value, 0o700, None)
            elif key == b"file":
                path, mode, content = unpack(value)
                self.put(path, int(bytes(mode), 8), content)
            elif key == b"stdin":
                stdin = sealed(value)
        # Opened each time: flags and owner of an open file could carry a note to the next program that gets it.
        return stdin if stdin >= 0 else os.open("/dev/null", os.O_RDONLY)

    def watch(self, init: Init, err_fd: int, stderr: bytearray, limits: dict[bytes, int]) -> tuple[bytes, bytes]:
        """Wait for the init's report, which it gives when the program ended; have everything killed when a limit is reached."""
        poll = select.poll()
        poll.register(init.socket.fileno(), select.POLLIN)
        poll.register(err_fd, select.POLLIN)
        start = time.monotonic()
        wall, cpu = limits[b"wall_ms"] / 1000, limits[b"cpu_ms"] / 1000
        wall_at, cpu_at = start + wall, start + cpu / CPUS
        stopped, still, now = b"", 0.0, start
        while True:
            due = max(now, min(wall_at, cpu_at, now + TICK_S))
            for fd, _ in poll.poll((due - now) * 1000 + 1):
                if fd != err_fd:
                    return stopped, init.receive()
                if not self.drain(err_fd, stderr, limits[b"stderr"]):
                    poll.unregister(err_fd)
            now = time.monotonic()
            # A machine that was paused (or moved to another host) in the middle of a run is not the program's fault.
            still += now - due if now - due > TICK_S else 0.0
            if now >= cpu_at:
                left = cpu - self.group.used_cpu_ns() / 1e9
                cpu_at = now + max(left / CPUS, POLL_CPU_S)
                if left < 0:
                    stopped = b"cpu"
            if now >= wall_at:
                # Only time in which it did not wait for a CPU counts, so that a busy machine fails nobody.
                idle = now - start - still - waited_s(init.pid)
                if idle >= wall or now - start - still >= wall * HARD_WALL_FACTOR:
                    stopped = stopped or b"wall"
                wall_at = now + max(wall - idle, POLL_CPU_S)
            if stopped:
                return stopped, init.stop()

    def drain(self, fd: int, kept: bytearray, limit: int) -> bool:
        """Take what is there; keep the first ``limit`` bytes. False at the end of the stream."""
        for _ in range(64):  # then look at the clock again: a flood must not outrun the limits
            try:
                chunk = os.read(fd, 65536)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            if len(kept) < limit:
                kept += chunk[: limit - len(kept)]
        return True


class Nursery:
    """The process that forks inits, as children of the agent. It has the agent's powers and never runs anything else."""

    def __init__(self, agent: Agent) -> None:
        self.socket, theirs = seqpacket_pair()
        self.pid = must(libc.syscall(SYS_CLONE, SIGCHLD, 0, 0, 0, 0), "clone")
        if self.pid == 0:
            try:
                self.socket.close()
                live_as_nursery(agent, theirs)
            finally:
                os._exit(1)
        theirs.close()

    def order(self) -> _socket.socket:
        """Have an init made and return its channel."""
        ours, theirs = seqpacket_pair()
        rights = theirs.fileno().to_bytes(4, sys.byteorder)
        self.socket.sendmsg([b"init"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        theirs.close()
        return ours

    def pid_of_next(self) -> int:
        """Return the pid of the init ordered longest ago."""
        said = self.socket.recv(100)
        if not said.isdigit():
            raise RuntimeError(f"no init for a run: {said.decode(errors='replace') or 'the nursery ended'}")
        return int(said)


def live_as_nursery(agent: Agent, orders: _socket.socket) -> None:
    """Never returns: fork an init for every channel that comes in."""
    try:
        while True:
            order, control, _, _ = orders.recvmsg(100, 64, MSG_CMSG_CLOEXEC)
            if not order:
                os._exit(0)
            channel = _socket.socket(fileno=int.from_bytes(control[0][2][:4], sys.byteorder))
            pid = libc.syscall(SYS_CLONE, CLONE_NEWPID | CLONE_NEWNS | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
            if pid == 0:
                orders.close()
                live_as_init(agent, channel)
            channel.close()
            orders.send(b"%d" % must(pid, "clone"))
    except BaseException as problem:  # noqa: BLE001 - the channel is the only place to tell it
        orders.send(f"{type(problem).__name__}: {problem}".encode()[:100])
        os._exit(1)


class Init:
    """The init of one run's namespaces: forked ahead of time, already without powers, it waits to be told what to run."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.socket = nursery.order()
        self.usage: resource.struct_rusage | None = None
        self.pid = 0  # not known before it is ready

    def ready(self) -> int:
        """Return a descriptor of the ``/tmp`` it made; it is complete then, and uses no more time or memory before it is told to go."""
        self.pid = self.nursery.pid_of_next()
        said, control, _, _ = self.socket.recvmsg(MAX_SPEC, 64, MSG_CMSG_CLOEXEC)
        if not control:
            raise RuntimeError(f"no init for a run: {said.decode(errors='replace') or 'it ended'}")
        return int.from_bytes(control[0][2][:4], sys.byteorder)

    def go(self, request: list[tuple[bytes, memoryview]], one: dict[bytes, bytes], fds: tuple[int, ...]) -> None:
        argv = pack(*(value for key, value in request if key == b"arg"))
        env = pack(*(value for key, value in request if key == b"env"))
        spec = pack(one[b"cwd"], argv, env, *(one[key] for _, key in RLIMITS))
        rights = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
        if len(spec) > MAX_SPEC:
            raise ValueError("arguments and environment are too long")
        self.socket.sendmsg([spec], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])

    def receive(self) -> bytes:
        try:
            return self.socket.recv(MAX_SPEC)
        except ConnectionResetError:  # it died with something unread
            return b""

    def stop(self) -> bytes:
        """Let the init kill and reap everything, so that its account is complete; return it, or nothing when it does not manage."""
        os.kill(self.pid, SIGTERM)
        patience = select.poll()
        patience.register(self.socket.fileno(), select.POLLIN)
        return self.receive() if patience.poll(STOP_PATIENCE_MS) else b""

    def kill(self) -> None:
        os.kill(self.pid, SIGKILL)
        self.wait()

    def wait(self) -> None:
        if self.usage is None:
            self.usage = os.wait4(self.pid, 0)[2]
            self.socket.close()

    def facts(self, report: bytes, elapsed: int) -> dict[bytes, int]:
        fields = unpack(report)
        if len(fields) == 1:
            raise RuntimeError(f"the init of a run failed: {bytes(fields[0]).decode(errors='replace')}")
        if not fields:
            assert self.usage is not None
            cpu = int((self.usage.ru_utime + self.usage.ru_stime) * 1e9)
            return {
                b"status": -1,
                b"wall_ns": elapsed,
                b"own_ns": 0,
                b"cpu_ns": cpu,
                b"maxrss_kb": self.usage.ru_maxrss,
            }
        names = (b"status", b"wall_ns", b"own_ns", b"cpu_ns", b"maxrss_kb")
        return {name: int(bytes(field)) for name, field in zip(names, fields, strict=True)}


def seqpacket_pair() -> tuple[_socket.socket, _socket.socket]:
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def live_as_init(agent: Agent, channel: _socket.socket) -> None:
    """Never returns: give up all power, wait for what to run, run it, and report how it ended and what it used."""
    try:
        tmp = own_view(agent)
        give_up_powers(agent)
        rehearse()
        channel.sendmsg([b"ready"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, tmp.to_bytes(4, sys.byteorder))])
        os.close(tmp)
        spec, control, _, _ = channel.recvmsg(MAX_SPEC, 64, MSG_CMSG_CLOEXEC)
        if not spec:
            os._exit(0)
        own = time.process_time_ns()
        cwd, argv, env, *numbers = unpack(spec)
        rights = control[0][2]
        fds = [int.from_bytes(rights[at : at + 4], sys.byteorder) for at in range(0, len(rights), 4)]
        for (what, _), number in zip(RLIMITS, numbers, strict=True):
            set_limit(what, int(bytes(number)))
        os.chdir(bytes(cwd))
        environment = dict(bytes(item).split(b"=", 1) for item in unpack(env))
        arguments = [bytes(item) for item in unpack(argv)]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
        began = time.monotonic_ns()
        program = os.posix_spawn(arguments[0], arguments, environment, file_actions=actions)
        pid = status = 0
        while pid != program:
            pid, status = os.waitpid(-1, 0)
        wall = time.monotonic_ns() - began
        report = conclude(status, wall, own)
    except BaseException as problem:  # noqa: BLE001 - the channel is the only place to tell it
        report = pack(f"{type(problem).__name__}: {problem}".encode())
    channel.send(report)
    os._exit(0)


def freeze_times(device: bytes) -> None:
    """Make a device's mount read-only: it can be written to as before, but a change of its times would be a note in the host's own ``/dev``."""
    given = os.statvfs(device).f_flag & (MS_NODEV | MS_NOEXEC)  # a user namespace may not drop what the host set
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | given
    must(libc.mount(None, device, None, flags, None), "remount a device")


def conclude(status: int, wall: int, own: int) -> bytes:
    """Kill and reap what is left of the run, and return the account of it."""
    kill_everybody()
    reap()  # or the kernel would, and forget what they used
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = int((used.ru_utime + used.ru_stime) * 1e9)
    account = (status, wall, time.process_time_ns() - own, cpu, used.ru_maxrss)
    return pack(*(b"%d" % number for number in account))


def rehearse() -> None:
    """Go through the motions of a run: what an init touches for the first time must be copied from the nursery, better now than between two tests."""
    conclude(0, time.monotonic_ns(), time.process_time_ns())
    unpack(memoryview(pack(b"/tmp", *(b"%d" % number for number in resource.getrlimit(resource.RLIMIT_NOFILE)))))
    for what, _ in RLIMITS:
        set_limit(what, -1)
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


def own_view(agent: Agent) -> int:
    """Mount the run's own ``/tmp`` and ``/proc``, and return a descriptor of the first."""
    must(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, agent.tmp_options), "mount /tmp")
    if agent.has_proc:
        must(libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None), "mount /proc")
    return os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)


def give_up_powers(agent: Agent) -> None:
    """Become the program's user, without capabilities, with the filter on. From here on there is no way back."""
    os.setsid()
    prefer_for_oom()
    # Not 0: a host that pipes core dumps to a program (systemd-coredump, apport) starts it, as root, for a limit of 0 but not for 1; see core(5).
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    if agent.own_uid != agent.uid:
        os.setgroups([])
        os.setresgid(agent.gid, agent.gid, agent.gid)
        os.setresuid(agent.uid, agent.uid, agent.uid)
    must(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    must(libc.syscall(SYS_CAPSET, CAPABILITY_VERSION_3, NO_CAPABILITIES), "capset")
    must(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl dumpable")
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _signal.signal(SIGTERM, kill_everybody)  # only the agent, from outside, and the program itself can send it
    must(libc.prctl(PR_SET_SECCOMP, 2, agent.filter, 0, 0), "seccomp")


def set_limit(what: int, number: int) -> None:
    if number >= 0:
        hard = HARD[what]
        wanted = number if hard == -1 else min(number, hard)
        over = 1 if what == resource.RLIMIT_CPU and hard == -1 else 0  # SIGXCPU first, SIGKILL a second later
        resource.setrlimit(what, (wanted, wanted + over))


def sealed(content: memoryview) -> int:
    """Return a descriptor on ``content`` that nobody can change: not through it, nor by opening it again in /proc."""
    fd = os.memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, 0)
    fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)
    return fd


def read_file(fd: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    at = 0
    while at < limit:
        chunk = os.pread(fd, limit - at, at)
        if not chunk:
            break
        chunks.append(chunk)
        at += len(chunk)
    return b"".join(chunks)


def prefer_for_oom() -> None:
    """Make the program the first victim when the group runs out of memory, never the agent; it needs /proc, and to be dumpable for a moment."""
    must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl dumpable")
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError as problem:
        if problem.errno != 2:  # ENOENT: a box without /proc
            raise
        return
    os.write(fd, b"1000")
    os.close(fd)


def kill_everybody(*_: object) -> None:
    """In an init: kill everything in its PID namespace but itself, which no fork can outrun: the kernel does it in one go."""
    try:
        os.kill(-1, SIGKILL)
    except ProcessLookupError:
        pass


def reap() -> None:
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def pids_of_run() -> list[int]:
    """Return every process of the box but the agent and its nursery: between two runs there is none but an idle init."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and name not in ("1", NURSERY)]
    except FileNotFoundError:  # a box without /proc
        return []


def cpu_of(pid: int) -> int:
    """Return the nanoseconds a process and the children it waited for have used, to the kernel's clock tick; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15])) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def program_of(init: int) -> int:
    """Return the pid of what an init started, 0 when it is gone or the kernel does not tell."""
    try:
        with open(f"/proc/{init}/task/{init}/children") as children:
            return int(children.read().split()[0])
    except (OSError, IndexError):
        return 0


def waited_s(init: int) -> float:
    """Return how long the program's main thread stood in a run queue without getting a CPU; 0 where the kernel does not tell."""
    try:
        with open(f"/proc/{program_of(init)}/schedstat") as stats:
            return int(stats.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def main() -> None:
    for number in (1, 2, 13, 15, 25):  # Python's own handlers; a program must begin with the defaults
        _signal.signal(number, _signal.SIG_DFL)
    agent = None
    try:
        while True:
            size = int.from_bytes(read_exactly(4), "little")
            if size > MAX_FRAME:
                raise ValueError("frame too large")
            fields = unpack(memoryview(read_exactly(size)))
            verb = bytes(fields[0])
            pairs = list(zip((bytes(key) for key in fields[1::2]), fields[2::2], strict=True))
            if agent is None:
                agent = Agent({key: bytes(value) for key, value in pairs})
                agent.settle()
                send(b"ready", b"version", sys.version.split()[0].encode())
            elif verb == b"run":
                agent.run(pairs)
            elif verb == b"put":
                path, mode, content = unpack(pairs[0][1])
                agent.put(path, int(bytes(mode), 8), content)
                send(b"ok")
            elif verb == b"get":
                found = agent.get(pairs[0][1], int(bytes(pairs[1][1])))
                send(b"absent") if found is None else send(b"ok", b"content", found)
            elif verb == b"seal":
                agent.seal()
                send(b"ok")
            else:
                raise ValueError(f"unknown verb {verb!r}")
    except Exception as problem:  # noqa: BLE001 - rule 4
        send(b"broken", b"why", f"{type(problem).__name__}: {problem}".encode())
        os._exit(1)


main()
