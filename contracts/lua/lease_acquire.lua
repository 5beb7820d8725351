-- Take the lease of one attempt, or renew it for its owner. KEYS: lease. ARGV: owner, time to live in ms. Replies 1, or 0 while it is somebody else's.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
