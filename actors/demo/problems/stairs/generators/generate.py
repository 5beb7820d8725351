"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/strides.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "strides.py"
LARGEST = 30_000
LOUDEST = 10**9


def noises(rng: random.Random, n: int, low: int, high: int) -> list[int]:
    return [rng.randint(low, high) for _ in range(n)]


def cases() -> list[tuple[str, list[int]]]:
    rng = random.Random(5)  # the seed belongs to the data: another one makes other tests
    return [
        ("one-step", [7]),
        ("two-steps", [100, 1]),
        ("three-steps", [5, 4, 3]),
        ("humming", [-1] * 20),
        ("same-stride-is-tempting", [9, 9, 0] * 15),
        ("every-other-step", [9, 0] * 20),
        ("small-random", noises(rng, 25, 0, 9)),
        ("small-mixed", noises(rng, 60, -20, 20)),
        ("medium", noises(rng, 2_000, -1_000, 1_000)),
        ("silent-largest", [0] * LARGEST),
        ("largest-small-noises", noises(rng, LARGEST, -9, 9)),
        ("largest-loud", noises(rng, LARGEST, LOUDEST // 2, LOUDEST)),
        ("deep-hum", [-LOUDEST] * 12_000),
    ]


for position, (name, steps) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    text = f"{len(steps)}\n{' '.join(map(str, steps))}\n"
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
