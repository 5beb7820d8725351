-- Renew a lease that is still one's own. KEYS: lease. ARGV: owner, time to live in ms. Replies 1, or 0 when it was lost.
if redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
