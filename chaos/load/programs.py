"""The problem of chaos, and programs of which everybody knows what they deserve. All of them are cheap: the machine has other things to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contracts.verdicts import Verdict

SLUG = "twice"
RIGHT = "print(2 * int(input()))\n"
SLOW_S = 0.3  # of each test of the slow one: long enough to be caught in the middle of, far below the wall limit

PACKAGE = {
    "problem.yaml": "problem_format_version: 2023-07-draft\ntype: pass-fail\nname: Twice\nlicense: cc0\nlimits:\n  time_limit: 0.3\n  memory: 256\n",
    "statement/problem.en.md": "Read a number and say twice as much.\n",
    "data/sample/1.in": "1\n",
    "data/sample/1.ans": "2\n",
    "data/secret/1-large.in": "123456789\n",
    "data/secret/1-large.ans": "246913578\n",
    "data/secret/2-nothing.in": "0\n",
    "data/secret/2-nothing.ans": "0\n",
    "data/secret/3-below.in": "-7\n",
    "data/secret/3-below.ans": "-14\n",
    "submissions/accepted/twice.py": RIGHT,
}


@dataclass(frozen=True)
class Program:
    """A source and the verdict that it must get."""

    language: str
    source: str
    verdict: Verdict
    is_slow: bool = False


_MAIN = '#include <stdio.h>\nint main(void) {{ long n; scanf("%ld", &n); {} }}\n'
SLOW = Program("python", f"import time\ntime.sleep({SLOW_S})\n{RIGHT}", Verdict.AC, is_slow=True)
RIGHT_ONE = Program("python", RIGHT, Verdict.AC)
_PYTHON = (
    RIGHT_ONE,
    SLOW,
    Program("python", "print(int(input()) + 1)\n", Verdict.WA),
    Program("python", "print(1 // int(input()[:0] or 0))\n", Verdict.RTE),
    Program("python", "print((\n", Verdict.CE),
)
_C = (  # compiling costs more than everything else
    Program("c", _MAIN.format('printf("%ld\\n", 2 * n);'), Verdict.AC),
    Program("c", _MAIN.format("for (volatile long i = 0;; i++) {}"), Verdict.TLE),
    Program("c", "int main(void) { return", Verdict.CE),
)
_SPIN = Program("python", "while True:\n    pass\n", Verdict.TLE)


def offered(languages: Iterable[str]) -> list[Program]:
    """Return the programs that can be judged here, the cheap ones twice: every verdict is among them, with a C compiler or without."""
    return [*_PYTHON, *_PYTHON, *(_C if "c" in set(languages) else (_SPIN,))]


def write_package(folder: Path) -> Path:
    """Write the problem's package below ``folder`` and return its place."""
    for name, text in PACKAGE.items():
        path = folder / SLUG / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / SLUG
