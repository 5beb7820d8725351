# Nothing stops the inner loop at the end of the list.
n, c = map(int, input().split())
people = input().strip()

door = "O"
crossings = 0
passed = 0
while passed < n:
    aboard = 0
    while aboard < c and people[passed] == door:
        passed += 1
        aboard += 1
    door = "I" if door == "O" else "O"
    crossings += 1
print(crossings)
