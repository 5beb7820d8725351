-- Take a contestant off each view of a board. KEYS, four for each view: meta, rank, rows, cells. ARGV: user, then the problems of the contest.
-- Replies how many views had the user.
local removed = 0
for i = 1, #KEYS, 4 do
  if redis.call('HDEL', KEYS[i + 2], ARGV[1]) == 1 then
    removed = removed + 1
    redis.call('ZREM', KEYS[i + 1], ARGV[1])
    for p = 2, #ARGV do redis.call('HDEL', KEYS[i + 3], ARGV[1] .. '|' .. ARGV[p]) end
    redis.call('HINCRBY', KEYS[i], 'writes', 1)
    redis.call('HINCRBY', KEYS[i], 'version', 1)
  end
end
return removed
