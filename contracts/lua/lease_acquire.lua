-- Take the lease of one attempt, or renew it for its owner. KEYS: lease. ARGV: owner, time to live in ms. Replies 1, or 0 while it is somebody else's.
-- An owner is "node/start/…", and starts sort by their time. Of one node there is one process: what an earlier start of one's own held, nobody holds any more.
-- Never the other way round: two processes that were given one name by mistake would take each lease from each other for ever.
-- A key of another kind is nobody's lease, nor is one that lasts for ever or much longer than any of ours: nobody would be judged while it lasts.
local is_lease = redis.call('TYPE', KEYS[1]).ok == 'string'
if is_lease then
  local left_ms = redis.call('PTTL', KEYS[1])
  is_lease = left_ms >= 0 and left_ms <= 2 * tonumber(ARGV[2])
end
local owner = is_lease and redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  local node, start = string.match(ARGV[1], '^([^/]+)/([^/]+)/')
  local other_node, other_start = string.match(owner, '^([^/]+)/([^/]+)/')
  if not node or node ~= other_node or start <= other_start then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
