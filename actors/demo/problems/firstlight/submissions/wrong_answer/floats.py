# A double holds integers exactly only up to 2^53.
m, t, k = map(int, input().split())
print(int((k - 1) * (t / m)))
