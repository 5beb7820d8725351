"""Write data/secret: python3 generators/generate.py (answers come from submissions/accepted/layers.py)."""

import random
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SECRET = PACKAGE / "data" / "secret"
SOLUTION = PACKAGE / "submissions" / "accepted" / "layers.py"
LARGEST = 200

Rows = list[str]


def place(rows: Rows, where: tuple[int, int], mark: str) -> Rows:
    r, c = where
    return [*rows[:r], rows[r][:c] + mark + rows[r][c + 1 :], *rows[r + 1 :]]


def scattered(rng: random.Random, h: int, w: int, cells: str) -> Rows:
    """Return random cells with the start in one corner and the fish in the other, both with decks around them."""
    rows = ["".join(rng.choices(cells, k=w)) for _ in range(h)]
    rows = ["...." + row[4:] for row in rows[:3]] + rows[3:-3] + [row[:-4] + "...." for row in rows[-3:]]
    return place(place(rows, (0, 0), "S"), (h - 1, w - 1), "F")


def woven(rng: random.Random, h: int, w: int, flaws: float) -> Rows:
    """Return bridges that carry a cat going right and down, except for the flaws."""
    kinds = [["ABC"[(r + c) % 3] if rng.random() >= flaws else rng.choice("ABC#") for c in range(w)] for r in range(h)]
    return place(place(["".join(row) for row in kinds], (0, 0), "S"), (h - 1, w - 1), "F")


def serpentine(h: int, w: int, bridges: str) -> Rows:
    """Return one long way to and fro, with the bridges repeated along it and a deck at each end of a row."""
    rows = []
    for r in range(h):
        if r % 2:
            rows.append("#" * (w - 1) + "." if r % 4 == 1 else "." + "#" * (w - 1))
        else:
            middle = (bridges * w)[: w - 2]
            rows.append("." + (middle if r % 4 == 0 else middle[::-1]) + ".")
    end = (h - 1, w - 1) if h % 4 == 1 else (h - 1, 0)
    return place(place(rows, (0, 0), "S"), end, "F")


def sealed(h: int, w: int) -> Rows:
    """Return wide decks with the fish behind a gap."""
    rows = ["." * w for _ in range(h)]
    rows[-2] = "." * (w - 2) + "##"
    rows[-1] = "." * (w - 2) + "#F"
    return place(rows, (0, 0), "S")


def cases() -> list[tuple[str, Rows]]:
    rng = random.Random(4)  # the seed belongs to the data: another one makes other tests
    return [
        ("next-to-it", ["SF"]),
        ("nothing-between", ["S#F"]),
        ("no-room-to-pace", ["SCF"]),
        ("pace-to-wait", ["#.#", "S.C", "##A", "##F"]),
        ("upright", list("S.BCABCF")),
        ("there-and-back", ["S.......", "########", "F......."]),
        ("wrong-round", ["SCBAF", ".###.", "....."]),
        ("small-random", scattered(rng, 12, 17, "....ABC#")),
        ("only-bridges", woven(rng, 60, 60, 0.2)),
        ("holes", scattered(rng, 120, 200, "...#")),
        ("few-decks", scattered(rng, LARGEST, LARGEST, "...ABC#")),
        ("too-few-decks", scattered(rng, 100, 90, ".AABBCC#")),
        ("open-decks", scattered(rng, LARGEST, LARGEST, ".")),
        ("long-way", serpentine(197, LARGEST, "....")),
        ("long-way-over-bridges", serpentine(197, LARGEST, "BC.")),
        ("long-way-with-pacing", serpentine(197, 101, "..AB")),
        ("sealed", sealed(LARGEST, LARGEST)),
    ]


for position, (name, rows) in enumerate(cases(), 1):
    stem = SECRET / f"{position:02}-{name}"
    text = "".join(line + "\n" for line in [f"{len(rows)} {len(rows[0])}", *rows])
    stem.with_suffix(".in").write_text(text)
    answer = subprocess.run([sys.executable, SOLUTION], input=text, capture_output=True, text=True, check=True).stdout
    stem.with_suffix(".ans").write_text(answer)
