m, t, k = map(int, input().split())
seconds = 0
for _ in range(k - 1):
    seconds += t // m
print(seconds)
