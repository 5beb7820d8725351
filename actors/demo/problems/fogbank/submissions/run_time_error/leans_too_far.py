# Lets the boat lean over until the slowest band would allow no more. By then the root is of a negative number.
from math import sqrt

n, d = map(int, input().split())
bands = [tuple(map(int, input().split())) for _ in range(n)]
low, high = 0.0, 1 / min(v for _, v in bands)
for _ in range(100):
    z = (low + high) / 2
    if sum(h * z * v / sqrt(1 - (z * v) ** 2) for h, v in bands) < d:
        low = z
    else:
        high = z
print(low * d + sum(h / v * sqrt(1 - (low * v) ** 2) for h, v in bands))
