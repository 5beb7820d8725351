# Updates the heap, but never asks whether the entry on top is still true.
import sys
from heapq import heapify, heappop, heappush

n, k, p, *brightness = map(int, sys.stdin.read().split())
heap = [(b, lamp) for lamp, b in enumerate(brightness)]
heapify(heap)
lamp = 0
for _ in range(k):
    _, lamp = heappop(heap)
    for other, change in ((lamp, p), ((lamp - 1) % n, -1), ((lamp + 1) % n, -1)):
        brightness[other] += change
        heappush(heap, (brightness[other], other))
print(lamp + 1, brightness[lamp])
