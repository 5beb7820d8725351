"""Real boxes for tests: one provider per run, and proof after every test that nothing was left."""

from __future__ import annotations

import os
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sandbox import cgroups, languages, leftovers
from sandbox.bwrap import BwrapProvider
from sandbox.bwrap_box import BwrapBox
from sandbox.languages import Language
from sandbox.package import Limits, ProblemPackage, Test
from sandbox.provider import BoxLimits, Command, File, Outcome, RunLimits, SandboxUnavailable

PACKAGES = Path(__file__).parent / "packages"
LIMITS = RunLimits(cpu_ms=1_000, wall_ms=2_000, memory_kb=96 * 1024, processes=32)
BRIEF = RunLimits(cpu_ms=250, wall_ms=1_000, memory_kb=96 * 1024, processes=32)  # for what ends at its limit anyway


@pytest.fixture(scope="session")
def detected() -> dict[str, Language]:
    return languages.detect()


@pytest.fixture(scope="session")
def provider(detected: dict[str, Language]) -> BwrapProvider:
    try:
        return BwrapProvider(extra=languages.binds(detected.values()))
    except SandboxUnavailable as problem:
        pytest.skip(problem.detail)


@pytest.fixture
def nothing_left(provider: BwrapProvider) -> Iterator[None]:
    """No process below us and no control group of ours is there after the test that was not there before."""
    processes, control_groups = children() | boxes(), groups(provider)
    yield
    # What was there, an engine of another test, may end meanwhile, or start a process of its own.
    theirs = children(processes) if processes else set()
    assert (children() - theirs | boxes()) - processes == set()
    assert groups(provider) - control_groups == set()


@pytest.fixture
async def box(provider: BwrapProvider, nothing_left: None) -> AsyncIterator[BwrapBox]:
    box = await provider.open(BoxLimits())
    try:
        yield box
    finally:
        await box.close()


class Victim:
    """A box and a Python in it: ``run`` a hostile program, then ``is_unharmed`` runs a harmless one."""

    def __init__(self, box: BwrapBox, python: str) -> None:
        self.box = box
        self.python = python

    async def run(
        self, code: str, limits: RunLimits = LIMITS, stdin: bytes = b"", files: tuple[File, ...] = ()
    ) -> Outcome:
        argv = (self.python, "-I", "-S", "-B", "-c", textwrap.dedent(code))
        env = {"PATH": "/usr/bin:/bin"}
        return await self.box.run(Command(argv=argv, limits=limits, stdin=stdin, files=files, env=env))

    async def is_unharmed(self) -> None:
        code = "import os; print(sum(map(int, input().split())), os.listdir('/tmp'), len(os.listdir('/proc/self/fd')))"
        outcome = await self.run(code, stdin=b"20 22\n")
        assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, b"42 [] 4\n", b"")
        assert outcome.cpu_us < 900_000


@pytest.fixture
async def victim(box: BwrapBox, provider: BwrapProvider) -> AsyncIterator[Victim]:
    await box.seal()
    victim = Victim(box, str(provider.interpreter.program))
    yield victim
    await victim.is_unharmed()


@pytest.fixture
def need(detected: dict[str, Language]) -> Callable[[str], Language]:
    def find(name: str) -> Language:
        if name not in detected:
            pytest.skip(f"{name} is not on this machine")
        return detected[name]

    return find


def children(of: set[int] | None = None) -> set[int]:
    """Return the processes below this one (or these), at any depth."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(folder.name)] = int(fields[1])
    above = of or {os.getpid()}
    found = set(above)
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - above
        found |= more


def boxes() -> set[int]:
    """Return the bubblewraps that this process started, also those that lost their parent."""
    mine = leftovers.identity(os.getpid())
    return {pid for pid, server in leftovers.marked() if server == mine}


def groups(provider: BwrapProvider) -> set[str]:
    """Return the control groups that belong to this process's boxes."""
    where: cgroups.Hierarchies | None = provider.groups
    if where is None:
        return set()
    folders = {where.memory, where.cpu or where.memory}
    return {str(path) for folder in folders for path in folder.glob(f"codewarz.{os.getpid()}.*")}


def sums(count: int = 3, **limits: int) -> ProblemPackage:
    """Return a package that asks for the sum of two numbers."""
    tests = tuple(
        Test(
            name=f"secret/{number}",
            input=b"%d %d\n" % (number, number),
            answer=b"%d\n" % (2 * number),
            is_sample=number == 0,
        )
        for number in range(count)
    )
    given = Limits(**{"time_ms": 1000, "memory_kb": 128 * 1024, **limits})
    return ProblemPackage(slug="sums", title="Sums", format="2023-07", statements=(), tests=tests, limits=given)
