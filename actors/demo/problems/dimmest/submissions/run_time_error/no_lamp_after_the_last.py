# There is a lamp number -1 for Python, but none after the last.
import sys
from heapq import heapify, heappop, heappush

n, k, p, *brightness = map(int, sys.stdin.read().split())
heap = [b * n + lamp for lamp, b in enumerate(brightness)]
heapify(heap)
lamp = 0
for _ in range(k):
    while True:
        b, lamp = divmod(heappop(heap), n)
        if brightness[lamp] == b:
            break
    brightness[lamp] += p
    brightness[lamp - 1] -= 1
    brightness[lamp + 1] -= 1
    for changed in (lamp, (lamp - 1) % n, lamp + 1):
        heappush(heap, brightness[changed] * n + changed)
print(lamp + 1, brightness[lamp])
