# @EXPECTED_RESULTS@: COMPILER-ERROR
n = int(raw_input())
q = [0] + map(int, raw_input().split())

best = [[10**18] * 4 for _ in range(n + 1)]
best[0][0] = 0
for i in range(1, n + 1):
    for k in range(1, min(i, 3) + 1):
        best[i][k] = q[i] + min(best[i - k][other] for other in range(4) if other != k)
print min(best[n])
