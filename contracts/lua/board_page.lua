-- Read a stretch of one view of a board, all of one version.
-- KEYS: meta, rank, rows. ARGV: offset, limit, user ("" for none: then offset counts from the top, else from that user's place).
-- A version a day ahead of this server's clock is nobody's of ours (board_load.lua): that is no board.
-- Replies nil without a board, else {epoch, version, freeze_ms, total, place of the first row, rank, row, rank, row, …}; no rows when the user is not on it.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'freeze_ms')
if not meta[1] then return nil end
local version = tonumber(meta[2])
if not (version and version >= 1 and version <= (tonumber(redis.call('TIME')[1]) + 86400) * 1000) then return nil end
local first, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = {meta[1], meta[2], meta[3], redis.call('ZCARD', KEYS[2]), 0}
if ARGV[3] ~= '' then
  local place = redis.call('ZRANK', KEYS[2], ARGV[3])
  if not place then return reply end
  first = math.max(place + first, 0)
end
reply[5] = first
local members = redis.call('ZRANGE', KEYS[2], first, first + limit - 1, 'WITHSCORES')
local rank, before
for i = 1, #members, 2 do
  if members[i + 1] ~= before then
    before = members[i + 1]
    rank = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. before) + 1
  end
  reply[#reply + 1] = rank
  reply[#reply + 1] = redis.call('HGET', KEYS[3], members[i])
end
return reply
