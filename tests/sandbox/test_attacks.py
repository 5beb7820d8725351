"""Every attack of the field notes, each against a real box, and after each the next run in the same box is unharmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from contracts.verdicts import Verdict
from sandbox import leftovers
from sandbox.bwrap import BwrapProvider
from sandbox.bwrap_box import BwrapBox
from sandbox.judging import Judged, classify, judge
from sandbox.languages import Language
from sandbox.provider import BoxLimits, Command, Outcome, RunLimits
from tests.sandbox.conftest import BRIEF, LIMITS, Victim, boxes, children, sums

pytestmark = pytest.mark.sandbox


async def test_a_fork_bomb_is_stopped_by_the_process_limit_and_leaves_nothing(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """,
        BRIEF,
    )
    assert classify(outcome, BRIEF) is Verdict.TLE


async def test_a_process_that_escapes_by_setsid_and_double_fork_dies_with_the_run(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os, time, signal
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 65):
                    try: signal.signal(number, signal.SIG_IGN)
                    except (OSError, ValueError): pass
                time.sleep(100)
            os._exit(0)
        print("started")
        """
    )
    assert (outcome.exit_code, outcome.stdout) == (0, b"started\n")
    assert outcome.wall_us < 1_500_000


async def test_stopping_and_killing_its_parent_does_nothing(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os, signal
        for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP):
            os.kill(os.getppid(), number)
        print(os.getppid())
        """
    )
    assert (outcome.exit_code, outcome.stdout) == (0, b"1\n")


async def test_asking_its_init_to_end_only_ends_the_program(victim: Victim) -> None:
    outcome = await victim.run("import os, time; os.kill(1, 15); time.sleep(1); print('alive')")
    assert (outcome.signal, outcome.stdout) == (9, b"")
    assert classify(outcome, LIMITS) is Verdict.RTE


async def test_killing_everything_in_sight_ends_only_its_own_children(victim: Victim) -> None:
    outcome = await victim.run("import os; os.fork() or os._exit(0); os.kill(-1, 9) if False else None; print(1)")
    assert outcome.exit_code == 0
    outcome = await victim.run("import os; os.kill(-1, 9)")
    assert outcome.exit_code == 1  # nobody there to kill but its init, which it cannot


async def test_filling_the_disk_hits_the_size_limit(victim: Victim) -> None:
    limits = RunLimits(cpu_ms=3_000, memory_kb=1 << 20, file_bytes=1 << 30)
    outcome = await victim.run(
        """
        try:
            with open("/tmp/big", "wb") as file:
                while True: file.write(bytes(1 << 20))
        except OSError as problem:
            print(problem.errno)
        """,
        limits,
    )
    assert outcome.stdout == b"28\n"  # ENOSPC


async def test_filling_the_disk_counts_as_memory(victim: Victim, provider: BwrapProvider) -> None:
    if provider.groups is None:
        pytest.skip("no control group here")
    limits = RunLimits(cpu_ms=3_000, memory_kb=24 * 1024, file_bytes=1 << 20)
    outcome = await victim.run("for n in range(1000): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))", limits)
    assert classify(outcome, limits) is Verdict.MLE


async def test_filling_the_inodes_hits_their_limit(victim: Victim) -> None:
    outcome = await victim.run(
        """
        n = 0
        try:
            while n < 100_000:
                open(f"/tmp/{n}", "w").close(); n += 1
        except OSError as problem:
            print(problem.errno, n < 5000)
        """
    )
    assert outcome.stdout == b"28 True\n"


async def test_a_deep_and_forbidding_tree_is_gone_at_the_next_run(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os
        os.chdir("/tmp")
        for n in range(1000):
            os.mkdir("d" * 100); os.chdir("d" * 100)
        os.chmod("/tmp", 0)
        """
    )
    assert outcome.exit_code == 0


@pytest.mark.parametrize(
    "place", ["/dev/shm", "/var/tmp", "/run", "/", "/usr", "/dev", "/box", "/etc", "/proc/sys/kernel"]
)
async def test_nothing_outside_tmp_can_be_written(victim: Victim, place: str) -> None:
    outcome = await victim.run(f"open({place + '/mine'!r}, 'w').write('x')")
    assert outcome.exit_code == 1
    assert b"FileNotFound" in outcome.stderr or b"Read-only" in outcome.stderr or b"Permission" in outcome.stderr


async def test_the_program_sees_three_descriptors_and_an_empty_environment(victim: Victim) -> None:
    outcome = await victim.run(
        "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:3], len(os.listdir('/proc/self/fd')), sorted(os.environ))"
    )
    assert (
        outcome.stdout == b"[0, 1, 2] 4 ['LC_CTYPE', 'PATH']\n"
    )  # the fourth is the listing itself; Python sets LC_CTYPE


async def test_the_agent_and_the_init_do_not_show_what_they_hold(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os
        for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
            if int(pid) == int(os.readlink("/proc/self")): continue
            for what in ("environ", "mem", "maps", "fd/0", "root/etc/passwd", "cwd/x"):
                try:
                    open(f"/proc/{pid}/{what}", "rb").read(10)
                    print("leak", pid, what)
                except OSError:
                    pass
        print("done")
        """
    )
    assert outcome.stdout == b"done\n"


async def test_no_data_of_the_host_can_be_read(victim: Victim) -> None:
    paths = [
        "/etc/passwd",
        "/etc/shadow",
        "/home",
        "/var",
        str(Path.home() / ".bashrc"),
        str(Path(__file__)),
        str(Path.cwd()),
        "/sys",
        "/mnt",
        "/opt",
        "/srv",
    ]
    outcome = await victim.run(f"import os; print([path for path in {paths!r} if os.path.exists(path)])")
    assert outcome.stdout == b"[]\n"


async def test_a_symlink_out_of_the_box_is_not_followed_when_results_are_collected(victim: Victim) -> None:
    code = "import os; os.symlink('/agent.py', '/tmp/out'); os.symlink('/', '/tmp/dir'); os.mkfifo('/tmp/fifo'); open('/tmp/real', 'w').write('yes')"
    argv = (victim.python, "-I", "-S", "-c", code)
    collect = ("/tmp/out", "/tmp/dir/agent.py", "/tmp/fifo", "/tmp/real", "/tmp/none")
    outcome = await victim.box.run(Command(argv=argv, limits=LIMITS, collect=collect))
    assert outcome.collected == {"/tmp/real": b"yes"}


async def test_a_run_leaves_no_note_for_the_next(victim: Victim) -> None:
    first = await victim.run(
        """
        import os, ctypes
        open("/tmp/note", "w").write("x")
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.shmget(42, 4096, 0o1777), libc.msgget(42, 0o1777), libc.semget(42, 1, 0o1777))
        """
    )
    assert first.stdout == b"-1 -1 -1\n"
    second = await victim.run("import os; print(os.listdir('/tmp'))")
    assert second.stdout == b"[]\n"


async def test_the_input_cannot_be_rewritten_not_even_for_itself(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os
        for attempt in (lambda: os.write(0, b"x"), lambda: os.write(os.open("/proc/self/fd/0", os.O_RDWR), b"x"), lambda: os.ftruncate(0, 0)):
            try:
                attempt(); print("written")
            except OSError:
                pass
        print(input())
        """,
        stdin=b"the input\n",
    )
    assert outcome.stdout == b"the input\n"


async def test_a_trapped_sigterm_and_every_other_signal_do_not_save_it(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, lambda *_: None)
            except (OSError, ValueError): pass
        while True: pass
        """,
        BRIEF,
    )
    assert classify(outcome, BRIEF) is Verdict.TLE
    assert 250_000 <= outcome.cpu_us < 750_000


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"])
async def test_there_is_no_network(victim: Victim, family: str) -> None:
    outcome = await victim.run(f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)")
    assert b"Address family not supported" in outcome.stderr


async def test_dangerous_system_calls_are_refused(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def errno(result): return ctypes.get_errno() if result < 0 else 0
        print(errno(libc.ptrace(16, 1, 0, 0)), errno(libc.unshare(0x10000000)), errno(libc.mount(b"x", b"/tmp", b"tmpfs", 0, 0)),
              errno(libc.syscall(56, 0x10000011, 0, 0, 0, 0)) if os.uname().machine == "x86_64" else 1, errno(libc.syscall(425, 8, 0)),
              errno(libc.syscall(435, 0, 0)), errno(libc.setuid(0)), errno(libc.prctl(23, 21)))
        """
    )
    assert outcome.stdout.split()[:5] == [b"1"] * 5
    assert outcome.stdout.split()[5] == b"38"
    # EPERM where there is a root to become, EINVAL where the box's user namespace has none
    assert outcome.stdout.split()[6] == (b"1" if os.geteuid() == 0 else b"22")


async def test_the_agents_protocol_cannot_be_forged_on_inherited_descriptors(victim: Victim) -> None:
    forged = (4).to_bytes(4, "little") + b"done" + b"x" * 4096
    outcome = await victim.run(
        f"""
        import os
        for fd in range(3, 256):
            try:
                os.write(fd, {forged!r}); print("wrote", fd)
            except OSError:
                pass
        """
    )
    assert (outcome.exit_code, outcome.stdout) == (0, b"")


async def test_forged_frames_in_the_output_are_just_output(victim: Victim) -> None:
    forged = (8).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"done"
    outcome = await victim.run(f"import sys; sys.stdout.buffer.write({forged!r}); sys.stderr.buffer.write({forged!r})")
    assert (outcome.stdout, outcome.stderr) == (forged, forged)


async def test_a_flood_of_errors_is_cut_and_never_mixed_into_the_answer(victim: Victim) -> None:
    outcome = await victim.run("import sys\nfor n in range(20000): sys.stderr.write('e' * 1000)\nprint('answer')")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, b"answer\n", b"e" * LIMITS.stderr_bytes)


async def test_an_endless_flood_of_errors_ends_with_the_cpu_limit(victim: Victim) -> None:
    outcome = await victim.run("import os\nwhile True: os.write(2, b'e' * 65536)", BRIEF)
    assert classify(outcome, BRIEF) is Verdict.TLE


async def test_a_flood_of_output_ends_at_the_cap(victim: Victim) -> None:
    limits = RunLimits(cpu_ms=3_000, file_bytes=1 << 20)
    outcome = await victim.run(
        "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nwhile True: os.write(1, b'x' * 4096)", limits
    )
    assert classify(outcome, limits) is Verdict.OLE
    assert outcome.signal == 25
    assert outcome.stdout_size == limits.file_bytes + 1


async def test_output_made_by_stretching_the_file_is_capped_too(victim: Victim) -> None:
    limits = RunLimits(cpu_ms=3_000, file_bytes=1 << 20)
    outcome = await victim.run(
        "import os\ntry: os.ftruncate(1, 1 << 40)\nexcept OSError as problem: print(problem.errno)", limits
    )
    assert outcome.stdout == b"27\n"  # EFBIG


async def test_an_orphan_that_burns_cpu_is_killed_and_its_time_counted(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import os, time
        if os.fork() == 0:
            while True: pass
        time.sleep(0.3)
        """
    )
    assert outcome.exit_code == 0
    assert 50_000 < outcome.cpu_us < 900_000


async def test_cpu_time_cannot_be_hidden_in_children_nobody_waits_for(victim: Victim, provider: BwrapProvider) -> None:
    if provider.groups is None:
        pytest.skip("no control group here")
    outcome = await victim.run(
        """
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        read, write = os.pipe()
        if os.fork() == 0:
            end = time.process_time() + 0.3
            while time.process_time() < end: pass
            os._exit(0)
        os.close(write)
        os.read(read, 1)
        """
    )
    assert outcome.cpu_us > 280_000


async def test_threads_burn_the_same_cpu_budget(victim: Victim, need: Callable[[str], Language]) -> None:
    need("c")
    outcome = await victim.run(
        """
        import os, signal
        for _ in range(3):
            if os.fork() == 0:
                while True: pass
        while True: pass
        """,
        BRIEF,
    )
    assert classify(outcome, BRIEF) is Verdict.TLE
    assert outcome.wall_us < 5_000_000


async def test_a_memory_bomb_is_mle(victim: Victim) -> None:
    outcome = await victim.run("hoard = []\nwhile True: hoard.append(b'x' * (1 << 20))")
    assert classify(outcome, LIMITS) is Verdict.MLE
    assert outcome.memory_kb >= 90 * 1024


async def test_a_memory_bomb_of_many_processes_is_mle(victim: Victim, provider: BwrapProvider) -> None:
    if provider.groups is None:
        pytest.skip("no control group here")
    outcome = await victim.run(
        "import os, time\nfor _ in range(8):\n  if os.fork() == 0:\n    hoard = b'x' * (30 << 20); time.sleep(3)\ntime.sleep(0.5)"
    )
    assert classify(outcome, LIMITS) is Verdict.MLE


async def test_sleeping_is_ended_by_the_wall_limit_though_no_cpu_is_used(victim: Victim) -> None:
    limits = RunLimits(cpu_ms=1_000, wall_ms=300)
    outcome = await victim.run("import time; time.sleep(100)", limits)
    assert (outcome.stopped, classify(outcome, limits)) == ("wall", Verdict.TLE)
    assert outcome.wall_us < 2_000_000


async def test_a_machine_that_stood_still_in_the_middle_of_a_run_is_not_the_programs_fault(victim: Victim) -> None:
    outcome: list[Outcome] = []

    async def run() -> None:
        limits = RunLimits(cpu_ms=1_000, wall_ms=1_500)
        outcome.append(await victim.run("import time; time.sleep(1)", limits))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(0.5)
        everything = boxes() | children(boxes())
        for pid in everything:
            os.kill(pid, signal.SIGSTOP)
        await trio.sleep(2.5)
        for pid in everything:
            os.kill(pid, signal.SIGCONT)
    assert (outcome[0].stopped, outcome[0].exit_code) == ("", 0)


async def test_a_status_of_137_is_a_run_time_error_and_not_guessed_to_be_memory(victim: Victim) -> None:
    outcome = await victim.run("import os; os._exit(137)")
    assert (classify(outcome, LIMITS), outcome.exit_code) == (Verdict.RTE, 137)
    outcome = await victim.run("import os; os.kill(os.getpid(), 9)")
    assert (classify(outcome, LIMITS), outcome.signal) == (Verdict.RTE, 9)


async def test_raising_its_own_limits_is_refused(victim: Victim) -> None:
    outcome = await victim.run(
        """
        import resource
        for what in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
            try:
                resource.setrlimit(what, (-1, -1)); print("raised", what)
            except ValueError:
                pass
        """
    )
    assert outcome.stdout == b""


# ---- compilers -------------------------------------------------------------------------------------------------------

BOMBS = {
    "endless random header": '#include "/dev/random"\nint main(){}',
    "endless zero header": '#include "/dev/zero"\nint main(){}',
    "template recursion": "template<int N> struct F { static const int v = F<N-1>::v + F<N-2>::v; };\n"
    "template<int A, int B> struct G { typedef typename G<A-1, B>::t t; typedef typename G<A, B-1>::t u; };\nint main(){ G<800, 800>::t x; }",
    "a binary of gigabytes": "int a[1<<28] = {1};\nint b[1<<28] = {1};\nint main(){return a[0]+b[0];}",
    "the agent's own text": '#include "/agent.py"\nint main(){}',
    "the host's passwords": '#include "/etc/passwd"\nint main(){}',
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_a_compile_bomb_is_a_compile_error(box: BwrapBox, need: Callable[[str], Language], bomb: str) -> None:
    judged = await judge(box, sums(compile_ms=1_000, compile_memory_kb=256 * 1024), need("cpp"), bomb)
    assert judged.verdict is Verdict.CE
    assert len(judged.compile_output) < 20_000
    assert "root:" not in judged.compile_output


async def test_a_python_source_that_breaks_its_compiler_is_a_compile_error(
    box: BwrapBox, need: Callable[[str], Language]
) -> None:
    judged = await judge(box, sums(), need("python"), "(" * 100_000)
    assert judged.verdict is Verdict.CE


async def judged_in(provider: BwrapProvider, language: Language, source: str | bytes) -> Judged:
    box = await provider.open(BoxLimits())
    try:
        return await judge(box, sums(), language, source)
    finally:
        await box.close()


@pytest.mark.parametrize(
    "source", [b"\0\0\0", b"\xff\xfe", "print('\ud800')", b""], ids=["nul", "not utf-8", "surrogate", "empty"]
)
async def test_strange_sources_get_an_ordinary_verdict(
    provider: BwrapProvider, nothing_left: None, need: Callable[[str], Language], source: str | bytes
) -> None:
    judged = await judged_in(provider, need("python"), source)
    assert judged.verdict in (Verdict.CE, Verdict.WA, Verdict.RTE)


_STARTING = """
import os, signal, trio
from sandbox import leftovers
from sandbox.bwrap import BwrapProvider
from sandbox.bwrap_box import BwrapBox

async def main():
    async def never(self, limits, uid):
        os.kill(os.getpid(), signal.SIGKILL)
    BwrapBox.hello = never
    from sandbox.provider import BoxLimits
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(BwrapProvider().open, BoxLimits())

trio.run(main)
"""


async def test_a_box_that_was_starting_when_the_server_was_killed_is_ended_by_the_next_start(
    provider: BwrapProvider,
) -> None:
    for _ in range(5):
        done = await trio.run_process([sys.executable, "-c", _STARTING], cwd=Path(__file__).parents[2], check=False)
        assert done.returncode == -9
    provider.clean_stale()
    gone = [pid for pid, server in leftovers.marked() if leftovers.started(int(server.partition(".")[0])) is None]
    with trio.fail_after(5):
        while any(leftovers.started(pid) is not None for pid in gone):
            await trio.sleep(0.01)


# ---- the server, gone ------------------------------------------------------------------------------------------------

_SERVER = """
import sys, trio
from sandbox import leftovers
from sandbox.bwrap import BwrapProvider
from sandbox.provider import BoxLimits, Command, RunLimits

async def main():
    box = await BwrapProvider().open(BoxLimits())
    print(box.agent_pid, flush=True)
    await box.run(Command(argv=("/bin/sleep", "60"), limits=RunLimits(cpu_ms=60_000, wall_ms=60_000)))

trio.run(main)
"""


async def test_when_the_server_is_killed_its_boxes_die_and_the_next_start_cleans_up(provider: BwrapProvider) -> None:
    server = subprocess.Popen(  # noqa: ASYNC220 - Trio's would end it for us
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert server.stdout is not None
    agent = int(server.stdout.readline())
    pidfd = os.pidfd_open(agent)
    server.kill()
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(pidfd)
    os.close(pidfd)
    server.wait()
    server.stdout.close()
    provider.clean_stale()
    if provider.groups is not None:
        assert not list(provider.groups.memory.glob(f"codewarz.{server.pid}.*"))
