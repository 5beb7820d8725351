-- Put some rows of a board that is being rebuilt aside, where nobody reads them. KEYS: staged rank, rows, cells, which belong to this rebuild alone, then beginning:
-- the word of a view that is not there lives on as long as somebody stages for it.
-- ARGV: time to live in ms (one that was given up goes by itself), number of rows, then for each row: user, ZSET score, row; then for each cell: field, lines.
local next_cell = 3 + tonumber(ARGV[2]) * 3
for i = 3, next_cell - 1, 3 do
  redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
end
for i = next_cell, #ARGV, 2 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return 1
