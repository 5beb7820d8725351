# The right recursion with a memory, but deeper than Python likes.
from functools import cache

n = int(input())
q = [0, *map(int, input().split())]
NEVER = 10**18


@cache
def quietest(step: int, last: int) -> int:
    if step == n:
        return 0
    return min((q[step + k] + quietest(step + k, k) for k in (1, 2, 3) if k != last and step + k <= n), default=NEVER)


print(quietest(0, 0))
