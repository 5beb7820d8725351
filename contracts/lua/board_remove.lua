-- Take a contestant off each view of a board. KEYS, five for each view: meta, rank, rows, cells, beginning. ARGV: user, then the problems of the contest.
-- Says to each view's readers that they have to read it again. Replies how many views had the user.
-- The view's state (board_state.lua) changes in any case: somebody may be folding it with this contestant, whom nobody will take off again.
local time = redis.call('TIME')
local written_us = time[1] .. string.format('%06d', tonumber(time[2]))
local removed = 0
for i = 1, #KEYS, 5 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('HINCRBY', KEYS[i], 'writes', 1)
    redis.call('HSET', KEYS[i], 'written_us', written_us)
  else
    redis.call('UNLINK', KEYS[i + 4])
  end
  if redis.call('HDEL', KEYS[i + 2], ARGV[1]) == 1 then
    removed = removed + 1
    redis.call('ZREM', KEYS[i + 1], ARGV[1])
    for p = 2, #ARGV do redis.call('HDEL', KEYS[i + 3], ARGV[1] .. '|' .. ARGV[p]) end
    local version = redis.call('HINCRBY', KEYS[i], 'version', 1)
    local contest, view = string.match(KEYS[i], '^board:{(.*)}:(%w+):meta$')
    redis.call('PUBLISH', 'leaderboard:invalidate', cjson.encode({
      contest_id = contest, view = view, epoch = redis.call('HGET', KEYS[i], 'epoch'), version = version, total = redis.call('ZCARD', KEYS[i + 1])
    }))
  end
end
return removed
