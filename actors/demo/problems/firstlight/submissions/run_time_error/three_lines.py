# The three numbers stand on one line, not on three.
m = int(input())
t = int(input())
k = int(input())
print((k - 1) * (t // m))
