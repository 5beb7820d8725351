m, t, k = map(int, input().split())
print(k * (t // m))
