# Forgets the rule about equal strides.
n = int(input())
q = [0, *map(int, input().split())]
best = [0] * (n + 1)
for i in range(1, n + 1):
    best[i] = q[i] + min(best[max(i - 3, 0) : i])
print(best[n])
