n, c = map(int, input().split())
people = input().strip()

door = "O"  # whoever waits where the airlock stands
crossings = 0
passed = 0
while passed < n:
    end = min(passed + c, n)
    while passed < end and people[passed] == door:
        passed += 1
    door = "I" if door == "O" else "O"
    crossings += 1
print(crossings)
