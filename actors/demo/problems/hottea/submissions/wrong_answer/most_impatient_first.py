# Sorting by deadline alone forgets that a short chat may slip in before.
n = int(input())
crews = []
for number in range(1, n + 1):
    chat, deadline = map(int, input().split())
    crews.append((deadline, chat, number))
crews.sort()
minute = 0
possible = True
for deadline, chat, _ in crews:
    possible = possible and minute <= deadline
    minute += chat
print(*[number for _, _, number in crews] if possible else ["impossible"])
