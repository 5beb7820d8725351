"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/crossings.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "crossings.py"
LARGEST = 200_000


def runs(rng: random.Random, length: int, longest: int) -> str:
    people = ""
    while len(people) < length:
        people += rng.choice("OI") * rng.randint(1, longest)
    return people[:length]


def cases() -> list[tuple[str, int, str]]:
    rng = random.Random(2)  # the seed belongs to the data: another one makes other tests
    return [
        ("one-out", 1, "O"),
        ("one-in", 1, "I"),
        ("exactly-full", 4, "OOOOIIII"),
        ("one-too-many", 4, "OOOOOIIIII"),
        ("room-to-spare", 9, "OOOIIOOOO"),
        ("swapped-pairs", 2, "IIOO" * 12),
        ("random-small", 3, runs(rng, 60, 8)),
        ("random-medium", 17, runs(rng, 2_000, 60)),
        ("random-singles", 2, runs(rng, 5_000, 1)),
        ("long-runs", 999, runs(rng, 20_000, 4_000)),
        ("everybody-out-one-by-one", 1, "O" * LARGEST),
        ("taking-turns", 1, "IO" * (LARGEST // 2)),
        ("random-largest", 7, runs(rng, LARGEST, 20)),
    ]


for position, (name, c, people) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    text = f"{len(people)} {c}\n{people}\n"
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
