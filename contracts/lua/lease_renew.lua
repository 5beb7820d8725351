-- Renew a lease that is still one's own. KEYS: lease. ARGV: owner, fencing number, time to live in ms. Replies 1, or 0 when it is lost.
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] and redis.call('HGET', KEYS[1], 'fencing') == ARGV[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return 1
end
return 0
