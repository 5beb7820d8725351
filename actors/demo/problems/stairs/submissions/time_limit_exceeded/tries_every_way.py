# Right, but the number of ways doubles with every other stride.
import sys

sys.setrecursionlimit(100_000)
n = int(input())
q = [0, *map(int, input().split())]


def quietest(step: int, last: int) -> int:
    if step == n:
        return 0
    least = 10**18
    for k in (1, 2, 3):
        if k != last and step + k <= n:
            least = min(least, q[step + k] + quietest(step + k, k))
    return least


print(quietest(0, 0))
