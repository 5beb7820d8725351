-- Give a lease back. KEYS: lease. ARGV: owner, fencing number. Replies 1, or 0 when it was somebody else's: then nothing changes.
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] and redis.call('HGET', KEYS[1], 'fencing') == ARGV[2] then
  return redis.call('DEL', KEYS[1])
end
return 0
