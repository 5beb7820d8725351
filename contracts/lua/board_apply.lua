-- Merge lines of the verdict log into one contestant's row, on each view of a board (public, jury), and publish what changed, atomically: done outside, a crash
-- in between would lose the news for ever, because the same lines again change nothing.
--
-- Idempotent and commutative: of each submission the highest attempt stays, and a cell is folded anew from all its submissions in order of their time,
-- exactly as contracts/scoring.py does it (a property test holds the two together).
--
-- The view's state (board_state.lua) changes with any line that was new, and also when the caller gives the name and nothing is new: it has seen in the database
-- that the contestant takes part, and a fold may be under way that has not. A view that is not there keeps its word: the caller folds it from the log, where these
-- lines are, and that fold or one begun later is the last to be put in place.
--
-- KEYS, four for each view: meta, rank, rows, cells.
-- ARGV: user, username ("" when the user must be there already), then six for each line: problem, submission, attempt, submitted_ms, verdict, score.
-- Replies the status for each view; -1: no such board (nor is one with a version that is none of ours, see board_page.lua), -2: no such user on it, 0: nothing changed, 1: changed.

local user, username = ARGV[1], ARGV[2]

local function parse(packed)
  local lines = {}
  for id, attempt, at, verdict, score in string.gmatch(packed, '([^,;]+),(%d+),(%d+),(%u+),(%d+)') do
    lines[id] = {id = id, attempt = tonumber(attempt), at = tonumber(at), verdict = verdict, score = tonumber(score)}
  end
  return lines
end

local function pack(lines)
  local parts = {}
  for i, line in ipairs(lines) do
    parts[i] = string.format('%s,%d,%.0f,%s,%.0f', line.id, line.attempt, line.at, line.verdict, line.score)
  end
  return table.concat(parts, ';')
end

local function in_order(lines)
  local ordered = {}
  for _, line in pairs(lines) do ordered[#ordered + 1] = line end
  table.sort(ordered, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.id < b.id
  end)
  return ordered
end

local function fold(meta, ordered)
  local cell = {solved = false, attempts = 0, pending = 0, time_ms = -1, score = 0}
  local icpc = meta.rules == 'icpc'
  for _, line in ipairs(ordered) do
    local counted = line.verdict ~= 'CE' and line.verdict ~= 'JE'
    if line.at < meta.start or line.at >= meta.finish then
      -- outside the contest
    elseif meta.freeze and line.at >= meta.freeze then
      cell.pending = cell.pending + 1
    elseif not icpc then
      if counted then cell.attempts = cell.attempts + 1 end
      if line.score > cell.score then cell.score, cell.time_ms = line.score, line.at - meta.start end
      cell.solved = cell.solved or line.verdict == 'AC'
    elseif not cell.solved and counted then
      cell.attempts = cell.attempts + 1
      if line.verdict == 'AC' then cell.solved, cell.time_ms = true, line.at - meta.start end
    end
  end
  if icpc and cell.solved then cell.pending = 0 end
  return cell
end

local function is_empty(cell)
  return not cell.solved and cell.attempts == 0 and cell.pending == 0 and cell.time_ms == -1 and cell.score == 0
end

local function same(a, b)
  return a.solved == b.solved and a.attempts == b.attempts and a.pending == b.pending and a.time_ms == b.time_ms and a.score == b.score
end

-- Sums the cells into the row and returns the ZSET score: the sort key of contracts/scoring.py, negated so that ties are in order of the user's identifier.
local function sum(meta, row)
  local score, penalty, last = 0, 0, 0
  for _, cell in pairs(row.cells) do
    if meta.rules ~= 'icpc' then
      score = score + cell.score
    elseif cell.solved then
      score = score + 1
      penalty = penalty + math.floor(cell.time_ms / 60000) + 20 * (cell.attempts - 1)
      last = math.max(last, cell.time_ms)
    end
  end
  row.score, row.penalty, row.last_ms = score, penalty, last
  if meta.rules ~= 'icpc' then return -score end
  local inverted_penalty = 8388607 - math.min(penalty, 8388607)
  local inverted_last = 16777215 - math.min(math.floor(last / 1000), 16777215)
  return -((math.min(score, 31) * 8388608 + inverted_penalty) * 16777216 + inverted_last)
end

local function apply(meta_key, rank_key, rows_key, cells_key)
  local stored = redis.call('HMGET', meta_key, 'rules', 'start_ms', 'end_ms', 'freeze_ms', 'epoch', 'version')
  if not stored[1] or not stored[5] then return -1 end
  local time, version = redis.call('TIME'), tonumber(stored[6])
  if not (version and version >= 1 and version <= (tonumber(time[1]) + 86400) * 1000) then return -1 end
  local meta = {rules = stored[1], start = tonumber(stored[2]), finish = tonumber(stored[3]), freeze = tonumber(stored[4])}
  local text = redis.call('HGET', rows_key, user)
  if not text and username == '' then return -2 end
  local changed, row = not text, nil
  local written = username ~= ''
  if text then row = cjson.decode(text) else row = {user_id = user, username = username, cells = {}} end

  for i = 3, #ARGV, 6 do
    local problem, id, attempt = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local field = user .. '|' .. problem
    local lines = parse(redis.call('HGET', cells_key, field) or '')
    if not lines[id] or lines[id].attempt < attempt then
      lines[id] = {id = id, attempt = attempt, at = tonumber(ARGV[i + 3]), verdict = ARGV[i + 4], score = tonumber(ARGV[i + 5])}
      local ordered = in_order(lines)
      redis.call('HSET', cells_key, field, pack(ordered))
      written = true
      local cell, before = fold(meta, ordered), row.cells[problem]
      if is_empty(cell) then
        if before then row.cells[problem], changed = nil, true end
      elseif not before or not same(cell, before) then
        row.cells[problem], changed = cell, true
      end
    end
  end

  if written then
    redis.call('HINCRBY', meta_key, 'writes', 1)
    redis.call('HSET', meta_key, 'written_us', time[1] .. string.format('%06d', tonumber(time[2])))
  end
  if not changed then return 0 end
  local key = string.format('%.0f', sum(meta, row))
  redis.call('HSET', rows_key, user, cjson.encode(row))
  redis.call('ZADD', rank_key, key, user)
  version = redis.call('HINCRBY', meta_key, 'version', 1)
  row.rank = redis.call('ZCOUNT', rank_key, '-inf', '(' .. key) + 1
  local contest, view = string.match(meta_key, '^board:{(.*)}:(%w+):meta$')
  redis.call('PUBLISH', 'leaderboard:invalidate', cjson.encode({
    contest_id = contest, view = view, epoch = stored[5], version = version, total = redis.call('ZCARD', rank_key), row = row
  }))
  return 1
end

local replies = {}
for i = 1, #KEYS, 4 do
  replies[#replies + 1] = apply(KEYS[i], KEYS[i + 1], KEYS[i + 2], KEYS[i + 3])
end
return replies
