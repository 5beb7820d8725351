# On the fastest way the boat refracts like light: the sine of its angle is z * v in every band, for one number z.
# And for every z from 0 to 1 / max(v) the time is at least z * d + sum(h / v * sqrt(1 - (z * v)^2)), with equality
# for the right one. That bound is concave in z, so its maximum, the answer, is found by ternary search.
from math import sqrt

n, d = map(int, input().split())
bands = [tuple(map(int, input().split())) for _ in range(n)]


def bound(z: float) -> float:
    return z * d + sum(h / v * sqrt(max(0.0, 1 - (z * v) ** 2)) for h, v in bands)


low, high = 0.0, 1 / max(v for _, v in bands)
for _ in range(100):
    left = low + (high - low) / 3
    right = high - (high - low) / 3
    if bound(left) < bound(right):
        low = left
    else:
        high = right
print(f"{bound(low):.9f}")
