# Breadth-first search over (cell, second mod 3).
import sys


def main() -> None:
    first, *rows = sys.stdin.read().split("\n")
    h, w = map(int, first.split())
    width = w + 2  # a rim of nothing spares the border checks
    cells = "#" * width + "".join("#" + row[:w] + "#" for row in rows[:h]) + "#" * width
    solid = [[cell in ".SF" or cell == bridge for cell in cells] for bridge in "ABC"]
    fish = cells.index("F")
    reached = [cells.index("S")]
    solid[0][reached[0]] = False  # from here on "solid" means solid and not yet visited
    second = 0
    while reached:
        if fish in reached:
            print(second)
            return
        second += 1
        now = solid[second % 3]
        landed = []
        for cell in reached:
            for beside in (cell - width, cell - 1, cell + 1, cell + width):
                if now[beside]:
                    now[beside] = False
                    landed.append(beside)
        reached = landed
    print("stranded")


main()
