"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"([1-9]\d*) ([1-9]\d*) ([1-9]\d*)\n(0|[1-9]\d*)( (0|[1-9]\d*))*\n", text)
first, second, _ = text.split("\n")
n, k, p = map(int, first.split())
lamps = list(map(int, second.split()))
assert 3 <= n <= 150_000
assert k <= 150_000
assert p <= 1000
assert len(lamps) == n
assert all(b <= 1000 for b in lamps)
sys.exit(42)
