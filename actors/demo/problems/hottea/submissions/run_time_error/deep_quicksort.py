# On crews that are sorted already each call removes one, and the recursion gets as deep as the list is long.
def quicksort(crews: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    if not crews:
        return []
    pivot = crews[0]
    before = [crew for crew in crews[1:] if crew[0] + crew[1] < pivot[0] + pivot[1]]
    after = [crew for crew in crews[1:] if crew[0] + crew[1] >= pivot[0] + pivot[1]]
    return [*quicksort(before), pivot, *quicksort(after)]


n = int(input())
crews = []
for number in range(1, n + 1):
    chat, deadline = map(int, input().split())
    crews.append((chat, deadline, number))
crews = quicksort(crews)
minute = 0
possible = True
for chat, deadline, _ in crews:
    possible = possible and minute <= deadline
    minute += chat
print(*[number for _, _, number in crews] if possible else ["impossible"])
