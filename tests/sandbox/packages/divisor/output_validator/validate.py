import sys

n = int(open(sys.argv[1]).read())
with open(sys.argv[3] + "/judgemessage.txt", "w") as message:
    words = sys.stdin.read().split()
    if len(words) != 1 or not words[0].isdecimal() or len(words[0]) > 20:
        message.write("one number, please")
        sys.exit(43)
    d = int(words[0])
    message.write(f"{d} for {n}")
sys.exit(42 if d > 1 and n % d == 0 else 43)
