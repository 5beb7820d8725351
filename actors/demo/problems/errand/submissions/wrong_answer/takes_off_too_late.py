# Asks whether the bridge is solid when Bosun takes off, not when he lands.
h, w = map(int, input().split())
rows = [input() for _ in range(h)]
start = next((r, c) for r in range(h) for c in range(w) if rows[r][c] == "S")
seen = {(start, 0)}
reached = [start]
second = 0
answer = "stranded"
while reached:
    if any(rows[r][c] == "F" for r, c in reached):
        answer = str(second)
        break
    landed = []
    for r, c in reached:
        for there in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if 0 <= there[0] < h and 0 <= there[1] < w:
                cell = rows[there[0]][there[1]]
                if (cell in ".SF" or cell == "ABC"[second % 3]) and (there, (second + 1) % 3) not in seen:
                    seen.add((there, (second + 1) % 3))
                    landed.append(there)
    reached = landed
    second += 1
print(answer)
