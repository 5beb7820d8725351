"""The system call filter of every program, as classic BPF for ``seccomp(2)``.

A deny list on top of the real walls (namespaces, no capabilities, read-only mounts, no new privileges): what a program has no use for and what kernels were
most often attacked through. ``clone`` loses its namespace flags; ``clone3``, whose flags a filter cannot read, says ENOSYS, which makes every libc fall back
to ``clone``. Sockets and pairs of them are Unix sockets only: a vsock or netlink socket is not stopped by a network namespace, and asking for a rare family
loads a kernel module. System V IPC and message queues outlive their processes, so a test could leave notes for the next one. Limits can only be set for
oneself: the run's init has the program's uid, so the kernel would let a program limit it, too; and not the core limit, see ``agent.give_up_powers``.
Priorities stay as they are, because time spent waiting for a CPU does not count as waiting. Asynchronous I/O takes from a budget of the whole machine.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_LD_W_ABS: Final = 0x20
_JEQ, _JGE, _JSET, _RET = 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0_LOW, _ARG1_LOW, _ARG2_LOW, _ARG2_HIGH = 0, 4, 16, 24, 32, 36
_X32_BIT: Final = 0x40000000
_NAMESPACES: Final = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_AF_UNIX: Final = 1

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64); None where the architecture has no such call. Numbers from the kernel's syscall tables.
DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "unshare": (272, 97), "setns": (308, 268), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "vhangup": (153, 58), "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "mbind": (237, 235),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "io_setup": (206, 0), "memfd_secret": (447, 447), "cachestat": (451, 451),
    "statmount": (457, 457), "listmount": (458, 458), "open_tree_attr": (467, 467), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
}  # fmt: skip
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_SOCKETS: Final = {"x86_64": (41, 53), "aarch64": (198, 199)}  # socket, socketpair
_SETRLIMIT: Final = {"x86_64": 160, "aarch64": 164}
_PRLIMIT: Final = {"x86_64": 302, "aarch64": 261}
_RLIMIT_CORE: Final = 4
_LEAF: Final = 4
_CLONE3: Final = 435


def _ins(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)


def _return_errno(number: int) -> bytes:
    return _ins(_RET, _ERRNO | number)


def program(machine: str | None = None) -> bytes:
    """Return the filter for ``machine`` (default: this one) as an array of ``struct sock_filter``. KeyError for an unknown machine."""
    machine = machine or platform.machine()
    column = list(ARCHITECTURES).index(machine)
    code = [_ins(_LD_W_ABS, _ARCH), _ins(_JEQ, ARCHITECTURES[machine], 1, 0), _ins(_RET, _KILL), _ins(_LD_W_ABS, _NR)]
    if machine == "x86_64":
        code += [_ins(_JGE, _X32_BIT, 0, 1), _return_errno(errno.ENOSYS)]
    code += [_ins(_JEQ, _CLONE3, 0, 1), _return_errno(errno.ENOSYS)]
    code += [_ins(_JEQ, _CLONE[machine], 0, 4), _ins(_LD_W_ABS, _ARG0_LOW), _ins(_JSET, _NAMESPACES, 0, 1)]
    code += [_return_errno(errno.EPERM), _ins(_RET, _ALLOW)]
    for call in _SOCKETS[machine]:
        code += [_ins(_JEQ, call, 0, 4), _ins(_LD_W_ABS, _ARG0_LOW), _ins(_JEQ, _AF_UNIX, 1, 0)]
        code += [_return_errno(errno.EAFNOSUPPORT), _ins(_RET, _ALLOW)]
    refuse, allow = _return_errno(errno.EPERM), _ins(_RET, _ALLOW)
    code += [
        _ins(_JEQ, _SETRLIMIT[machine], 0, 4),
        _ins(_LD_W_ABS, _ARG0_LOW),
        _ins(_JEQ, _RLIMIT_CORE, 0, 1),
        refuse,
        allow,
    ]
    code += [
        _ins(_JEQ, _PRLIMIT[machine], 0, 13),
        _ins(_LD_W_ABS, _ARG0_LOW),
        _ins(_JEQ, 0, 1, 0),
        refuse,
    ]  # of oneself
    code += [_ins(_LD_W_ABS, _ARG1_LOW), _ins(_JEQ, _RLIMIT_CORE, 1, 0), allow]
    for half in (_ARG2_LOW, _ARG2_HIGH):  # no new core limit: only asking for the old one
        code += [_ins(_LD_W_ABS, half), _ins(_JEQ, 0, 1, 0), refuse]
    code += [allow]
    code += _deny(sorted(number for numbers in DENIED.values() if (number := numbers[column]) is not None))
    return b"".join(code)


def _deny(numbers: list[int]) -> list[bytes]:
    """Return what refuses ``numbers``, as a search tree: the kernel walks through all of it for every call it knows, each time a filter is set."""
    if len(numbers) <= _LEAF:
        checks = [_ins(_JEQ, number, len(numbers) - at, 0) for at, number in enumerate(numbers)]
        return [*checks, _ins(_RET, _ALLOW), _return_errno(errno.EPERM)]
    middle = len(numbers) // 2
    low, high = _deny(numbers[:middle]), _deny(numbers[middle:])
    return [_ins(_JGE, numbers[middle], len(low), 0), *low, *high]
