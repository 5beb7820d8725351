# Each crossing copies everybody who is left.
n, c = map(int, input().split())
people = list(input().strip())

door = "O"
crossings = 0
while people:
    aboard = 0
    while aboard < c and aboard < len(people) and people[aboard] == door:
        aboard += 1
    people = people[aboard:]
    door = "I" if door == "O" else "O"
    crossings += 1
print(crossings)
