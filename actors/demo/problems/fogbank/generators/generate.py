"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/refraction.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "refraction.py"
LARGEST = 500

Bands = list[tuple[int, int]]


def bands(rng: random.Random, n: int, thickest: int, slowest: int, fastest: int) -> Bands:
    return [(rng.randint(1, thickest), rng.randint(slowest, fastest)) for _ in range(n)]


def cases() -> list[tuple[str, int, Bands]]:
    rng = random.Random(7)  # the seed belongs to the data: another one makes other tests
    return [
        ("straight-ahead", 0, [(10, 3), (7, 100)]),
        ("one-band-aslant", 100_000, [(1, 1)]),
        ("all-alike", 700, [(20, 4)] * 12),
        ("two-bands", 50, [(40, 3), (10, 9)]),
        ("fast-lane", 100_000, [(1000, 1), (1, 100), (1000, 1)]),
        ("small-random", 500, bands(rng, 8, 50, 1, 20)),
        ("nearly-straight-ahead", 1, bands(rng, 300, 1000, 1, 100)),
        ("mild", 20_000, bands(rng, 200, 200, 40, 60)),
        ("thin-bands", 100_000, bands(rng, LARGEST, 1, 1, 100)),
        ("thick-bands", 100_000, bands(rng, LARGEST, 1000, 1, 100)),
        ("one-fast-band", 60_000, [*bands(rng, 250, 1000, 1, 5), (1, 100), *bands(rng, 249, 1000, 1, 5)]),
        ("slow-everywhere", 100_000, [(1000, 1)] * LARGEST),
    ]


for position, (name, d, crossing) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    text = f"{len(crossing)} {d}\n" + "".join(f"{h} {v}\n" for h, v in crossing)
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
