# Crew a may stand right before crew b at minute t when t <= d_a and t + s_a <= d_b.
# Of two neighbours, the one with the smaller s + d can always go first.
import sys


def main() -> None:
    n, *numbers = map(int, sys.stdin.read().split())
    chats, deadlines = numbers[0::2], numbers[1::2]
    order = sorted(range(n), key=lambda crew: chats[crew] + deadlines[crew])
    minute = 0
    for crew in order:
        if minute > deadlines[crew]:
            print("impossible")
            return
        minute += chats[crew]
    print(*[crew + 1 for crew in order])


main()
