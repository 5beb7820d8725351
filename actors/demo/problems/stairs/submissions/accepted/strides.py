# best[k][i]: the least noise up to step i when the stride that led there was k steps long.
n = int(input())
q = [0, *map(int, input().split())]

NEVER = 10**18
best = [[NEVER] * (n + 1) for _ in range(4)]
best[0][0] = 0  # on the floor there was no stride yet
for i in range(1, n + 1):
    for k in (1, 2, 3):
        if k <= i:
            best[k][i] = q[i] + min(best[other][i - k] for other in range(4) if other != k)
print(min(best[k][n] for k in (1, 2, 3)))
