# Keeps the whole way to each place, where its length would do.
import sys
from collections import deque

lines = sys.stdin.read().split("\n")
h, w = map(int, lines[0].split())
rows = lines[1 : h + 1]
start = next((r, c, 0) for r in range(h) for c in range(w) if rows[r][c] == "S")
ways = {start: ""}
queue = deque([start])
answer = "stranded"
while queue:
    r, c, phase = queue.popleft()
    way = ways[r, c, phase]
    if rows[r][c] == "F":
        answer = str(len(way))
        break
    then = (phase + 1) % 3
    for nr, nc, jump in ((r - 1, c, "N"), (r + 1, c, "S"), (r, c - 1, "W"), (r, c + 1, "E")):
        there = (nr, nc, then)
        if 0 <= nr < h and 0 <= nc < w and rows[nr][nc] in ".SF" + "ABC"[then] and there not in ways:
            ways[there] = way + jump
            queue.append(there)
print(answer)
