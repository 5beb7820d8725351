"""Accept any order of visits that serves every crew in time.

Called as: main.py judge_in judge_ans feedback_dir < team_output. Exits 42 to accept and 43 to reject.
"""

import sys
from pathlib import Path
from typing import NoReturn

ACCEPT, REJECT, BROKEN = 42, 43, 1


def finish(code: int, message: str) -> NoReturn:
    (Path(sys.argv[3]) / "judgemessage.txt").write_text(message + "\n", encoding="utf-8")
    sys.exit(code)


def problem_with(order: list[str], crews: list[tuple[int, int]]) -> str | None:
    """Return what is wrong with the order, or None."""
    if len(order) != len(crews):
        return f"expected {len(crews)} crew numbers, found {len(order)} words"
    minute = 0
    visited: set[int] = set()
    for position, word in enumerate(order, 1):
        crew = int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0
        if not 1 <= crew <= len(crews):
            return f"visit {position} is {word[:20]!r}, which is no crew"
        if crew in visited:
            return f"visit {position} is crew {crew} again"
        visited.add(crew)
        chat, deadline = crews[crew - 1]
        if minute > deadline:
            return f"crew {crew} is served in minute {minute}, which is after minute {deadline}"
        minute += chat
    return None


def main() -> NoReturn:
    numbers = list(map(int, Path(sys.argv[1]).read_text(encoding="ascii").split()))
    crews = list(zip(numbers[1::2], numbers[2::2], strict=True))
    jury_gave_up = Path(sys.argv[2]).read_text(encoding="ascii").split() == ["impossible"]
    words = sys.stdin.buffer.read().decode("utf-8", "replace").split()

    if [word.lower() for word in words] == ["impossible"]:
        if jury_gave_up:
            finish(ACCEPT, "impossible, as the jury says")
        finish(REJECT, "says impossible, but the jury has an order")
    fault = problem_with(words, crews)
    if fault is not None:
        finish(REJECT, fault)
    if jury_gave_up:
        finish(BROKEN, "the team has an order where the jury says impossible")
    finish(ACCEPT, "a valid order")


main()
