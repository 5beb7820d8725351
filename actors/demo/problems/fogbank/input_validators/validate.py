"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"[1-9]\d* (0|[1-9]\d*)\n([1-9]\d* [1-9]\d*\n)+", text)
first, *rest = text.splitlines()
n, d = map(int, first.split())
assert n <= 500
assert d <= 100_000
assert len(rest) == n
for line in rest:
    h, v = map(int, line.split())
    assert h <= 1000
    assert v <= 100
sys.exit(42)
