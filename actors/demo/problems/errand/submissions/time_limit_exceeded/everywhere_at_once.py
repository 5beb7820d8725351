# Keeps the set of all cells where Bosun may be, second by second, and forgets where he has been before.
import sys

lines = sys.stdin.read().split("\n")
h, w = map(int, lines[0].split())
rows = lines[1 : h + 1]
here = {(r, c) for r in range(h) for c in range(w) if rows[r][c] == "S"}
answer = "stranded"
for second in range(3 * h * w):
    if any(rows[r][c] == "F" for r, c in here):
        answer = str(second)
        break
    solid = ".SF" + "ABC"[(second + 1) % 3]
    here = {
        (nr, nc)
        for r, c in here
        for nr, nc in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
        if 0 <= nr < h and 0 <= nc < w and rows[nr][nc] in solid
    }
print(answer)
