-- Say what a view of a board is now, in a word that it never has again once somebody wrote to it or it was lost: what is folded from the log after this may only
-- take its place while the word is the same. KEYS: meta, beginning. ARGV: a word nobody has used yet, time to live in ms.
-- A number of writes is no such word: a Redis that lost its last second counts them again, under the same epoch. So the word has the time of the last write too
-- (and the number, because two writes may have one microsecond). Nor is "there is none": it may be built and lost meanwhile, and be none again. So the absence gets
-- a word of its own, which is lost with everything else. Who folds at the same time shares it, and it lives on for as long as anybody is at it.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'writes', 'written_us')
if state[2] then return (state[1] or '') .. '/' .. state[2] .. '/' .. (state[3] or '') end
redis.call('SET', KEYS[2], ARGV[1], 'NX')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('GET', KEYS[2])
