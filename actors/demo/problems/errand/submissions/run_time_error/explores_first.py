# Looks whether there is a way at all before searching for the shortest one, and does so recursively.
import sys
from collections import deque

lines = sys.stdin.read().split("\n")
h, w = map(int, lines[0].split())
rows = lines[1 : h + 1]
start = next((r, c, 0) for r in range(h) for c in range(w) if rows[r][c] == "S")
explored: set[tuple[int, int, int]] = set()


def jumps(r: int, c: int, phase: int) -> list[tuple[int, int, int]]:
    then = (phase + 1) % 3
    solid = ".SF" + "ABC"[then]
    beside = ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
    return [(nr, nc, then) for nr, nc in beside if 0 <= nr < h and 0 <= nc < w and rows[nr][nc] in solid]


def explore(r: int, c: int, phase: int) -> bool:
    if rows[r][c] == "F":
        return True
    explored.add((r, c, phase))
    return any(explore(*there) for there in jumps(r, c, phase) if there not in explored)


def search() -> int:
    when = {start: 0}
    queue = deque([start])
    while True:
        here = queue.popleft()
        if rows[here[0]][here[1]] == "F":
            return when[here]
        for there in jumps(*here):
            if there not in when:
                when[there] = when[here] + 1
                queue.append(there)


print(search() if explore(*start) else "stranded")
