# Moves one crossing point at a time to its best place until nothing moves any more: right, but it takes for ever.
from math import hypot

n, d = map(int, input().split())
bands = [tuple(map(int, input().split())) for _ in range(n)]
across = sum(h for h, _ in bands)

along = [0.0]  # how far along the bands the boat is when it enters each band
for h, _ in bands:
    along.append(along[-1] + d * h / across)


def leg(i: int, start: float, end: float) -> float:
    h, v = bands[i]
    return hypot(h, end - start) / v


moved = True
while moved:
    moved = False
    for i in range(1, n):
        low, high = along[i - 1], along[i + 1]
        for _ in range(60):
            left, right = low + (high - low) / 3, high - (high - low) / 3
            by_left = leg(i - 1, along[i - 1], left) + leg(i, left, along[i + 1])
            by_right = leg(i - 1, along[i - 1], right) + leg(i, right, along[i + 1])
            if by_left < by_right:
                high = right
            else:
                low = left
        moved = moved or abs(along[i] - low) > 1e-7
        along[i] = low
print(sum(leg(i, along[i], along[i + 1]) for i in range(n)))
