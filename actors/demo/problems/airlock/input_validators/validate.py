"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"([1-9]\d*) ([1-9]\d*)\n[OI]+\n", text)
first, people, _ = text.split("\n")
n, c = map(int, first.split())
assert 1 <= c <= n <= 200_000
assert len(people) == n
sys.exit(42)
