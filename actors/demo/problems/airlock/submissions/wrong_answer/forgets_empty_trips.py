# Counts only the crossings that carry somebody.
from itertools import groupby

n, c = map(int, input().split())
people = input().strip()
crossings = 0
for _, run in groupby(people):
    crossings += -(-len(list(run)) // c)
print(crossings)
