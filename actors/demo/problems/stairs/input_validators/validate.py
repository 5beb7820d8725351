"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"[1-9]\d*\n(0|-?[1-9]\d*)( (0|-?[1-9]\d*))*\n", text)
first, second, _ = text.split("\n")
steps = list(map(int, second.split()))
assert 1 <= int(first) <= 30_000
assert len(steps) == int(first)
assert all(abs(q) <= 10**9 for q in steps)
sys.exit(42)
