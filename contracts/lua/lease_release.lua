-- Give a lease back. KEYS: lease. ARGV: owner. Replies 1, or 0 when it was no longer one's own: then nothing changes.
if redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
