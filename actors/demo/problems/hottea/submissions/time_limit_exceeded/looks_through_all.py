# Searches the whole list for the next crew, once per crew.
n = int(input())
crews = []
for number in range(1, n + 1):
    chat, deadline = map(int, input().split())
    crews.append((chat, deadline, number))
minute = 0
order = []
while crews:
    crew = min(crews, key=lambda crew: crew[0] + crew[1])
    crews.remove(crew)
    if minute > crew[1]:
        order = ["impossible"]
        break
    minute += crew[0]
    order.append(str(crew[2]))
print(*order)
