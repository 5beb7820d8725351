# The shortest way is not the fastest.
from math import hypot

n, d = map(int, input().split())
bands = [tuple(map(int, input().split())) for _ in range(n)]
across = sum(h for h, _ in bands)
print(sum(h / v for h, v in bands) * hypot(across, d) / across)
