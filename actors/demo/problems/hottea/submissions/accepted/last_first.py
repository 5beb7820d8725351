# Another order, built from the back: whoever bears the latest end of chat goes last.
import heapq


def main() -> None:
    n = int(input())
    heap = []
    total = 0
    for number in range(1, n + 1):
        chat, deadline = map(int, input().split())
        heap.append((-chat - deadline, -number, chat, deadline))
        total += chat
    heapq.heapify(heap)
    backwards = []
    while heap:
        _, number, chat, deadline = heapq.heappop(heap)
        total -= chat
        if total > deadline:
            print("impossible")
            return
        backwards.append(-number)
    print(*reversed(backwards), sep="\n")


main()
