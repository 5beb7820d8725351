-- Merge lines of the verdict log into one contestant's row, on each view of a board (public, jury), and publish what changed, atomically: done outside, a crash
-- in between would lose the news for ever, because the same lines again change nothing.
--
-- Idempotent and commutative: of each submission the highest attempt stays, and a cell is the fold of all its submissions in order of their time, exactly as
-- contracts/scoring.py does it (a property test holds the two together). The lines of a cell are kept in that order. So one that comes last, as nearly all do, is
-- appended and the fold goes on from the row's cell; only one that comes between others, or a new attempt, folds the cell from its beginning. A contestant who
-- submits a thousand times would else make Redis read a thousand lines for each.
--
-- The view's state (board_state.lua) changes with any line that was new, and also when the caller gives the name and nothing is new: it has seen in the database
-- that the contestant takes part, and a fold may be under way that has not. A view that is not there keeps its word: the caller folds it from the log, where these
-- lines are, and that fold or one begun later is the last to be put in place.
--
-- KEYS, four for each view: meta, rank, rows, cells.
-- ARGV: user, username ("" when the user must be there already), then six for each line: problem, submission, attempt, submitted_ms, verdict, score.
-- Replies the status for each view; -1: no such board (nor is one with a version that is none of ours, see board_page.lua), -2: no such user on it, 0: nothing changed, 1: changed.

local user, username = ARGV[1], ARGV[2]

local LINE = '([^,;]+),(%d+),(%d+),(%u+),(%d+)'
local LINE_MOST = 256  -- bytes; with the longest identifier a line has some 120

local function line_of(id, attempt, at, verdict, score)
  return {id = id, attempt = tonumber(attempt), at = tonumber(at), verdict = verdict, score = tonumber(score)}
end

local function written_out(line)
  return string.format('%s,%d,%.0f,%s,%.0f', line.id, line.attempt, line.at, line.verdict, line.score)
end

local function is_before(a, b)
  if a.at ~= b.at then return a.at < b.at end
  return a.id < b.id
end

local function parse(packed)
  local lines = {}
  for id, attempt, at, verdict, score in string.gmatch(packed, LINE) do lines[id] = line_of(id, attempt, at, verdict, score) end
  return lines
end

local function in_order(lines)
  local ordered = {}
  for _, line in pairs(lines) do ordered[#ordered + 1] = line end
  table.sort(ordered, is_before)
  return ordered
end

local function pack(ordered)
  local parts = {}
  for i, line in ipairs(ordered) do parts[i] = written_out(line) end
  return table.concat(parts, ';')
end

-- The attempt of a submission among packed lines; nil when it is not there.
local function attempt_of(packed, id)
  local _, last = string.find(';' .. packed, ';' .. id .. ',', 1, true)
  return last and tonumber(string.match(packed, '^%d+', last))
end

local function comes_last(packed, line)
  if packed == '' then return true end
  local tail = string.match(';' .. string.sub(packed, -LINE_MOST), '.*;(.*)$')
  local id, attempt, at, verdict, score = string.match(tail, '^' .. LINE .. '$')
  return id ~= nil and is_before(line_of(id, attempt, at, verdict, score), line)
end

local function empty_cell()
  return {solved = false, attempts = 0, pending = 0, time_ms = -1, score = 0}
end

-- Fold lines that come after those which made the cell; returns a new one.
local function fold(meta, before, ordered)
  local cell = {solved = before.solved, attempts = before.attempts, pending = before.pending, time_ms = before.time_ms, score = before.score}
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
  if not text then row = {user_id = user, username = username, cells = {}} end

  for i = 3, #ARGV, 6 do
    local problem, line = ARGV[i], line_of(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    local field = user .. '|' .. problem
    local packed = redis.call('HGET', cells_key, field) or ''
    local attempt = attempt_of(packed, line.id)
    if not attempt or attempt < line.attempt then
      row = row or cjson.decode(text)  -- the second time that a line comes, which each does, nobody needs it
      local before, cell = row.cells[problem] or empty_cell(), nil
      if not attempt and comes_last(packed, line) then
        packed = packed == '' and written_out(line) or packed .. ';' .. written_out(line)
        cell = fold(meta, before, {line})
      else
        local lines = parse(packed)
        lines[line.id] = line
        local ordered = in_order(lines)
        packed, cell = pack(ordered), fold(meta, empty_cell(), ordered)
      end
      redis.call('HSET', cells_key, field, packed)
      written = true
      if not same(cell, before) then
        row.cells[problem], changed = not is_empty(cell) and cell or nil, true
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
