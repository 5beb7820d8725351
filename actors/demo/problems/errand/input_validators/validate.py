"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"([1-9]\d*) ([1-9]\d*)\n([.#ABCSF]+\n)+", text)
first, *rows = text.splitlines()
h, w = map(int, first.split())
assert 1 <= h <= 200
assert 1 <= w <= 200
assert len(rows) == h
assert all(len(row) == w for row in rows)
assert text.count("S") == 1
assert text.count("F") == 1
sys.exit(42)
