"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/stale_heap.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "stale_heap.py"
LARGEST = 150_000

Case = tuple[int, int, list[int]]


def lamps(rng: random.Random, n: int, brightest: int) -> list[int]:
    return [rng.randint(0, brightest) for _ in range(n)]


def cases() -> list[tuple[str, Case]]:
    rng = random.Random(6)  # the seed belongs to the data: another one makes other tests
    return [
        ("three-lamps", (1, 1, [1000, 0, 1000])),
        ("three-lamps-for-long", (5_000, 2, [1, 2, 3])),
        ("across-the-seam", (40, 3, [0, 50, 50, 50, 50, 50, 50, 1])),
        ("all-equal", (73, 7, [10] * 25)),
        ("into-the-dark", (20_000, 1, lamps(rng, 100, 5))),
        ("small-random", (60, 4, lamps(rng, 30, 9))),
        ("big-steps", (2_000, 1_000, lamps(rng, 400, 1_000))),
        ("medium", (20_000, 3, lamps(rng, 5_000, 30))),
        ("few-lamps-many-evenings", (LARGEST, 2, lamps(rng, 1_000, 1_000))),
        ("all-equal-largest", (LARGEST, 3, [5] * LARGEST)),
        ("largest", (LARGEST, 9, lamps(rng, LARGEST, 99))),
        ("largest-dusty", (LARGEST, 1, lamps(rng, LARGEST, 9))),
    ]


for position, (name, (k, p, brightness)) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    text = f"{len(brightness)} {k} {p}\n{' '.join(map(str, brightness))}\n"
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
