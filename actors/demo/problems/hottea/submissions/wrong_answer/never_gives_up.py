# The right order, printed even when it serves somebody cold tea.
n = int(input())
crews = []
for number in range(1, n + 1):
    chat, deadline = map(int, input().split())
    crews.append((chat + deadline, number))
print(*[number for _, number in sorted(crews)])
