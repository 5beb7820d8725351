"""What one test could leave for the next, or for another box: if programs can pass notes, the hidden tests are not hidden from each other."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Victim

pytestmark = pytest.mark.sandbox


async def test_process_numbers_do_not_tell_how_many_processes_there_were_before(victim: Victim) -> None:
    number = (
        "import os; print(os.readlink('/proc/self'), sorted(name for name in os.listdir('/proc') if name.isdigit()))"
    )
    first = await victim.run(number)
    await victim.run("import os\nfor _ in range(100):\n    os.fork() or os._exit(0)\n    os.wait()")
    second = await victim.run(number)
    assert first.stdout == second.stdout == b"2 ['1', '2']\n"


async def test_the_empty_input_carries_no_flags_and_no_owner_to_the_next_program(victim: Victim) -> None:
    await victim.run(
        "import fcntl, os; fcntl.fcntl(0, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK); fcntl.fcntl(0, 10, 44); fcntl.fcntl(0, fcntl.F_SETOWN, 1)"
    )
    second = await victim.run(
        "import fcntl, os; print(fcntl.fcntl(0, fcntl.F_GETFL) & (os.O_APPEND | os.O_NONBLOCK), fcntl.fcntl(0, 11), fcntl.fcntl(0, fcntl.F_GETOWN))"
    )
    assert second.stdout == b"0 0 0\n"


@pytest.mark.parametrize("device", ["null", "zero", "full", "random", "urandom"])
async def test_the_times_of_the_hosts_devices_cannot_be_set(victim: Victim, device: str) -> None:
    outcome = await victim.run(f"import os; os.utime('/dev/{device}')")
    assert b"Read-only file system" in outcome.stderr
    outcome = await victim.run("open('/dev/null', 'wb').write(b'x'); print(len(open('/dev/urandom', 'rb').read(4)))")
    assert outcome.stdout == b"4\n"


async def test_a_place_for_files_is_as_new_whether_or_not_it_was_used(victim: Victim) -> None:
    look = "import os; seen = os.stat('/tmp'); print(seen.st_ino, seen.st_size, seen.st_nlink, oct(seen.st_mode), os.listdir('/tmp'))"
    first = await victim.run(look)
    await victim.run(
        "import os; os.mkdir('/tmp/a'); open('/tmp/b', 'w').write('x'); os.chmod('/tmp', 0o111); os.utime('/tmp', (1, 1))"
    )
    second = await victim.run(look)
    assert first.stdout == second.stdout


async def test_sockets_that_keep_each_other_alive_are_not_there_for_the_next_program(victim: Victim) -> None:
    first = await victim.run(
        r"""
        import array, os, socket
        for number in range(10):
            here = socket.socket(socket.AF_UNIX); here.bind(f"\0note{number}"); here.listen()
            one = socket.socket(socket.AF_UNIX); one.connect(f"\0note{number}")
            other, _ = here.accept()
            for end in (one, other):  # a cycle: each is on its way through the other
                fds = array.array("i", [one.fileno(), other.fileno(), here.fileno()])
                end.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os._exit(0)
        """
    )
    assert first.exit_code == 0
    second = await victim.run(
        r"""
        import socket
        for number in range(10):
            try:
                socket.socket(socket.AF_UNIX).connect(f"\0note{number}"); print("found", number)
            except ConnectionRefusedError:
                pass
        """
    )
    assert (second.exit_code, second.stdout) == (0, b"")


async def test_shared_memory_and_locks_do_not_outlive_a_run(victim: Victim) -> None:
    code = """
        import ctypes, fcntl, os
        libc = ctypes.CDLL(None, use_errno=True)
        fcntl.flock(os.open("/dev/null", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        libc.sem_open.restype = ctypes.c_void_p
        print(libc.shm_open(b"/note", os.O_RDWR | os.O_CREAT, 0o600), libc.sem_open(b"/note", os.O_CREAT, 0o600, 1),
              libc.mq_open(b"/note", os.O_CREAT, 0o600, 0))
        """
    for _ in range(2):
        outcome = await victim.run(code)
        assert outcome.stdout == b"-1 None -1\n", outcome.stderr
