# @EXPECTED_SCORE@: 30
n = int(input())
print(2 * n if n < 100 else 0)
