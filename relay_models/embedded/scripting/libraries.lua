-- cjson, cmsgpack and struct, as Redis has them: fills the tables given. Runs once, before any script.
local cjson, cmsgpack, struct, null, error, caught, stop_unless, behind, py_pack, py_unpack, py_number =
  ...

local next, pairs, rawget, select, tonumber, tostring, type =
  next, pairs, rawget, select, tonumber, tostring, type
local raw_pcall = pcall
local byte, char, find, format, gsub, match, sub = string.byte, string.char, string.find, string.format, string.gsub, string.match, string.sub
local concat, floor, huge, ldexp = table.concat, math.floor, math.huge, math.ldexp

-- What `run` gives; its errors carry the position of the library's caller.
local function positioned(run, ...)
  local ok, value = caught(raw_pcall(run, ...))
  if not ok then
    error(value, type(value) == "string" and 3 or 0)
  end
  return value
end

local function text_of(value, name)
  if type(value) == "number" then
    return tostring(value)
  end
  if type(value) ~= "string" then
    error("bad argument #1 to '" .. name .. "' (string expected, got " .. (value == nil and "nil" or type(value)) .. ")", 3)
  end
  return value
end

-- cjson

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t" }
for code = 0, 31 do
  local each = char(code)
  ESCAPES[each] = ESCAPES[each] or format("\\u%04x", code)
end
ESCAPES["\127"] = "\\u007f"

local UNESCAPED = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function fill_json(target)
  local settings = {
    convert = false, ratio = 2, safe = 10, encode_depth = 1000, decode_depth = 1000, precision = 14,
    encode_invalid = false, decode_invalid = true, keep = true,
  }

  local function quoted(text)
    return '"' .. gsub(text, '[%c"\\/\127]', ESCAPES) .. '"'
  end

  local function number_text(value)
    if value ~= value or value == huge or value == -huge then
      if settings.encode_invalid == "null" then
        return "null"
      elseif not settings.encode_invalid then
        error("Cannot serialise number: must not be NaN or Inf", 0)
      end
    end
    return format("%." .. settings.precision .. "g", value)
  end

  -- How long a table is as an array, or nil where it is an object.
  local function array_length(value)
    local highest, count = 0, 0
    for key in next, value do
      if type(key) ~= "number" or key < 1 or floor(key) ~= key then
        return nil
      end
      if key > highest then
        highest = key
      end
      count = count + 1
    end
    if settings.ratio > 0 and highest > count * settings.ratio and highest > settings.safe then
      if not settings.convert then
        error("Cannot serialise table: excessively sparse array", 0)
      end
      return nil
    end
    return highest > 0 and highest or nil
  end

  local function encode(value, out, depth)
    local kind = type(value)
    if kind == "string" then
      out[#out + 1] = quoted(value)
    elseif kind == "number" then
      out[#out + 1] = number_text(value)
    elseif kind == "boolean" then
      out[#out + 1] = value and "true" or "false"
    elseif value == nil or value == null then
      out[#out + 1] = "null"
    elseif kind == "table" then
      value = behind[value] or value
      depth = depth + 1
      if depth > settings.encode_depth then
        error("Cannot serialise, excessive nesting (" .. depth .. ")", 0)
      end
      local length = array_length(value)
      if length then
        out[#out + 1] = "["
        for place = 1, length do
          if place > 1 then
            out[#out + 1] = ","
          end
          encode(rawget(value, place), out, depth)
        end
        out[#out + 1] = "]"
      else
        local first = true
        out[#out + 1] = "{"
        for key, item in next, value do
          if not first then
            out[#out + 1] = ","
          end
          first = false
          if type(key) == "number" then
            out[#out + 1] = '"' .. number_text(key) .. '":'
          elseif type(key) == "string" then
            out[#out + 1] = quoted(key) .. ":"
          else
            error("Cannot serialise " .. type(key) .. ": table key must be a number or string", 0)
          end
          encode(item, out, depth)
        end
        out[#out + 1] = "}"
      end
    else
      error("Cannot serialise " .. kind .. ": type not supported", 0)
    end
  end

  local function encoded(value)
    local out = {}
    encode(value, out, 0)
    return concat(out)
  end

  local function utf8(code)
    if code < 0x80 then
      return char(code)
    elseif code < 0x800 then
      return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
    elseif code < 0x10000 then
      return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
      0x80 + code % 0x40)
  end

  -- The next token from a position: its kind, its value, the position behind it, and its own position.
  local KINDS = { ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
    [":"] = "T_COLON", [","] = "T_COMMA" }

  local function string_token(text, start)
    local pieces, place = {}, start + 1
    while true do
      local stop = find(text, '["\\%z]', place)
      if stop == nil or byte(text, stop) == 0 then
        local last = stop or #text + 1
        return "T_ERROR", "unexpected end of string", last, last
      end
      pieces[#pieces + 1] = sub(text, place, stop - 1)
      if byte(text, stop) == 34 then
        return "T_STRING", concat(pieces), stop + 1, start
      end
      local after = sub(text, stop + 1, stop + 1)
      if after == "u" then
        local digits = match(text, "^%x%x%x%x", stop + 2)
        local code = digits and tonumber(digits, 16)
        place = stop + 6
        if code and code >= 0xD800 and code < 0xDC00 then
          local low = match(text, "^\\u([dD][c-fC-F]%x%x)", place)
          code = low and 0x10000 + (code - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00
          place = place + 6
        elseif code and code >= 0xDC00 and code < 0xE000 then
          code = nil
        end
        if not code then
          return "T_ERROR", "invalid unicode escape code", stop, stop
        end
        pieces[#pieces + 1] = utf8(code)
      elseif UNESCAPED[after] then
        pieces[#pieces + 1] = UNESCAPED[after]
        place = stop + 2
      else
        return "T_ERROR", "invalid escape code", stop, stop
      end
    end
  end

  local function number_token(text, start)
    local strict = not settings.decode_invalid
    local stop = select(2, find(text, "^[-+]?0[xX]%x+", start))
    if not stop then
      stop = select(2, find(text, "^[-+]?%d+%.?%d*", start)) or select(2, find(text, "^[-+]?%.%d+", start))
      if stop then
        stop = select(2, find(text, "^[eE][-+]?%d+", stop + 1)) or stop
      end
    elseif strict then
      return "T_ERROR", "invalid number", start, start
    end
    if stop then
      return "T_NUMBER", tonumber(sub(text, start, stop)), stop + 1, start
    end
    local sign, word = match(text, "^([-+]?)(%a*)", start)
    word = word:lower()
    for _, name in pairs({ "infinity", "inf", "nan" }) do
      if sub(word, 1, #name) == name and not strict then
        local value = name == "nan" and 0 / 0 or huge
        return "T_NUMBER", sign == "-" and -value or value, start + #sign + #name, start
      end
    end
    return "T_ERROR", sign == "-" and "invalid number" or "invalid token", start, start
  end

  local function token(text, place)
    local start = find(text, "[^ \t\r\n]", place)
    if start == nil or byte(text, start) == 0 and start == #text + 1 then
      return "T_END", nil, #text + 1, #text + 1
    end
    local first = sub(text, start, start)
    if KINDS[first] then
      return KINDS[first], nil, start + 1, start
    elseif first == '"' then
      return string_token(text, start)
    elseif sub(text, start, start + 3) == "true" then
      return "T_BOOLEAN", true, start + 4, start
    elseif sub(text, start, start + 4) == "false" then
      return "T_BOOLEAN", false, start + 5, start
    elseif sub(text, start, start + 3) == "null" then
      return "T_NULL", null, start + 4, start
    elseif find(first, "[-+%diInN.]") then
      return number_token(text, start)
    end
    return "T_ERROR", "invalid token", start, start
  end

  local function unexpected(wanted, kind, value, start)
    local found = kind == "T_ERROR" and value or kind
    error("Expected " .. wanted .. " but found " .. found .. " at character " .. start, 0)
  end

  local decode

  local function deeper(depth, start)
    if depth > settings.decode_depth then
      error("Found too many nested data structures (" .. depth .. ") at character " .. start, 0)
    end
  end

  function decode(text, depth, kind, value, place, start)
    if kind == "T_STRING" or kind == "T_NUMBER" or kind == "T_BOOLEAN" or kind == "T_NULL" then
      return value, place
    elseif kind == "T_ARR_BEGIN" then
      deeper(depth + 1, start)
      local found, count = {}, 0
      kind, value, place, start = token(text, place)
      if kind == "T_ARR_END" then
        return found, place
      end
      while true do
        count = count + 1
        found[count], place = decode(text, depth + 1, kind, value, place, start)
        kind, value, place, start = token(text, place)
        if kind == "T_ARR_END" then
          return found, place
        elseif kind ~= "T_COMMA" then
          unexpected("comma or array end", kind, value, start)
        end
        kind, value, place, start = token(text, place)
      end
    elseif kind == "T_OBJ_BEGIN" then
      deeper(depth + 1, start)
      local found = {}
      kind, value, place, start = token(text, place)
      if kind == "T_OBJ_END" then
        return found, place
      end
      while true do
        if kind ~= "T_STRING" then
          unexpected("object key string", kind, value, start)
        end
        local key = value
        kind, value, place, start = token(text, place)
        if kind ~= "T_COLON" then
          unexpected("colon", kind, value, start)
        end
        found[key], place = decode(text, depth + 1, token(text, place))
        kind, value, place, start = token(text, place)
        if kind == "T_OBJ_END" then
          return found, place
        elseif kind ~= "T_COMMA" then
          unexpected("comma or object end", kind, value, start)
        end
        kind, value, place, start = token(text, place)
      end
    end
    unexpected("value", kind, value, start)
  end

  local function decoded(text)
    local value, place = decode(text, 0, token(text, 1))
    local kind, other, _, start = token(text, place)
    if kind ~= "T_END" then
      unexpected("the end", kind, other, start)
    end
    return value
  end

  function target.encode(...)
    if select("#", ...) ~= 1 then
      error("bad argument #1 to 'encode' (expected 1 argument)", 2)
    end
    return (positioned(encoded, (...)))
  end

  function target.decode(...)
    if select("#", ...) ~= 1 then
      error("bad argument #1 to 'decode' (expected 1 argument)", 2)
    end
    return (positioned(decoded, text_of(..., "decode")))
  end

  -- The arguments of a function that changes settings and gives them: some of them may be left out.
  local function arg_error(place, name, text)
    error("bad argument #" .. place .. " to '" .. name .. "' (" .. text .. ")", 4)
  end

  local function check_count(name, most, ...)
    if select("#", ...) > most then
      arg_error(most + 1, name, "found too many arguments")
    end
  end

  local function number_arg(place, name, value, default, lowest, highest)
    if value == nil then
      return default
    end
    local number = tonumber(value)
    if not number then
      arg_error(place, name, "number expected, got " .. type(value))
    end
    if not (number >= lowest and number <= highest) then
      arg_error(place, name, "expected integer between " .. lowest .. " and " .. highest)
    end
    return floor(number)
  end

  local function switch_arg(name, value, default, extra)
    if value == nil then
      return default
    elseif type(value) == "boolean" then
      return value
    elseif type(value) ~= "string" and type(value) ~= "number" then
      arg_error(1, name, "string expected, got " .. type(value))
    elseif value ~= "on" and value ~= "off" and value ~= extra then
      arg_error(1, name, "invalid option '" .. value .. "'")
    end
    return value == "on" or value == extra and extra
  end

  local function numeric(name, setting, lowest, highest)
    target[name] = function(...)
      check_count(name, 1, ...)
      settings[setting] = number_arg(1, name, (...), settings[setting], lowest, highest)
      return settings[setting]
    end
  end
  numeric("encode_max_depth", "encode_depth", 1, 2147483647)
  numeric("decode_max_depth", "decode_depth", 1, 2147483647)
  numeric("encode_number_precision", "precision", 1, 14)

  local function switch(name, setting, extra)
    target[name] = function(...)
      check_count(name, 1, ...)
      settings[setting] = switch_arg(name, (...), settings[setting], extra)
      return settings[setting]
    end
  end
  switch("encode_invalid_numbers", "encode_invalid", "null")
  switch("decode_invalid_numbers", "decode_invalid")
  switch("encode_keep_buffer", "keep")

  function target.encode_sparse_array(...)
    local name = "encode_sparse_array"
    check_count(name, 3, ...)
    local convert, ratio, safe = ...
    settings.convert = switch_arg(name, convert, settings.convert)
    settings.ratio = number_arg(2, name, ratio, settings.ratio, 0, 2147483647)
    settings.safe = number_arg(3, name, safe, settings.safe, 0, 2147483647)
    return settings.convert, settings.ratio, settings.safe
  end

  target.null, target._NAME, target._VERSION = null, "cjson", "2.1.0"
  return function()
    settings.convert, settings.ratio, settings.safe, settings.precision = false, 2, 10, 14
    settings.encode_depth, settings.decode_depth = 1000, 1000
    settings.encode_invalid, settings.decode_invalid, settings.keep = false, true, true
  end
end

local reset_json = fill_json(cjson)

function cjson.new()
  local made = {}
  fill_json(made)
  made.new = cjson.new
  return made
end

-- cmsgpack

local MAX_NESTING = 16

local function big_endian(value, size)
  local bytes = {}
  for place = size, 1, -1 do
    bytes[place] = char(value % 256)
    value = floor(value / 256)
  end
  return concat(bytes)
end

local function header(count, small, limit, marks)
  if count <= limit then
    return char(small + count)
  elseif marks[1] and count <= 0xFF then
    return char(marks[1], count)
  elseif count <= 0xFFFF then
    return char(marks[2]) .. big_endian(count, 2)
  end
  return char(marks[3]) .. big_endian(count, 4)
end

local function pack(value, out, level)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = header(#value, 0xA0, 31, { 0xD9, 0xDA, 0xDB })
    out[#out + 1] = value
  elseif kind == "boolean" then
    out[#out + 1] = value and "\195" or "\194"
  elseif kind == "number" then
    local ok, bytes = py_number(value)
    stop_unless(ok, bytes)
    out[#out + 1] = bytes
  elseif kind == "table" and level < MAX_NESTING then
    value = behind[value] or value
    local highest, count, array = 0, 0, true
    for key in next, value do
      count = count + 1
      if type(key) ~= "number" or key < 1 or floor(key) ~= key then
        array = false
      elseif key > highest then
        highest = key
      end
    end
    if array and highest == count then
      out[#out + 1] = header(count, 0x90, 15, { nil, 0xDC, 0xDD })
      for place = 1, count do
        pack(rawget(value, place), out, level + 1)
      end
    else
      out[#out + 1] = header(count, 0x80, 15, { nil, 0xDE, 0xDF })
      for key, item in next, value do
        pack(key, out, level + 1)
        pack(item, out, level + 1)
      end
    end
  else
    out[#out + 1] = "\192"
  end
end

function cmsgpack.pack(...)
  local count = select("#", ...)
  if count == 0 then
    error("bad argument #0 to 'pack' (MessagePack pack needs input.)", 2)
  end
  local out = {}
  for place = 1, count do
    pack((select(place, ...)), out, 0)
  end
  return concat(out)
end

-- Numbers of MessagePack, from their bytes.

local function whole(text, place, size)
  if size == 8 then
    return whole(text, place, 4) * 2 ^ 32 + whole(text, place + 4, 4) -- rounded once
  end
  local value = 0
  for each = place, place + size - 1 do
    value = value * 256 + byte(text, each)
  end
  return value
end

-- Up to the half of the numbers of its size, a number is positive.
local function signed(text, place, size)
  if size == 8 then
    return signed(text, place, 4) * 2 ^ 32 + whole(text, place + 4, 4)
  end
  local value = whole(text, place, size)
  return value < 2 ^ (8 * size - 1) and value or value - 2 ^ (8 * size)
end

-- The IEEE number with the given numbers of bits of exponent and of fraction.
local function float(high, fraction, exponent_bits, fraction_bits)
  local sign = high >= 2 ^ exponent_bits and -1 or 1
  local exponent, bias = high % 2 ^ exponent_bits, 2 ^ (exponent_bits - 1) - 1
  if exponent == 2 ^ exponent_bits - 1 then
    return fraction == 0 and sign * huge or 0 / 0
  elseif exponent == 0 then
    return sign * ldexp(fraction, 1 - bias - fraction_bits)
  end
  return sign * ldexp(fraction + 2 ^ fraction_bits, exponent - bias - fraction_bits)
end

-- How many bytes of a number or of a length follow each mark, for the types that have any.
local FLOATS = { [0xCA] = 4, [0xCB] = 8 }
local WHOLE = { [0xCC] = 1, [0xCD] = 2, [0xCE] = 4, [0xCF] = 8 }
local SIGNED = { [0xD0] = 1, [0xD1] = 2, [0xD2] = 4, [0xD3] = 8 }
local TEXTS = { [0xC4] = 1, [0xC5] = 2, [0xC6] = 4, [0xD9] = 1, [0xDA] = 2, [0xDB] = 4 }
local ARRAYS = { [0xDC] = 2, [0xDD] = 4 }
local MAPS = { [0xDE] = 2, [0xDF] = 4 }
local MAX_MESSAGE_DEPTH = 100

-- One value of MessagePack from a place on, and the place behind it.
local function read(text, place, depth)
  local mark = byte(text, place)
  if mark == nil then
    error("Missing bytes in input.", 0)
  elseif depth > MAX_MESSAGE_DEPTH then
    error("Bad data format in input.", 0)
  elseif mark < 0x80 then
    return mark, place + 1
  elseif mark >= 0xE0 then
    return mark - 256, place + 1
  elseif mark == 0xC0 then
    return nil, place + 1
  elseif mark == 0xC2 or mark == 0xC3 then
    return mark == 0xC3, place + 1
  end

  local size = FLOATS[mark] or WHOLE[mark] or SIGNED[mark] or TEXTS[mark] or ARRAYS[mark] or MAPS[mark]
  if size == nil and mark >= 0xC0 then
    error("Bad data format in input.", 0)
  end
  size, place = size or 0, place + 1
  local after = place + size
  if after - 1 > #text then
    error("Missing bytes in input.", 0)
  elseif mark == 0xCA then
    local high = whole(text, place, 2)
    return float(floor(high / 128), high % 128 * 2 ^ 16 + whole(text, place + 2, 2), 8, 23), after
  elseif mark == 0xCB then
    local high = whole(text, place, 2)
    return float(floor(high / 16), high % 16 * 2 ^ 48 + whole(text, place + 2, 6), 11, 52), after
  elseif SIGNED[mark] then
    return signed(text, place, size), after
  end
  local count = size > 0 and whole(text, place, size) or mark % (mark < 0xA0 and 16 or 32)
  if WHOLE[mark] then
    return count, after
  elseif TEXTS[mark] or mark >= 0xA0 and mark < 0xC0 then
    if after + count - 1 > #text then
      error("Missing bytes in input.", 0)
    end
    return sub(text, after, after + count - 1), after + count
  end

  local mapped = MAPS[mark] or mark < 0x90
  local found, item, key = {}
  for each = 1, count do
    key = each
    if mapped then
      key, after = read(text, after, depth + 1)
      if key == nil or type(key) == "table" or key ~= key then
        error("Bad data format in input.", 0)
      end
    end
    item, after = read(text, after, depth + 1)
    found[key] = item
  end
  return found, after
end

-- The values from an offset on, their number, and the offset behind them, which is -1 at the end.
local function unpacked(text, limit, offset)
  if not (limit >= 0 and offset >= 0) then
    error(("Invalid request to unpack with offset of %d and limit of %d."):format(offset, #text), 3)
  end
  if offset > #text then
    error(("Start offset %d greater than input length %d."):format(offset, #text), 3)
  end
  local found, count, place = {}, 0, floor(offset) + 1
  while place <= #text and not (limit > 0 and count >= limit) do
    local ok, value, after = caught(raw_pcall(read, text, place, 0))
    if not ok then
      error(value, type(value) == "string" and 3 or 0)
    end
    count = count + 1
    found[count], place = value, after
  end
  return found, count, place <= #text and place - 1 or -1
end

local unpack = unpack

function cmsgpack.unpack(text)
  local found, count = unpacked(text_of(text, "unpack"), 0, 0)
  if count > 7990 then
    error("too many results to unpack", 2)
  end
  return unpack(found, 1, count)
end

local function number_of(value, place, name, default)
  local number = tonumber(value == nil and default or value)
  if not number then
    local got = value == nil and "no value" or type(value)
    error("bad argument #" .. place .. " to '" .. name .. "' (number expected, got " .. got .. ")", 3)
  end
  return number
end

function cmsgpack.unpack_one(text, offset)
  local found, _, after = unpacked(text_of(text, "unpack_one"), 1, number_of(offset, 2, "unpack_one", 0))
  return after, found[1]
end

function cmsgpack.unpack_limit(text, limit, offset)
  limit, offset = number_of(limit, 2, "unpack_limit"), number_of(offset, 3, "unpack_limit", 0)
  local found, count, after = unpacked(text_of(text, "unpack_limit"), limit, offset)
  if count > 7990 then
    error("too many results to unpack", 2)
  end
  return after, unpack(found, 1, count)
end

cmsgpack._NAME, cmsgpack._VERSION = "cmsgpack", "lua-cmsgpack 0.4.0"
cmsgpack._COPYRIGHT, cmsgpack._DESCRIPTION = "", "MessagePack C implementation for Lua"

-- struct

function struct.pack(fmt, ...)
  fmt = text_of(fmt, "pack")
  for place = 1, select("#", ...) do
    local kind = type((select(place, ...)))
    if kind ~= "string" and kind ~= "number" then
      error("bad argument #" .. place + 1 .. " to 'pack' (number expected, got " .. kind .. ")", 2)
    end
  end
  local ok, value = py_pack(fmt, ...)
  stop_unless(ok, value)
  if not ok then
    error(value, 2)
  end
  return value
end

local function results(ok, value, count)
  stop_unless(ok, value)
  if not ok then
    error(value, 3)
  end
  return unpack(value, 1, count)
end

function struct.unpack(fmt, text, position)
  if type(text) == "number" then
    text = tostring(text)
  elseif type(text) ~= "string" then
    error("bad argument #2 to 'unpack' (string expected, got " .. (text == nil and "no value" or type(text)) .. ")", 2)
  end
  return results(py_unpack(text_of(fmt, "unpack"), text, tonumber(position) or 1))
end

function struct.size(fmt)
  local ok, value = py_unpack(text_of(fmt, "size"))
  stop_unless(ok, value)
  if not ok then
    error(value, 2)
  end
  return value
end

return reset_json
