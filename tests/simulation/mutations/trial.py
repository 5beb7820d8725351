"""A mutation on trial: a copy of the house, the patch, and seeds in processes of their own until a checker complains."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("actors", "chaos", "contracts", "edge", "sandbox", "supervisor")
SEEDS = range(200)  # a mutation is caught within these, or it is not caught
TIMEOUT_S = 900.0  # of real time, for all seeds of one trial; a seed takes less than one


class Stale(Exception):
    """The text that a mutation replaces is not in the product any more, or not only once."""


class Replace(msgspec.Struct, frozen=True):
    """``old`` becomes ``new`` in a file; ``old`` occurs there exactly once."""

    file: str
    old: str
    new: str


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """A way to break the product."""

    name: str
    breaks: str  # in one sentence
    by: tuple[str, ...]  # invariants that may catch it
    patch: tuple[Replace, ...]
    caught_by: int  # a seed that is known to catch it: tried first, so that the usual trial is short
    says: str = ""  # a regular expression that the violation's words must match


class Seen(StrEnum):
    """What a seed came to."""

    NOTHING = "nothing"
    VIOLATION = "violation"
    ACCIDENT = "accident"  # the patch or the simulation itself fell over


class Ran(msgspec.Struct, frozen=True):
    """One seed of a mutated house."""

    seed: int
    seen: Seen
    invariant: str = ""
    detail: str = ""


class Trial(msgspec.Struct, frozen=True):
    """What became of a mutation: the seeds in the order in which they were run; the last one ended the trial."""

    mutation: Mutation
    ran: tuple[Ran, ...]

    @property
    def last(self) -> Ran:
        """The seed that ended it."""
        return self.ran[-1]

    @property
    def is_caught(self) -> bool:
        """Whether an invariant that this mutation breaks was seen broken."""
        last, mutation = self.last, self.mutation
        return (
            last.seen is Seen.VIOLATION
            and last.invariant in mutation.by
            and re.search(mutation.says, last.detail) is not None
        )

    def verdict(self) -> str:
        """Say it in a sentence."""
        last, name = self.last, self.mutation.name
        if self.is_caught:
            return f"{name}: caught by seed {last.seed}, {last.invariant}: {last.detail}"
        if last.seen is Seen.NOTHING:
            return f"{name}: NOT caught in {len(self.ran)} seeds"
        if last.seen is Seen.ACCIDENT:
            return f"{name}: seed {last.seed} ended in an accident, which proves nothing: {last.detail}"
        wanted = " or ".join(self.mutation.by) + (f" saying {self.mutation.says!r}" if self.mutation.says else "")
        return f"{name}: seed {last.seed} broke {last.invariant}, expected {wanted}: {last.detail}"


def copy_house(to: Path) -> Path:
    """Copy everything that a run imports, compiled files included (they stay valid: times are copied too)."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, to / package)
    return to


def apply(mutation: Mutation, house: Path) -> None:
    """Break a copy of the house. Raises Stale when the product has changed there."""
    for each in mutation.patch:
        path = house / each.file
        path.write_text(patched(path.read_text(), each, mutation.name))
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def patched(text: str, replace: Replace, name: str) -> str:
    """Return a file's text with one replacement."""
    found = text.count(replace.old)
    if found != 1:
        raise Stale(
            f"mutation {name!r}: {replace.file} has {found} times what it replaces, not once. The product has changed there: "
            f"write the mutation anew for what is there now, or drop it. It looked for:\n{replace.old}"
        )
    return text.replace(replace.old, replace.new)


def run_seeds(house: Path, seeds: Iterable[int], *, is_whole: bool = False) -> list[Ran]:
    """Run seeds in a process of their own until one sees something; with ``is_whole`` run all of them."""
    words = [sys.executable, "-P", str(Path(__file__).with_name("seeds.py")), *(["--whole"] if is_whole else [])]
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(house)}
    done = subprocess.run(
        [*words, *map(str, seeds)], env=env, cwd=house, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    ran = [msgspec.json.decode(line, type=Ran) for line in done.stdout.splitlines()]
    if done.returncode != 0:
        ran.append(Ran(-1, Seen.ACCIDENT, detail=done.stderr[-2000:]))
    return ran


def on_trial(mutation: Mutation, scratch: Path, seeds: Sequence[int], *, is_whole: bool = False) -> Trial:
    """Break a copy of the house in ``scratch`` (which is left empty) and run seeds there until something is seen."""
    house = scratch / mutation.name
    try:
        apply(mutation, copy_house(house))
        return Trial(mutation, tuple(run_seeds(house, seeds, is_whole=is_whole)))
    finally:
        shutil.rmtree(house)


@cache
def hinted(first: int) -> tuple[int, ...]:
    """Return all seeds, the one that is known to catch first."""
    return (first, *(seed for seed in SEEDS if seed != first))
