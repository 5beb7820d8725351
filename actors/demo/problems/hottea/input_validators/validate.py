"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"[1-9]\d*\n([1-9]\d* (0|[1-9]\d*)\n)+", text)
first, *rest = text.splitlines()
n = int(first)
assert 1 <= n <= 20_000
assert len(rest) == n
for line in rest:
    s, d = map(int, line.split())
    assert 1 <= s <= 1000
    assert 0 <= d <= 20_000_000
sys.exit(42)
