"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/flashes.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "flashes.py"


def cases() -> list[tuple[str, str]]:
    rng = random.Random(1)  # the seed belongs to the data: another one makes other tests
    found = [
        ("smallest", (1, 1, 1)),
        ("one-mirror", (1, 7, 3)),
        ("one-second-apart", (1000, 1000, 1000)),
        ("first-flash-only", (8, 1_000_000_000, 1)),
        ("second-flash", (1000, 1_000_000_000, 2)),
        ("past-32-bits", (2, 86_400, 100_000)),
        ("largest", (1, 1_000_000_000, 1_000_000_000)),
        ("largest-odd", (1, 999_999_999, 1_000_000_000)),
        ("many-mirrors-many-flashes", (1000, 1_000_000_000, 1_000_000_000)),
    ]
    for number, largest in enumerate((1000, 1_000_000, 1_000_000_000), 1):
        m = rng.randint(2, 1000)
        found.append((f"random-{number}", (m, m * rng.randint(1, largest // m), rng.randint(2, largest))))
    return [(name, " ".join(map(str, numbers)) + "\n") for name, numbers in found]


for position, (name, text) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
