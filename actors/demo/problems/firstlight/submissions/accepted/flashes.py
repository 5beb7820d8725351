m, t, k = map(int, input().split())
print((k - 1) * (t // m))
