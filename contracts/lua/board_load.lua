-- Put what was staged in the place of one view of a board, unless somebody wrote to it meanwhile, and say so to its readers.
-- KEYS: meta, rank, rows, cells, then staged: rank, rows, cells, then beginning.
-- ARGV: its state before the log was read (board_state.lua; "" when there was nothing and nobody had asked), epoch, rules, start_ms, end_ms, freeze_ms ("" for none), contest version,
--       number of staged rows, number of staged cells: when the server lost some of them, or they expired, there are fewer.
-- The version is at least this server's time in milliseconds, so that it rises as well when all data was lost; the caller's clock may be behind another's.
-- One that is no number, or a day ahead, was written by somebody else: counted on from there, the next would soon be none that a double can tell apart.
-- Replies {1, version}, or {0, 0}: read the log again.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'writes', 'written_us')
local writes = meta[2]
local state = writes and (meta[1] or '') .. '/' .. writes .. '/' .. (meta[3] or '') or redis.call('GET', KEYS[8]) or ''
local rows, cells = tonumber(ARGV[8]), tonumber(ARGV[9])
local is_whole = redis.call('ZCARD', KEYS[5]) == rows and redis.call('HLEN', KEYS[6]) == rows and redis.call('HLEN', KEYS[7]) == cells
if state ~= ARGV[1] or not is_whole then
  redis.call('UNLINK', KEYS[5], KEYS[6], KEYS[7])
  return {0, 0}
end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = tonumber(redis.call('HGET', KEYS[1], 'version') or '0') or 0
if not (before >= 0 and before <= now_ms + 86400000) then before = 0 end
local version = math.max(before + 1, now_ms)
local written = tonumber(writes) or 0
if not (written >= 0 and written <= 2 ^ 52) then written = 0 end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[8])
for i = 2, 4 do
  if redis.call('EXISTS', KEYS[i + 3]) == 1 then
    redis.call('RENAME', KEYS[i + 3], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'version', string.format('%.0f', version), 'rules', ARGV[3], 'start_ms', ARGV[4], 'end_ms', ARGV[5],
  'freeze_ms', ARGV[6], 'contest_version', ARGV[7], 'writes', string.format('%.0f', written + 1),
  'written_us', time[1] .. string.format('%06d', tonumber(time[2])))
local contest, view = string.match(KEYS[1], '^board:{(.*)}:(%w+):meta$')
redis.call('PUBLISH', 'leaderboard:invalidate', cjson.encode({
  contest_id = contest, view = view, epoch = ARGV[2], version = version, total = redis.call('ZCARD', KEYS[2])
}))
return {1, version}
