-- Take the lease of one attempt, or renew it for its owner.
-- KEYS: lease, fencing counter. ARGV: owner, time to live in ms.
-- Replies the fencing number (rises with every new owner), or 0 while somebody else holds the lease.
local held = redis.call('HGET', KEYS[1], 'owner')
if held and held ~= ARGV[1] then
  return 0
end
local fencing
if held then
  fencing = tonumber(redis.call('HGET', KEYS[1], 'fencing'))
else
  fencing = redis.call('INCR', KEYS[2])
  -- The counter outlives every lease that it numbered, or a later owner could get an earlier number.
  redis.call('PEXPIRE', KEYS[2], 86400000)
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fencing', fencing)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return fencing
