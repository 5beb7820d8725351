-- Replace one view of a board by one that was folded from the verdict log, unless somebody wrote to it meanwhile, and say so to its readers.
-- KEYS: meta, rank, rows, cells.
-- ARGV: writes seen before the log was read ("" when there was no board), epoch, rules, start_ms, end_ms, freeze_ms ("" for none), contest version,
--       number of rows, then for each row: user, ZSET score, row; then for each cell: field, lines.
-- The version is at least this server's time in milliseconds, so that it rises as well when all data was lost; the caller's clock may be behind another's.
-- Replies {1, version}, or {0, 0}: read the log again.
local writes = redis.call('HGET', KEYS[1], 'writes') or ''
if writes ~= ARGV[1] then return {0, 0} end
local time = redis.call('TIME')
local version = math.max(tonumber(redis.call('HGET', KEYS[1], 'version') or '0') + 1, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local count = tonumber(ARGV[8])
local next_cell = 9 + count * 3
for i = 9, next_cell - 1, 3 do
  redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i])
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2])
end
for i = next_cell, #ARGV, 2 do
  redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'version', string.format('%.0f', version), 'rules', ARGV[3], 'start_ms', ARGV[4], 'end_ms', ARGV[5],
  'freeze_ms', ARGV[6], 'contest_version', ARGV[7], 'writes', tostring((tonumber(writes) or 0) + 1))
local contest, view = string.match(KEYS[1], '^board:{(.*)}:(%w+):meta$')
redis.call('PUBLISH', 'leaderboard:invalidate', cjson.encode({
  contest_id = contest, view = view, epoch = ARGV[2], version = version, total = redis.call('ZCARD', KEYS[2])
}))
return {1, version}
