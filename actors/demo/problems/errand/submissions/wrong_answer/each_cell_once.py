# Marks cells as visited whatever the beam does, so Bosun never paces up and down until it is right.
from collections import deque

h, w = map(int, input().split())
rows = [input() for _ in range(h)]
start = next((r, c) for r in range(h) for c in range(w) if rows[r][c] == "S")
when = {start: 0}
queue = deque([start])
answer = "stranded"
while queue:
    r, c = queue.popleft()
    second = when[r, c]
    if rows[r][c] == "F":
        answer = str(second)
        break
    for there in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
        if 0 <= there[0] < h and 0 <= there[1] < w and there not in when:
            cell = rows[there[0]][there[1]]
            if cell in ".SF" or cell == "ABC"[(second + 1) % 3]:
                when[there] = second + 1
                queue.append(there)
print(answer)
