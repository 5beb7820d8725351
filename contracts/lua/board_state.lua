-- Say what a view of a board is now, in a word that it never has again once somebody wrote to it or it was lost: what is folded from the log after this may only
-- take its place while the word is the same. KEYS: meta, beginning. ARGV: a word nobody has used yet, time to live in ms.
-- A number of writes is no such word: after a loss all numbers come again. Nor is "there is none": it may be built and lost meanwhile, and be none again. So the
-- absence gets a word of its own, which is lost with everything else.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'writes')
if state[2] then return (state[1] or '') .. '/' .. state[2] end
redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
return redis.call('GET', KEYS[2])
