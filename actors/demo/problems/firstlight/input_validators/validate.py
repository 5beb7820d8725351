"""Exit 42 when the input is exactly what the statement promises."""

import re
import sys

text = sys.stdin.read()
assert re.fullmatch(r"([1-9]\d*) ([1-9]\d*) ([1-9]\d*)\n", text)
m, t, k = map(int, text.split())
assert m <= 1000
assert t <= 10**9
assert t % m == 0
assert k <= 10**9
sys.exit(42)
