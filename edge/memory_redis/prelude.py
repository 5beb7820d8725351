"""The Lua side of scripting: what a script sees, and cjson as lua-cjson 2.1 writes and reads it (the one inside Redis)."""

CJSON = rb"""
local null = newproxy()  -- a userdata, as cjson's light one
local find, sub, byte, char, format, gsub = string.find, string.sub, string.byte, string.char, string.format, string.gsub
local concat, floor, pairs, type, tonumber, error = table.concat, math.floor, pairs, type, tonumber, error
local DEPTH_MAX = 1000

local escapes = { ['"'] = '\\"', ['\\'] = '\\\\', ['/'] = '\\/', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r',
                  ['\t'] = '\\t', ['\127'] = '\\u007f' }
for code = 0, 31 do
  local letter = char(code)
  escapes[letter] = escapes[letter] or format('\\u%04x', code)
end

local function quote(text)
  return '"' .. gsub(text, '[%c"\\/]', escapes) .. '"'
end

-- The length of a list, 0 for an empty table, -1 for an object.
local function list_length(value)
  local length, items = 0, 0
  for key in pairs(value) do
    if type(key) ~= 'number' or key < 1 or floor(key) ~= key then return -1 end
    if key > length then length = key end
    items = items + 1
  end
  if length > items * 2 and length > 10 then
    error('Cannot serialise table: excessively sparse array', 0)
  end
  return length
end

local function write(value, out, depth)
  local kind = type(value)
  if kind == 'string' then
    out[#out + 1] = quote(value)
  elseif kind == 'number' then
    if value ~= value or value == 1 / 0 or value == -1 / 0 then
      error('Cannot serialise number: must not be NaN or Inf', 0)
    end
    out[#out + 1] = format('%.14g', value)
  elseif kind == 'boolean' then
    out[#out + 1] = value and 'true' or 'false'
  elseif kind == 'nil' or value == null then
    out[#out + 1] = 'null'
  elseif kind == 'table' then
    depth = depth + 1
    if depth > DEPTH_MAX then
      error('Cannot serialise, excessive depth (' .. depth .. ')', 0)
    end
    local length = list_length(value)
    if length > 0 then
      out[#out + 1] = '['
      for index = 1, length do
        if index > 1 then out[#out + 1] = ',' end
        write(value[index], out, depth)
      end
      out[#out + 1] = ']'
    else
      out[#out + 1] = '{'
      local follows = false
      for key, each in pairs(value) do
        local key_kind = type(key)
        if key_kind == 'number' then
          key = format('%.14g', key)
        elseif key_kind ~= 'string' then
          error('Cannot serialise ' .. key_kind .. ': table key must be a number or string', 0)
        end
        if follows then out[#out + 1] = ',' end
        follows = true
        out[#out + 1] = quote(key)
        out[#out + 1] = ':'
        write(each, out, depth)
      end
      out[#out + 1] = '}'
    end
  else
    error('Cannot serialise ' .. kind .. ': type not supported', 0)
  end
end

local function encode(value)
  local out = {}
  write(value, out, 0)
  return concat(out)
end

local function unexpected(what, text, at)
  local found = at > #text and 'T_END' or 'invalid token'
  error('Expected ' .. what .. ' but found ' .. found .. ' at character ' .. at, 0)
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40) end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

local unescapes = { ['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t' }

local function hex4(text, at)
  local digits = sub(text, at, at + 3)
  if not find(digits, '^%x%x%x%x$') then unexpected('value', text, at) end
  return tonumber(digits, 16)
end

-- at: behind the opening quote; returns the text and the place behind the closing one.
local function read_string(text, at)
  local stop = find(text, '["\\]', at)
  if not stop then unexpected('value', text, #text + 1) end
  if byte(text, stop) == 34 then return sub(text, at, stop - 1), stop + 1 end
  local out = {}
  while true do
    if not stop then unexpected('value', text, #text + 1) end
    out[#out + 1] = sub(text, at, stop - 1)
    if byte(text, stop) == 34 then return concat(out), stop + 1 end
    local letter = sub(text, stop + 1, stop + 1)
    if letter == 'u' then
      local code = hex4(text, stop + 2)
      at = stop + 6
      if code >= 0xD800 and code < 0xDC00 then
        if sub(text, at, at + 1) ~= '\\u' then unexpected('value', text, at) end
        local low = hex4(text, at + 2)
        if low < 0xDC00 or low > 0xDFFF then unexpected('value', text, at) end
        code = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00)
        at = at + 6
      elseif code >= 0xDC00 and code <= 0xDFFF then
        unexpected('value', text, at)
      end
      out[#out + 1] = utf8(code)
    else
      local plain = unescapes[letter]
      if not plain then unexpected('value', text, stop) end
      out[#out + 1] = plain
      at = stop + 2
    end
    stop = find(text, '["\\]', at)
  end
end

local words = { t = { 'true', true }, f = { 'false', false }, n = { 'null', null } }
local read

local function read_list(text, at, depth)
  local list, count = {}, 0
  at = find(text, '[^ \t\r\n]', at) or #text + 1
  if byte(text, at) == 93 then return list, at + 1 end
  while true do
    local value
    value, at = read(text, at, depth)
    count = count + 1
    list[count] = value
    at = find(text, '[^ \t\r\n]', at) or #text + 1
    local mark = byte(text, at)
    if mark == 93 then return list, at + 1 end
    if mark ~= 44 then unexpected('comma or array end', text, at) end
    at = at + 1
  end
end

local function read_object(text, at, depth)
  local object = {}
  at = find(text, '[^ \t\r\n]', at) or #text + 1
  if byte(text, at) == 125 then return object, at + 1 end
  while true do
    at = find(text, '[^ \t\r\n]', at) or #text + 1
    if byte(text, at) ~= 34 then unexpected('object key string', text, at) end
    local key
    key, at = read_string(text, at + 1)
    at = find(text, '[^ \t\r\n]', at) or #text + 1
    if byte(text, at) ~= 58 then unexpected('colon', text, at) end
    object[key], at = read(text, at + 1, depth)
    at = find(text, '[^ \t\r\n]', at) or #text + 1
    local mark = byte(text, at)
    if mark == 125 then return object, at + 1 end
    if mark ~= 44 then unexpected('comma or object end', text, at) end
    at = at + 1
  end
end

read = function(text, at, depth)
  at = find(text, '[^ \t\r\n]', at) or #text + 1
  local mark = sub(text, at, at)
  if mark == '"' then return read_string(text, at + 1) end
  if mark == '{' or mark == '[' then
    if depth >= DEPTH_MAX then
      error('Found too many nested data structures (' .. (depth + 1) .. ')', 0)
    end
    if mark == '{' then return read_object(text, at + 1, depth + 1) end
    return read_list(text, at + 1, depth + 1)
  end
  local word = words[mark]
  if word and sub(text, at, at + #word[1] - 1) == word[1] then return word[2], at + #word[1] end
  local first, last = find(text, '^-?%d+%.?%d*[eE]?[+-]?%d*', at)
  local value = first and tonumber(sub(text, first, last))
  if not value then unexpected('value', text, at) end
  return value, last + 1
end

local function decode(text)
  if type(text) == 'number' then text = format('%.14g', text) end
  if type(text) ~= 'string' then error("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ')', 0) end
  local value, at = read(text, 1, 0)
  at = find(text, '[^ \t\r\n]', at) or #text + 1
  if at <= #text then unexpected('the end', text, at) end
  return value
end

return { encode = encode, decode = decode, null = null }
"""

SANDBOX = rb"""
local dispatch, sha1hex, cjson, instructions_max = ...
local pcall, error, type, rawset, setfenv, loadstring, sethook = pcall, error, type, rawset, setfenv, loadstring, debug.sethook
local find, sub, tostring = string.find, string.sub, tostring

local redis = { sha1hex = sha1hex, LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3 }

function redis.call(...)
  local reply = dispatch(...)
  if type(reply) == 'table' and reply.err then error(reply, 0) end
  return reply
end

function redis.pcall(...)
  return dispatch(...)
end

function redis.error_reply(text)
  if type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  if sub(text, 1, 1) == '-' then text = sub(text, 2) end
  if not find(text, ' ', 1, true) then text = 'ERR ' .. text end
  return { err = text }
end

function redis.status_reply(text)
  if type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  return { ok = text }
end

-- Redis's own pcall gives an error table's text.
local function outcome(has_ended, ...)
  if has_ended then return true, ... end
  local reason = ...
  if type(reason) == 'table' and type(reason.err) == 'string' then return false, reason.err end
  return false, reason
end

-- What Redis leaves of the standard library. math.random is gone: its numbers would not come from the simulation's seed.
local visible = { redis = redis, cjson = cjson }
for _, name in ipairs({ 'assert', 'error', 'getmetatable', 'ipairs', 'next', 'pairs', 'pcall', 'rawequal', 'rawget', 'rawset', 'select', 'setmetatable',
                        'tonumber', 'tostring', 'type', 'unpack', 'xpcall', '_VERSION', 'string', 'table', 'math', 'coroutine' }) do
  visible[name] = _G[name]
end
function visible.pcall(...)
  return outcome(pcall(...))
end
math.random, math.randomseed, string.dump = nil, nil, nil

local environment = setmetatable({}, {
  __index = function(_, name)
    local value = visible[name]
    if value == nil then error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2) end
    return value
  end,
  __newindex = function() error('Attempt to modify a readonly table', 2) end,
  __metatable = false,
})
visible._G = environment
function visible.loadstring(text, name)
  local chunk, why = loadstring(text, name)
  return chunk and setfenv(chunk, environment), why
end

local function too_long()
  error('the script ran more than ' .. instructions_max .. ' instructions', 0)
end

local function compile(text)
  local chunk, why = loadstring(text, '@user_script')
  return chunk and setfenv(chunk, environment) or false, why
end

local function run(chunk, keys, argv)
  rawset(environment, 'KEYS', keys)
  rawset(environment, 'ARGV', argv)
  sethook(too_long, '', instructions_max)
  return pcall(chunk)
end

for name in pairs(_G) do
  if name ~= '_G' then _G[name] = nil end
end
return compile, run
"""
