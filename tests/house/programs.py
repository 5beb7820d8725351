"""What people submit: the jury's own submissions of the demo problems, with what each must get, and a few for the verdicts that those leave out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path

from actors.demo.contest import PROBLEMS
from sandbox.package import ProblemPackage
from sandbox.package_reader import load_package

LANGUAGES = ("c", "cpp", "python")


@dataclass(frozen=True)
class Program:
    """A source for a problem, and the verdicts of which it must get one."""

    slug: str
    language: str
    source: str
    verdicts: tuple[str, ...]
    name: str


OWN = (
    Program("firstlight", "c", "int main(void){for(volatile int i=0;;i=1-i){}}", ("TLE",), "spins"),
    Program(
        "firstlight",
        "c",
        "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;)memset(malloc(1<<20),1,1<<20);}",
        ("MLE",),
        "hoards",
    ),
    Program(
        "firstlight", "c", '#include <stdio.h>\nint main(void){for(;;)puts("a flood of output");}', ("OLE",), "floods"
    ),
    Program("firstlight", "python", "while True: print('x' * 10000)", ("OLE",), "floods"),
    Program("firstlight", "python", "while True: pass", ("TLE",), "spins"),
    Program("airlock", "c", "#include <stdlib.h>\nint main(void){abort();}", ("RTE",), "aborts"),
    Program("airlock", "c", "int main(void){", ("CE",), "unfinished"),
    Program("airlock", "cpp", "int main() { return undeclared; }", ("CE",), "undeclared"),
    Program("airlock", "python", "def (", ("CE",), "unfinished"),
    Program("airlock", "python", "print('perhaps')", ("WA",), "perhaps"),
)


@cache
def packages() -> dict[str, ProblemPackage]:
    """The demo problems."""
    folders = sorted(path.parent for path in PROBLEMS.glob("*/problem.yaml"))
    return {folder.name: load_package(folder) for folder in folders}


@cache
def jury() -> tuple[Program, ...]:
    """Every jury submission of the demo problems."""
    return tuple(
        Program(slug, each.language, each.sources[0].content.decode(), each.expected.verdicts, each.path)
        for slug, package in packages().items()
        for each in package.submissions
        if each.language is not None and len(each.sources) == 1
    )


def offered(programs: Iterable[Program], languages: Iterable[str]) -> list[Program]:
    """Those that can be judged on this machine."""
    return [each for each in programs if each.language in languages]


def mixture(count: int, languages: Iterable[str]) -> list[Program]:
    """Return ``count`` programs: every verdict and language, everything of the jury's that is quick, and again from the front until there are enough.

    Of what runs into a time limit only our own, which does so at its first test, and of C++ each once: a compilation takes half a second.
    """
    once = offered((*OWN, *(each for each in jury() if "TLE" not in each.verdicts)), set(languages))
    again = [each for each in once if each.language != "cpp" and each.slug in ("firstlight", "airlock", "stairs")]
    again = [each for each in again if not {"TLE", "MLE"} & set(each.verdicts)]
    return [*once, *islice(cycle(again), max(0, count - len(once)))][:count]


def quick(count: int) -> list[Program]:
    """Return ``count`` Python programs that are judged fast, one in five of them right."""
    right = Path(PROBLEMS, "firstlight/submissions/accepted/flashes.py").read_text()
    some = (
        Program("firstlight", "python", right, ("AC",), "flashes"),
        Program("firstlight", "python", "print(1)", ("WA",), "one"),
        Program("firstlight", "python", "print(1 // 0)", ("RTE",), "divides"),
        Program("firstlight", "python", "print(", ("CE",), "unfinished"),
        Program("firstlight", "python", "print(2)", ("WA",), "two"),
    )
    return list(islice(cycle(some), count))
