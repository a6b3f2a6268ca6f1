-- The world of a script. Runs once in a new interpreter, before any script, with the callbacks into Python as
-- arguments; gives the functions that Python calls. Scripts see tables and Lua functions only, never a Python object:
-- the callbacks stay in upvalues, and nothing here gives out `debug`, an environment, or the tables behind the views.
local py_call, py_tick, py_arm, py_log, py_sha1, py_acl, py_resp, py_bit, py_random, constants,
  libraries, py_pack, py_unpack, py_number = ...

local assert, ipairs, pairs, select, tonumber, tostring, type =
  assert, ipairs, pairs, select, tonumber, tostring, type
local getmetatable, setmetatable, rawget, rawset, rawequal, next = getmetatable, setmetatable, rawget, rawset, rawequal, next
local raw_pcall, raw_xpcall, raw_unpack, raw_loadstring, setfenv = pcall, xpcall, unpack, loadstring, setfenv
local raw_create, raw_resume, raw_collect = coroutine.create, coroutine.resume, collectgarbage
local byte, find, format, gsub, rep = string.byte, string.find, string.format, string.gsub, string.rep
local concat, floor = table.concat, math.floor
local getinfo, sethook = debug.getinfo, debug.sethook
local raw_error = error
local null = newproxy(true)
getmetatable(null).__tostring = function()
  return "userdata: (nil)"
end

-- Whether the script that runs has one line.
local one_line

-- Lua's error, but for functions of ours that end one of the script's and take its place on the stack: the line is
-- known all the same where there is but one.
local function error(value, level)
  if level and level > 0 and type(value) == "string" then
    local info = getinfo(level + 1, "Sl")
    if info and info.currentline > 0 and info.source ~= "=[C]" then
      value = info.short_src .. ":" .. info.currentline .. ": " .. value
    elseif one_line and info and info.what == "tail" then
      value = "user_script:1: " .. value
    end
  end
  raw_error(value, 0)
end

-- Instructions between two looks at the clock and at SCRIPT KILL: about a millisecond.
local COUNT = 100000
local MAX_DEPTH = 300
local MAX_UNPACKED = 7990
-- Repetitions in a pattern, as many as later releases of Lua allow.
local MAX_REPETITIONS = 200
-- Bytes that the arguments of one call may have: they are copied, also where a string is given many times.
local MAX_SENT = 512 * 1024 * 1024
-- How far before a table something may be inserted: everything in between is moved, and nothing can interrupt that.
local MAX_MOVED = 1000000

-- Why the running script must end, or nil. Once set, no pcall and no coroutine keeps an error from going up.
local stopped

local function hook()
  if stopped == nil then
    stopped = py_tick()
    if stopped == nil then
      return
    end
  end
  sethook(hook, "", 1)
  error(stopped, 0)
end

-- What a callback gave: whether it worked, and the value or the error's text; nil for the former ends the script.
local function stop_unless(ok, value)
  if ok == nil then
    stopped = value or "ERR interrupted"
    error(stopped, 0)
  end
end

-- Protected tables: a view is empty, reads from the table behind it, and refuses writes.

local behind = {}

local function readonly()
  error("Attempt to modify a readonly table", 2)
end

local function missing(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

local function view(fields, facade)
  local shown = {}
  behind[shown] = fields
  return setmetatable(shown, { __index = fields, __newindex = readonly, __metatable = facade })
end

local facade = view({}, false)

local function arg_error(number, name, wanted, got, level)
  error("bad argument #" .. number .. " to '" .. name .. "' (" .. wanted .. " expected, got " .. got .. ")", level or 3)
end

local function check_table(value, name)
  if type(value) ~= "table" then
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(value) .. ")", 3)
  end
end

local world, env

local base = {
  _VERSION = _VERSION, assert = assert, error = raw_error, ipairs = ipairs, rawequal = rawequal, select = select,
  tonumber = tonumber, tostring = tostring, type = type,
}

function base.getmetatable(value)
  if type(value) == "userdata" then
    return nil
  end
  return (getmetatable(value))
end

function base.setmetatable(value, meta)
  check_table(value, "setmetatable")
  if meta ~= nil and type(meta) ~= "table" then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  if behind[value] then
    error("Attempt to modify a readonly table", 0)
  end
  local own = getmetatable(value)
  if type(own) == "table" and rawget(own, "__metatable") ~= nil or own ~= nil and type(own) ~= "table" then
    error("cannot change a protected metatable", 2)
  end
  return setmetatable(value, meta)
end

function base.rawget(value, key)
  check_table(value, "rawget")
  return (rawget(behind[value] or value, key))
end

function base.rawset(value, key, item)
  check_table(value, "rawset")
  if behind[value] then
    error("Attempt to modify a readonly table", 0)
  end
  return rawset(value, key, item)
end

function base.next(value, key)
  check_table(value, "next")
  return next(behind[value] or value, key)
end

function base.pairs(value)
  check_table(value, "pairs")
  if behind[value] then
    return base.next, value, nil
  end
  return next, value, nil
end

function base.unpack(value, first, last)
  check_table(value, "unpack")
  first, last = tonumber(first or 1), tonumber(last or #value)
  if not first or not last then
    error("bad argument #2 to 'unpack' (number expected)", 2)
  end
  if not (last - first < MAX_UNPACKED and first > -2147483648 and last < 2147483647) then
    if first > last then
      return
    end
    error("too many results to unpack", 2)
  end
  return raw_unpack(value, first, last)
end

-- Errors that a script caught. One that ends the script goes on; an error of Python's is never handed over.
local caught
function caught(ok, ...)
  if not ok then
    local err = ...
    if type(err) == "string" and byte(err, 1) == 91 then
      local text, found = gsub(err, "^%[C%]:%d+: ", "")
      if found > 0 then
        return caught(ok, text)
      end
    end
    if stopped == nil then
      if type(err) == "userdata" and err ~= null then
        stopped = err -- an exception, of a signal handler perhaps, for Python to raise again
      elseif type(err) == "string" and (find(err, "C stack overflow", 1, true) or err == "error in error handling") then
        -- At the limit of nested C calls the hook's own call fails, so it never runs; here, one level above, it can.
        stopped = py_tick()
      end
    end
    if stopped ~= nil then
      error(stopped, 0)
    end
  end
  return ok, ...
end

local function textual(ok, err, ...)
  if not ok and type(err) == "table" and type(rawget(err, "err")) == "string" then
    return ok, rawget(err, "err")
  end
  return ok, err, ...
end

function base.pcall(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'pcall' (value expected)", 2)
  end
  return textual(caught(raw_pcall(...)))
end

local function handled(handler, ok, ...)
  if ok then
    return ok, ...
  end
  return ok, handler(...)
end

-- The handler runs after the stack was unwound: within a hook's error it could not be interrupted.
function base.xpcall(call, ...)
  if select("#", ...) == 0 then
    error("bad argument #2 to 'xpcall' (value expected)", 2)
  end
  local handler = ...
  if type(handler) ~= "function" then
    handler = function()
      return "error in error handling"
    end
  end
  return handled(handler, caught(raw_pcall(call)))
end

-- Text only: what is not valid bytecode could do anything.
local function compile(text, name)
  if byte(text, 1) == 27 then
    return nil, "[string \"" .. format("%q", "Lua"):sub(2, -2) .. "\"]:1: unexpected symbol near 'char(27)'"
  end
  local chunk, err = raw_loadstring(text, name)
  if chunk == nil then
    return nil, err
  end
  return setfenv(chunk, env)
end

function base.loadstring(text, name)
  if type(text) == "number" then
    text = tostring(text)
  end
  if type(text) ~= "string" then
    arg_error(1, "loadstring", "string", type(text))
  end
  if name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    arg_error(2, "loadstring", "string", type(name))
  end
  return compile(text, name == nil and text or tostring(name))
end

-- The pieces are put together first: the parser must not run code that can start the collector under it.
function base.load(reader, name)
  if type(reader) ~= "function" then
    arg_error(1, "load", "function", type(reader))
  end
  local pieces = {}
  while true do
    local ok, piece = caught(raw_pcall(reader))
    if not ok then
      return nil, piece
    end
    if piece == nil or piece == "" then
      break
    end
    if type(piece) ~= "string" then
      return nil, "reader function must return a string"
    end
    pieces[#pieces + 1] = piece
  end
  return compile(concat(pieces), name == nil and "=(load)" or tostring(name))
end

-- The collector is everybody's: a script may run it, not change it.
function base.collectgarbage(option, value)
  option = option == nil and "collect" or option
  if option == "collect" or option == "step" or option == "count" then
    return raw_collect(option, value)
  elseif option == "stop" or option == "restart" then
    return 0
  elseif option == "setpause" or option == "setstepmul" then
    return 200
  end
  error("bad argument #1 to 'collectgarbage' (invalid option '" .. tostring(option) .. "')", 2)
end

function base.gcinfo()
  return floor(raw_collect("count"))
end

-- Coroutines have hooks of their own.

local coroutines = { running = coroutine.running, status = coroutine.status, yield = coroutine.yield }

local function new_coroutine(call, name)
  if type(call) ~= "function" or getinfo(call, "S").what == "C" then
    error("bad argument #1 to '" .. name .. "' (Lua function expected)", 3)
  end
  local made = raw_create(call)
  sethook(made, hook, "", COUNT)
  return made
end

function coroutines.create(call)
  return (new_coroutine(call, "create"))
end

function coroutines.resume(routine, ...)
  if type(routine) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  return caught(raw_resume(routine, ...))
end

local function unwrapped(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  error(err, type(err) == "string" and 3 or 0)
end

function coroutines.wrap(call)
  local routine = new_coroutine(call, "wrap")
  return function(...)
    return unwrapped(caught(raw_resume(routine, ...)))
  end
end

-- Strings and tables.

local strings, tables, maths = {}, {}, {}
for _, name in ipairs({ "byte", "char", "format", "len", "lower", "reverse", "sub", "upper" }) do
  strings[name] = string[name]
end

-- One of Lua's functions behind a check of its arguments. Its own errors name it as the script does.
local function guarded(name, original, check)
  local source = ("local %s, check = ... return function(...) check(...) return %s(...) end"):format(name, name)
  return raw_loadstring(source, "=[C]")(original, check)
end

-- Lua's matcher uses the C stack for each repetition of a pattern that fits, and does not look where that ends.
local function pattern_check(name)
  return function(...)
    local text, pattern = ...
    if type(text) ~= "string" and type(text) ~= "number" then
      arg_error(1, name, "string", select("#", ...) < 1 and "no value" or type(text), 4)
    elseif type(pattern) ~= "string" and type(pattern) ~= "number" then
      arg_error(2, name, "string", select("#", ...) < 2 and "no value" or type(pattern), 4)
    elseif type(pattern) == "string" and #pattern > MAX_REPETITIONS then
      local _, repetitions = gsub(pattern, "[*+?-]", "")
      if repetitions > MAX_REPETITIONS then
        error("pattern too complex", 3)
      end
    end
  end
end

for _, name in ipairs({ "find", "gfind", "gmatch", "gsub", "match" }) do
  strings[name] = guarded(name, string[name], pattern_check(name))
end

function strings.dump(value)
  if type(value) ~= "function" then
    arg_error(1, "dump", "function", value == nil and "no value" or type(value))
  end
  error("unable to dump given function", 2)
end

function strings.rep(text, times)
  if type(text) ~= "string" and type(text) ~= "number" then
    arg_error(1, "rep", "string", text == nil and "no value" or type(text))
  end
  local number = tonumber(times)
  if not number then
    arg_error(2, "rep", "number", times == nil and "no value" or type(times))
  end
  if text == "" or number < 1 then
    return ""
  end
  if number * #tostring(text) > 2147483647 then
    error("not enough memory", 0)
  end
  return rep(text, number)
end

for _, name in ipairs({ "concat", "getn", "maxn", "setn" }) do
  tables[name] = table[name]
end

-- The functions that write refuse what is protected; those that enumerate look behind it.
local function check_writable(value)
  if behind[value] then
    error("Attempt to modify a readonly table", 0)
  end
end

local function check_insert(value, ...)
  check_writable(value)
  if select("#", ...) == 2 then
    local place = tonumber((...))
    if place and not (place > -MAX_MOVED and place < 2147483648) then
      error("bad argument #2 to 'insert' (position out of bounds)", 3)
    end
  end
end

tables.insert = guarded("insert", table.insert, check_insert)
tables.remove = guarded("remove", table.remove, check_writable)
tables.sort = guarded("sort", table.sort, check_writable)
for _, name in ipairs({ "foreach", "foreachi" }) do
  local original = table[name]
  tables[name] = function(value, call)
    check_table(value, name)
    if type(call) ~= "function" then
      arg_error(2, name, "function", call == nil and "no value" or type(call))
    end
    return original(behind[value] or value, call)
  end
end

for name, value in pairs(math) do
  maths[name] = value
end

function maths.random(...)
  local value = py_random()
  local count = select("#", ...)
  if count == 0 then
    return value
  end
  local low, high = ...
  if count == 1 then
    low, high = 1, low
  elseif count > 2 then
    error("wrong number of arguments", 2)
  end
  low, high = tonumber(low), tonumber(high)
  if not low or not high then
    error("bad argument #" .. count .. " to 'random' (number expected)", 2)
  end
  if low > high then
    error("bad argument #" .. count .. " to 'random' (interval is empty)", 2)
  end
  return floor(value * (high - low + 1)) + low
end

function maths.randomseed(seed)
  if not tonumber(seed) then
    error("bad argument #1 to 'randomseed' (number expected)", 2)
  end
  py_random(tonumber(seed))
end

-- redis

local redis = {}
local WRONG_ARGS = "ERR Lua redis lib command arguments must be strings or integers"

-- Where the script is, of the functions that run. A call of ours that ends a function of the script's takes its place
-- on the stack; which line that was is known for a script of one line alone, and nil is given for others.
local function position()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if info == nil then
      if one_line then
        return "@user_script", 1
      end
      return nil
    end
    if info.currentline > 0 and info.source ~= "=[C]" then
      return info.source, info.currentline
    end
    level = level + 1
  end
end

local function problem(raise, text)
  local source, line = position()
  local err = { err = text, source = source, line = line, ignore_error_stats_update = true }
  if raise then
    error(err, 0)
  end
  err.source, err.line = nil, nil
  return err
end

local function command(raise, ...)
  local count = select("#", ...)
  if count == 0 then
    return problem(raise, "ERR Please specify at least one argument for this redis lib call")
  end
  local size = 0
  for place = 1, count do
    local arg = select(place, ...)
    local kind = type(arg)
    if kind == "string" then
      size = size + #arg
    elseif kind ~= "number" then
      local err = problem(raise, WRONG_ARGS)
      err.ignore_error_stats_update = nil
      return err
    end
  end
  if size > MAX_SENT then
    return problem(raise, "ERR the arguments of a command are too large")
  end
  local ok, value = py_call(...)
  stop_unless(ok, value)
  if ok then
    return value
  end
  return problem(raise, value)
end

function redis.call(...)
  return (command(true, ...))
end

function redis.pcall(...)
  return (command(false, ...))
end

local function reply_of(field, text, ...)
  if type(text) ~= "string" or select("#", ...) > 0 then
    return { err = "ERR wrong number or type of arguments" }
  end
  if field == "err" then
    if byte(text, 1) == 45 then
      text = text:sub(2)
    elseif not text:find(" ", 1, true) then
      text = "ERR " .. text
    end
  end
  return { [field] = text }
end

function redis.error_reply(...)
  return reply_of("err", ...)
end

function redis.status_reply(...)
  return reply_of("ok", ...)
end

-- Lua's own word for an error of redis.*: with the position of the call, as a table.
local function checked(callback, ...)
  local ok, value = callback(...)
  stop_unless(ok, value)
  if not ok then
    problem(true, value)
  end
  return value
end

function redis.sha1hex(...)
  local text = ...
  if select("#", ...) ~= 1 then
    problem(true, "ERR wrong number of arguments")
  end
  if type(text) == "number" then
    text = tostring(text)
  end
  return (checked(py_sha1, type(text) == "string" and text or ""))
end

function redis.log(...)
  local count = select("#", ...)
  if count < 2 then
    problem(true, "ERR redis.log() requires two arguments or more.")
  end
  local level = tonumber((...))
  if not level then
    problem(true, "ERR First argument must be a number (log level).")
  end
  if not (level >= 0 and level <= 3) then
    problem(true, "ERR Invalid debug level.")
  end
  local words = {}
  for place = 2, count do
    local word = select(place, ...)
    if type(word) == "string" or type(word) == "number" then
      words[#words + 1] = word
    end
  end
  checked(py_log, level, concat(words, " "))
end

function redis.setresp(...)
  local version = tonumber((...))
  if select("#", ...) ~= 1 then
    problem(true, "ERR redis.setresp() requires one argument.")
  end
  if version ~= 2 and version ~= 3 then
    problem(true, "ERR RESP version must be 2 or 3.")
  end
  checked(py_resp, version)
end

function redis.acl_check_cmd(...)
  if select("#", ...) == 0 then
    problem(true, "ERR Please specify at least one argument for this redis lib call")
  end
  for place = 1, select("#", ...) do
    local kind = type((select(place, ...)))
    if kind ~= "string" and kind ~= "number" then
      problem(true, WRONG_ARGS)
    end
  end
  return (checked(py_acl, ...))
end

-- Replication has no meaning here.
function redis.replicate_commands()
  return true
end

function redis.set_repl(...)
  if select("#", ...) ~= 1 then
    problem(true, "ERR redis.set_repl() requires one argument.")
  end
end

function redis.breakpoint()
  return false
end

function redis.debug() end

for name, value in pairs(constants) do
  redis[name] = value
end

-- How many numbers each takes at least and at most.
local bits = {}
for name, counts in pairs({
  arshift = { 2, 2 }, band = { 1, MAX_UNPACKED }, bnot = { 1, 1 }, bor = { 1, MAX_UNPACKED }, bswap = { 1, 1 },
  bxor = { 1, MAX_UNPACKED }, lshift = { 2, 2 }, rol = { 2, 2 }, ror = { 2, 2 }, rshift = { 2, 2 }, tobit = { 1, 1 },
  tohex = { 1, 2 },
}) do
  local least, most = counts[1], counts[2]
  bits[name] = function(...)
    local count = select("#", ...)
    local numbers = { ... }
    local used = count < least and least or count > most and most or count
    for place = 1, used do
      local number = tonumber(numbers[place])
      if not number then
        arg_error(place, name, "number", place > count and "no value" or type(numbers[place]))
      end
      numbers[place] = number
    end
    local ok, value = py_bit(name, raw_unpack(numbers, 1, used))
    stop_unless(ok, value)
    if not ok then
      error(value, 2)
    end
    return value
  end
end

-- The value that a script gave, written down for Python. Nothing of the script's runs meanwhile.

local function write(value, out, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = "$" .. #value .. "\n"
    out[#out + 1] = value
  elseif kind == "number" then
    out[#out + 1] = format(":%.17g\n", value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "t\n" or "f\n"
  elseif kind ~= "table" then
    out[#out + 1] = "_\n"
  else
    if depth > MAX_DEPTH then
      error({ err = "ERR reached lua stack limit" }, 0)
    end
    local field = rawget(value, "err")
    if type(field) == "string" then
      out[#out + 1] = "-" .. #field .. "\n"
      out[#out + 1] = field
      return
    end
    field = rawget(value, "ok")
    if type(field) == "string" then
      out[#out + 1] = "+" .. #field .. "\n"
      out[#out + 1] = field
      return
    end
    field = rawget(value, "double")
    if type(field) == "number" then
      out[#out + 1] = format(",%.17g\n", field)
      return
    end
    field = rawget(value, "map")
    if type(field) == "table" then
      field = behind[field] or field
      local place, count = #out + 1, 0
      out[place] = ""
      for key, item in next, field do
        write(key, out, depth + 1)
        write(item, out, depth + 1)
        count = count + 1
      end
      out[place] = "%" .. count .. "\n"
      return
    end
    field = rawget(value, "set")
    if type(field) == "table" then
      field = behind[field] or field
      local place, count = #out + 1, 0
      out[place] = ""
      for key in next, field do
        write(key, out, depth + 1)
        count = count + 1
      end
      out[place] = "~" .. count .. "\n"
      return
    end
    field = rawget(value, "big_number")
    if type(field) == "string" then
      out[#out + 1] = "(" .. #field .. "\n"
      out[#out + 1] = field
      return
    end
    field = rawget(value, "verbatim_string")
    if type(field) == "table" and type(rawget(field, "string")) == "string" and type(rawget(field, "format")) == "string" then
      field = rawget(field, "format"):sub(1, 3) .. ":" .. rawget(field, "string")
      out[#out + 1] = "=" .. #field .. "\n"
      out[#out + 1] = field
      return
    end
    local place, count = #out + 1, 0
    out[place] = ""
    while true do
      local item = rawget(value, count + 1)
      if item == nil then
        break
      end
      count = count + 1
      write(item, out, depth + 1)
    end
    out[place] = "*" .. count .. "\n"
  end
end

local function written(value)
  local out = {}
  write(value, out, 0)
  return concat(out)
end

-- An uncaught error as a table that says where it came from.
local function handler(err)
  if stopped == nil and type(err) == "userdata" and err ~= null then
    stopped = err
  end
  if stopped ~= nil then
    sethook()
    return stopped
  end
  local source, line = position()
  if type(err) ~= "table" then
    local text = (type(err) == "string" or type(err) == "number") and err or type(err)
    local bare, inner = gsub(text, "^%[C%]:%d+: ", "")
    if inner > 0 and source ~= nil then
      bare = source:sub(2) .. ":" .. line .. ": " .. bare
    end
    err = { err = "ERR " .. bare }
  end
  if source ~= nil and not behind[err] then
    rawset(err, "source", source)
    rawset(err, "line", line)
  end
  return err
end

-- Everything a script can reach.

local cjson, cmsgpack, struct = {}, {}, {}
local reset_json =
  libraries(cjson, cmsgpack, struct, null, error, caught, stop_unless, behind, py_pack, py_unpack, py_number)

world = setmetatable({}, { __index = missing })
for name, value in pairs(base) do
  world[name] = value
end
local library_world = setmetatable({}, { __index = missing })
local text_view = view(strings, facade)
world.string = text_view
world.table = view(tables, facade)
world.math = view(maths, facade)
world.coroutine = view(coroutines, facade)
world.os = view({ clock = os.clock }, facade)
world.bit = view(bits, facade)
world.cjson = view(cjson, facade)
world.cmsgpack = view(cmsgpack, facade)
world.struct = view(struct, facade)
world.redis = view(redis, facade)

-- Scripts and functions share an environment; while a library is loaded it shows another world.
local loading = false
local shown = {}
env = shown
behind[shown] = world
local env_meta = {
  __index = world,
  __newindex = readonly,
  __metatable = facade,
}
setmetatable(shown, env_meta)
world._G = shown

local text_meta = getmetatable("")
text_meta.__index = text_view
text_meta.__newindex = readonly
text_meta.__metatable = view({ __index = text_view }, facade)

-- Functions

local registered

local function fail(text)
  problem(true, "ERR " .. text)
end

local FLAGS = {
  ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
  ["allow-cross-slot-keys"] = true,
}

local function textlike(value)
  return type(value) == "string" or type(value) == "number"
end

local function register_function(...)
  if registered == nil then
    fail("redis.register_function can only be called on FUNCTION LOAD command")
  end
  local count = select("#", ...)
  if count < 1 or count > 2 then
    fail("wrong number of arguments to redis.register_function")
  end
  local name, callback, description
  local flags = {}
  if count == 2 then
    name, callback = ...
    if not textlike(name) then
      fail("first argument to redis.register_function must be a string")
    end
    if type(callback) ~= "function" then
      fail("second argument to redis.register_function must be a function")
    end
  else
    local given = ...
    if type(given) ~= "table" then
      fail("calling redis.register_function with a single argument is only applicable to Lua table" ..
        " (representing named arguments).")
    end
    for key, value in next, given do
      if type(key) ~= "string" then
        fail("named argument key given to redis.register_function is not a string")
      end
      key = key:lower()
      if key == "function_name" then
        if not textlike(value) then
          fail("function_name argument given to redis.register_function must be a string")
        end
        name = value
      elseif key == "description" then
        if not textlike(value) then
          fail("description argument given to redis.register_function must be a string")
        end
        description = tostring(value)
      elseif key == "callback" then
        if type(value) ~= "function" then
          fail("callback argument given to redis.register_function must be a function")
        end
        callback = value
      elseif key == "flags" then
        if type(value) ~= "table" then
          fail("flags argument to redis.register_function must be a table representing function flags")
        end
        local place = 1
        while rawget(value, place) ~= nil do
          local flag = rawget(value, place)
          flag = textlike(flag) and tostring(flag):lower() or ""
          if not FLAGS[flag] then
            fail("unknown flag given")
          end
          flags[#flags + 1] = flag
          place = place + 1
        end
      else
        fail("unknown argument given to redis.register_function")
      end
    end
    if name == nil then
      fail("redis.register_function must get a function name argument")
    end
    if callback == nil then
      fail("redis.register_function must get a callback argument")
    end
  end
  name = tostring(name)
  if not name:find("^[%w_]+$") then
    fail("Library names can only contain letters, numbers, or underscores(_) and must be at least one character long")
  end
  for _, other in ipairs(registered) do
    if other.name == name then
      fail("Function already exists in the library")
    end
  end
  registered[#registered + 1] = { name = name, callback = callback, description = description, flags = flags }
end

local function registering()
  error("redis.register_function can only be called on FUNCTION LOAD command", 2)
end

local library_redis = { register_function = register_function, log = redis.log }
for name, value in pairs(constants) do
  library_redis[name] = value
end
setmetatable(library_redis, { __index = missing })
library_world.redis = view(library_redis, facade)
redis.register_function = registering

-- What Python calls

local scripts, single, callbacks = {}, {}, {}

local function finished(ok, value)
  sethook()
  if stopped ~= nil then
    local reason = stopped
    stopped = nil
    return 2, reason
  end
  if ok then
    return 0, value
  end
  if type(value) ~= "table" then
    return 1, type(value) == "string" and "ERR " .. value or "ERR error in error handling"
  end
  local text, source, line = rawget(value, "err"), rawget(value, "source"), rawget(value, "line")
  return 1, type(text) == "string" and text or "ERR unknown error", source, line
end

-- Run a script within its bounds; where told so, write down what it gives, within them too.
local function protected(run, writing)
  stopped = nil
  reset_json()
  py_arm()
  sethook(hook, "", COUNT)
  local ok, value = raw_xpcall(run, handler)
  if ok and writing then
    ok, value = raw_xpcall(function()
      return written(value)
    end, handler)
  end
  return finished(ok, value)
end

local entry = {}

-- Compile a script under its digest. Gives the parser's complaint, or nil.
function entry.compile(digest, text)
  local chunk, err = compile(text, "@user_script")
  if chunk == nil then
    return err
  end
  scripts[digest] = chunk
  single[digest] = not text:find("\n", 1, true)
end

function entry.forget(digest)
  scripts[digest], single[digest] = nil, nil
end

function entry.run(digest, keys, argv)
  local chunk = scripts[digest]
  one_line = single[digest]
  world.KEYS, world.ARGV = keys, argv
  return protected(chunk, true)
end

-- Run a library's code. Gives its status, then a table of its functions' descriptions, or an error.
function entry.load(library, text)
  local chunk, err = compile(text, "@user_function")
  if chunk == nil then
    return 3, err
  end
  world.KEYS, world.ARGV, one_line = nil, nil, nil
  registered = {}
  env_meta.__index, behind[env] = library_world, library_world
  local status, value, source, line = protected(function()
    chunk()
    return nil
  end)
  local found = registered
  registered = nil
  env_meta.__index, behind[env] = world, world
  if status ~= 0 then
    return status, value, source, line
  end
  callbacks[library] = {}
  for _, each in ipairs(found) do
    callbacks[library][each.name] = each.callback
    each.callback = nil
  end
  return 0, found
end

function entry.unload(library)
  callbacks[library] = nil
end

function entry.fcall(library, name, keys, argv)
  local callback = callbacks[library][name]
  world.KEYS, world.ARGV, one_line = nil, nil, nil
  return protected(function()
    return written(callback(keys, argv))
  end)
end

-- Nothing is left that a function's environment could give away.
local globals = _G
for name in pairs(globals) do
  globals[name] = nil
end
return entry, null
