"""What a program could do to its init, to the accounts, to the kernel, and to whatever the host does when something crashes."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.verdicts import Verdict
from sandbox.bwrap import BwrapProvider
from sandbox.bwrap_box import BwrapBox
from sandbox.judging import classify, judge
from sandbox.languages import Language
from sandbox.provider import BoxLimits, RunLimits
from tests.sandbox.conftest import LIMITS, Victim, sums

pytestmark = pytest.mark.sandbox


async def test_a_program_has_no_capability_and_cannot_get_one(victim: Victim) -> None:
    outcome = await victim.run(
        """
        lines = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
        print([lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")], lines["NoNewPrivs"], lines["Seccomp"])
        """
    )
    assert outcome.stdout == b"['0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000'] 1 2\n"


async def test_it_cannot_limit_or_slow_down_the_init_that_accounts_for_it(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os, resource
        for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA):
            try:
                resource.prlimit(1, what, (0, 0)); print("limited", what)
            except PermissionError:
                pass
        for attempt in (lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
                        lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)), lambda: os.setpriority(os.PRIO_USER, 0, 19)):
            try:
                attempt(); print("slowed")
            except PermissionError:
                pass
        print(resource.getrlimit(resource.RLIMIT_CORE))
        """
    )
    assert (outcome.stdout, outcome.stderr) == (b"(1, 1)\n", b"")


async def test_a_crash_does_not_start_the_hosts_core_dump_program(victim: Victim) -> None:
    # core(5): a pipe in core_pattern is started even for a limit of 0, as root, outside of every limit; but not for 1.
    outcome = await victim.run(
        """
        import ctypes, os, resource
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); print("set")
        except (ValueError, PermissionError):
            pass
        number = {"x86_64": 160, "aarch64": 164}[os.uname().machine]
        print(libc.syscall(number, 4, (ctypes.c_ulong * 2)(0, 0)), resource.getrlimit(resource.RLIMIT_CORE), flush=True)
        os.abort()
        """
    )
    assert (outcome.stdout, outcome.signal) == (b"-1 (1, 1)\n", 6)
    assert classify(outcome, LIMITS) is Verdict.RTE


async def test_rare_socket_families_are_not_even_asked_for_in_pairs(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import ctypes, socket
        libc, pair = ctypes.CDLL(None, use_errno=True), (ctypes.c_int * 2)()
        print({ctypes.get_errno() for family in range(2, 46) if libc.socketpair(family, 2, 0, pair)})
        socket.socketpair()
        """
    )
    assert (outcome.exit_code, outcome.stdout) == (0, b"{97}\n")


async def test_calls_that_reach_beyond_the_box_are_refused(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        column = ("x86_64", "aarch64").index(os.uname().machine)
        calls = {"fsopen": (430, 430), "open_tree": (428, 428), "mount_setattr": (442, 442), "pidfd_getfd": (438, 438), "io_uring_setup": (425, 425),
                 "memfd_secret": (447, 447), "listmount": (458, 458), "io_setup": (206, 0), "userfaultfd": (323, 282), "bpf": (321, 280),
                 "perf_event_open": (298, 241), "keyctl": (250, 219), "process_vm_readv": (310, 270), "kcmp": (312, 272), "setns": (308, 268),
                 "inotify_init1": (294, 26)}
        print([name for name, numbers in calls.items() if libc.syscall(numbers[column], 1, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1])
        """
    )
    assert outcome.stdout == b"[]\n"


_FOREIGN = r"""
#include <stdio.h>
#include <unistd.h>
#include <errno.h>
#include <sys/syscall.h>
int main(void) {
    long r = syscall(0x40000000 | 39);            /* getpid of the x32 ABI */
    printf("%ld %d\n", r, errno);
    fflush(stdout);
    asm volatile("int $0x80" : "=a"(r) : "a"(20)); /* getpid of i386, past a filter that only knows amd64's numbers */
    printf("alive %ld\n", r);
    return 0;
}
"""


async def test_the_filter_cannot_be_walked_around_through_another_abi(
    box: BwrapBox, need: Callable[[str], Language]
) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("x86 only")
    judged = await judge(box, sums(1), need("c"), _FOREIGN, own_input="")
    assert judged.outputs[0].stdout == b"-1 38\n"
    assert judged.tests[0].message == "ended by signal 31"  # SIGSYS


async def test_holes_in_the_output_are_no_memory_that_the_output_took(victim: Victim, provider: BwrapProvider) -> None:
    if provider.groups is None:
        pytest.skip("no control group here")
    outcome = await victim.run("import os\nhoard = b'x' * (94 << 20)\nos.ftruncate(1, 8 << 20)")
    assert classify(outcome, LIMITS) is Verdict.MLE


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a disk that may be bound into a box: not in ``/tmp``, which a box has its own of."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_reading_files_that_nobody_read_before_is_not_the_programs_memory(
    provider: BwrapProvider, folder: Path, nothing_left: None
) -> None:
    if provider.groups is None:
        pytest.skip("no control group here")
    cold = folder / "cold"
    fd = os.open(cold, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, bytes(40 << 20))
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    box = await BwrapProvider(extra=(folder,)).open(BoxLimits())
    try:
        victim = Victim(box, str(provider.interpreter.program))
        limits = RunLimits(cpu_ms=5_000, memory_kb=24 * 1024)
        outcome = await victim.run(f"file = open({str(cold)!r}, 'rb')\nwhile file.read(1 << 20): pass", limits)
        assert (outcome.exit_code, classify(outcome, limits)) == (0, None)
        assert outcome.memory_kb < 16 * 1024
        outcome = await victim.run("hoard = b'x' * (27 << 20)", limits)
        assert classify(outcome, limits) is Verdict.MLE
    finally:
        await box.close()


async def test_lowering_its_own_share_of_blame_makes_nobody_elses_process_the_victim(victim: Victim) -> None:
    outcome = await victim.run(
        """
        open("/proc/self/oom_score_adj", "w").write("0")
        hoard = []
        while True: hoard.append(b"x" * (1 << 20))
        """
    )
    assert classify(outcome, LIMITS) is Verdict.MLE


async def test_output_that_changes_after_it_was_written_is_read_when_nobody_can_change_it(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import mmap, os, time
        os.write(1, b"a" * 4096)
        if os.fork() == 0:
            page = mmap.mmap(os.open("/proc/self/fd/1", os.O_RDWR), 4096)
            while True: page[0:2] = b"bb"; page[0:2] = b"aa"
        time.sleep(0.05)
        """
    )
    assert outcome.exit_code == 0
    assert outcome.stdout_size == len(outcome.stdout) == 4096


async def test_errors_one_byte_at_a_time_neither_outrun_the_limits_nor_the_agent(victim: Victim) -> None:
    limits = RunLimits(cpu_ms=200, wall_ms=1_000)
    outcome = await victim.run(
        "import fcntl, os\nfcntl.fcntl(2, fcntl.F_SETFL, os.O_DIRECT)\nwhile True: os.write(2, b'x')", limits
    )
    assert classify(outcome, limits) is Verdict.TLE
    assert outcome.stderr == b"x" * limits.stderr_bytes


async def test_orphans_by_the_thousand_are_the_programs_cpu_time(victim: Victim) -> None:
    limits = RunLimits(cpu_ms=300, wall_ms=5_000)
    outcome = await victim.run(
        """
        import os
        while True:
            if os.fork() == 0:
                os.fork()
                os._exit(0)
            os.wait()
        """,
        limits,
    )
    assert outcome.stopped == "cpu"
