# A heap that keeps old entries: each change pushes a new one, and one that is no longer true is thrown away on top.
import sys
from heapq import heapify, heappop, heappush


def main() -> None:
    n, k, p, *brightness = map(int, sys.stdin.read().split())
    heap = [b * n + lamp for lamp, b in enumerate(brightness)]  # one number: brightness first, then the lamp
    heapify(heap)
    for _ in range(k):
        while True:
            b, lamp = divmod(heappop(heap), n)
            if brightness[lamp] == b:
                break
        for other, change in ((lamp, p), ((lamp - 1) % n, -1), ((lamp + 1) % n, -1)):
            brightness[other] += change
            heappush(heap, brightness[other] * n + other)
    print(lamp + 1, brightness[lamp])


main()
