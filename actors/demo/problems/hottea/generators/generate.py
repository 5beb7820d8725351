"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/by_end_of_chat.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "by_end_of_chat.py"
LARGEST = 20_000

Crews = list[tuple[int, int]]


def solvable(rng: random.Random, n: int, longest_chat: int, patience: int) -> Crews:
    """Return crews that a hidden order serves in time, each with up to ``patience`` minutes to spare."""
    crews, minute = [], 0
    for _ in range(n):
        chat = rng.randint(1, longest_chat)
        crews.append((chat, minute + rng.randint(0, patience)))
        minute += chat
    rng.shuffle(crews)
    return crews


def possible(crews: Crews) -> bool:
    minute = 0
    for chat, deadline in sorted(crews, key=sum):
        if minute > deadline:
            return False
        minute += chat
    return True


def on_the_edge(crews: Crews, spare: int) -> Crews:
    """Return the crews with one of them so impatient that it just goes (spare 0) or just fails (spare -1)."""
    crews = list(crews)
    chosen = crews.index(sorted(crews, key=sum)[len(crews) * 4 // 5])
    chat, high = crews[chosen]
    low = -1  # always too impatient; at its own deadline it goes
    while high - low > 1:
        middle = (low + high) // 2
        crews[chosen] = (chat, middle)
        if possible(crews):
            high = middle
        else:
            low = middle
    crews[chosen] = (chat, high + spare)
    assert high + spare >= 0
    return crews


def swap_trap(n: int) -> Crews:
    """Return crews where the later deadline must often be served first: long chats hide behind short patience."""
    crews, minute = [], 0
    for _ in range(n // 2):
        crews += [(10, minute + 30), (50, minute + 12)]
        minute += 60
    return crews


def cases() -> list[tuple[str, Crews]]:
    rng = random.Random(3)  # the seed belongs to the data: another one makes other tests
    return [
        ("one-patient", [(1000, 0)]),
        ("two-in-a-hurry", [(1, 0), (1000, 0)]),
        ("all-alike", [(7, 7 * 49)] * 50),
        ("one-minute-short", [(7, 7 * 49 - 1)] * 50),
        ("chats-decide", [(100, 40), (1, 60), (20, 20), (20, 0), (50, 161)]),
        ("tight-small", solvable(rng, 12, 9, 0)),
        ("swaps", swap_trap(400)),
        ("loose", solvable(rng, 1_000, 1_000, 100_000)),
        ("just-possible", on_the_edge(solvable(rng, 1_000, 1_000, 2_000), 0)),
        ("just-impossible", on_the_edge(solvable(rng, 1_000, 1_000, 2_000), -1)),
        ("tight-sorted", sorted(solvable(rng, 5_000, 60, 0), key=sum)),
        ("largest-easy", solvable(rng, LARGEST, 1_000, 5_000)),
        ("largest-just-impossible", on_the_edge(solvable(rng, LARGEST, 1_000, 900), -1)),
    ]


for position, (name, crews) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    text = f"{len(crews)}\n" + "".join(f"{chat} {deadline}\n" for chat, deadline in crews)
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
