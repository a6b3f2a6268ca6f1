"""No script gets out of the sandbox: neither to the system, nor to Python, nor to other scripts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread

FORBIDDEN = (
    "io", "require", "package", "module", "debug", "dofile", "loadfile", "python", "newproxy", "print", "setfenv",
    "getfenv", "jit", "ffi",
)  # fmt: skip

# All that a script may find among its globals.
WORLD = {
    "ARGV", "KEYS", "_G", "_VERSION", "assert", "bit", "cjson", "cmsgpack", "collectgarbage", "coroutine", "error",
    "gcinfo", "getmetatable", "ipairs", "load", "loadstring", "math", "next", "os", "pairs", "pcall", "rawequal",
    "rawget", "rawset", "redis", "select", "setmetatable", "string", "struct", "table", "tonumber", "tostring", "type",
    "unpack", "xpcall",
}  # fmt: skip

# Each answers an error, or anything but "escaped".
ESCAPES = {
    "os has the clock alone": "for name in pairs(os) do if name ~= 'clock' then return 'escaped' end end",
    "the libraries' table": "local t = rawget(_G, 'package') return t and t.loaded.os and 'escaped'",
    "a protected table's metatable": "return rawget(getmetatable(_G), '__index') and 'escaped'",
    "the metatable of strings": "getmetatable('').__index = function() return 'escaped' end return ('').x",
    "the metatable of strings, raw": "rawset(getmetatable(''), '__index', {x = 'escaped'}) return ('').x",
    "methods of strings": "string.x = 'escaped' return ('').x",
    "a library, raw": "rawset(string, 'x', 'escaped') return ('').x",
    "a library by insert": "table.insert(redis, 'escaped') return redis[1]",
    "another metatable": "setmetatable(_G, {__index = function() return 'escaped' end}) return nothing",
    "a table behind, through pairs": "local _, t = pairs(string) t.x = 'escaped' return ('').x",
    "a table behind, through next": "for _, t in next, _G do if type(t) == 'table' then t.x = 'escaped' end end"
    " return string.x",
    "a table behind, through foreach": "table.foreach(_G, function(_, t) if type(t) == 'table' then t.x = 1 end end)"
    " return string.x and 'escaped'",
    "a table behind, through the metatable": "local m = getmetatable(string) m.__index.x = 'escaped' return string.x",
    "bytecode from dump": "local f = loadstring(string.dump(function() return 'escaped' end)) return f()",
    "a dumped function of Lua's": "return string.dump(redis.call) and 'escaped'",
    "bytecode by loadstring": r"return loadstring('\27Lua\81\0\1\4\8\4\8\0') and 'escaped'",
    "bytecode by load": r"local n = 0 return load(function() n = n + 1 return ({'\27', 'Lua\81\0'})[n] end)"
    " and 'escaped'",
    "the environment of loaded code": "return loadstring('return io or os.execute')() and 'escaped'",
    "a global of loaded code": "loadstring('x = 1')() return x and 'escaped'",
    "an error object of a call": "local ok, e = pcall(redis.call, 'nosuch') return type(e) == 'userdata' and 'escaped'",
    "an error object of wrong arguments": "local ok, e = pcall(redis.sha1hex, {}, {}, {})"
    " return type(e) == 'userdata' and 'escaped'",
    "attributes of a callback": "return redis.call.__globals__ and 'escaped'",
    "attributes of null": "return cjson.null.__class__ and 'escaped'",
    "the metatable of null": "return getmetatable(cjson.null) and 'escaped'",
    "python as an attribute getter": "return python.as_attrgetter(redis.call) and 'escaped'",
    "python's builtins": "return python.builtins.__import__('os') and 'escaped'",
    "python's eval": "return python.eval('1') and 'escaped'",
    "a handler with the stack": "return xpcall(function() error('x') end, function() return debug and 'escaped' end)",
    "an environment by level": "return getfenv(0) and 'escaped'",
    "an environment by function": "return getfenv(redis.call) and 'escaped'",
    "another environment": "setfenv(1, {}) return 'escaped'",
    "a finalizer": "local p = newproxy(true) getmetatable(p).__gc = function() end return 'escaped'",
    "a coroutine's globals": "return coroutine.wrap(function() return rawget(_G, 'io') end)() and 'escaped'",
    "a frame by its number": "return debug.getinfo(1) and 'escaped'",
    "the interpreter by a huge unpack": "return unpack({}, -2147483648, 2147483647)",
    "the interpreter by an unpack past the end": "return unpack({}, 0, 1e308) == nil and unpack({}, 0/0, 0/0)",
    "the interpreter by a huge concat": "return table.concat({}, '', 1, 2147483647)",
    "the interpreter's stack by a pattern": "return string.find(('a'):rep(1e6), ('a?'):rep(1e6))",
    "the interpreter's stack by gsub": "return string.gsub(('a'):rep(1e6), ('a-'):rep(1e6) .. 'b', '')",
    "the interpreter's stack by gmatch": "for _ in string.gmatch(('a'):rep(1e6), ('a?'):rep(1e6)) do end",
    "the interpreter's stack by a method": "return ('a'):rep(1e6):match(('a?'):rep(1e6))",
    "digits before the buffer": "return bit.tohex(65535, -2147483648) == 'FFFF' and 'escaped'",
    "a metatable of numbers": "return setmetatable(1, {__index = function() return 'escaped' end}) and (1).x",
    "an environment that is returned": "return _G",
    "a reply with a metatable": "return setmetatable({}, {__index = function() return nothing_here end})",
    "nested messages": r"return cmsgpack.unpack(('\145'):rep(1e6)) and 'escaped'",
    "a message that is cut": r"return cmsgpack.unpack('\219\255\255\255\255Z') and 'escaped'",
    "a negative size": "return struct.unpack('>I4c0', '\\255\\255\\255\\255') and 'escaped'",
    "a size that is none": "return struct.unpack('dc0', struct.pack('d', 0/0)) and 'escaped'",
    "a place that is none": "return struct.unpack('i4', 'abcd', 0/0) and 'escaped'",
    "a level that is none": "redis.log(0/0, 'x') return 'done'",
    "the interpreter by a collection while parsing": "local n = 0 return type(load(function() collectgarbage()"
    " n = n + 1 return n < 50 and 'local a' .. n .. ' = 1 ' or nil end))",
}


def outcome(run: Callable[[], Any]) -> Any:
    """What a script answers, or None for an error."""
    try:
        return run()
    except redis.ResponseError:
        return None


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as opened:
        yield opened


@pytest.fixture(params=["in process", "over TCP"])
def client(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[Any]:
    if request.param == "in process":
        yield server.client()
        return
    with serving_in_thread(server) as endpoint, redis.Redis.from_url(endpoint.url) as connected:
        yield connected


@pytest.mark.parametrize("name", FORBIDDEN)
def test_not_in_a_scripts_world(client: Any, name: str) -> None:
    with pytest.raises(redis.ResponseError, match=f"nonexistent global variable '{name}'"):
        client.eval(f"return type({name})", 0)
    assert client.eval(f"return rawget(_G, '{name}')", 0) is None


def test_a_scripts_world_is_this(client: Any) -> None:
    names = client.eval("local r = {} for name in pairs(_G) do r[#r + 1] = name end return r", 0)
    assert {name.decode() for name in names} == WORLD


HOSTILE = (
    "nil", "true", "0/0", "1/0", "-1/0", "1e300", "-1e300", "2147483648", "-2147483649", "0", "-1", "1.5", "''", "'12'",
    "('x'):rep(1000)", "{}", "{1, 2, 3}", "function() error({}) end", "cjson.null", "coroutine.create(function() end)",
    "setmetatable({}, {__index = error, __tostring = error, __call = error})", "string", "_G", "'%b['", "'i4'", "'c0'",
)  # fmt: skip


def test_no_function_is_led_astray_by_its_arguments(server: EmbeddedServer) -> None:
    """Whatever a function of a script's world is given, it answers with a value or an error, never with Python's."""
    client = server.client()
    names = client.eval(
        "local r = {} for _, l in ipairs({'string', 'table', 'math', 'bit', 'cjson', 'cmsgpack', 'struct', 'redis',"
        " 'coroutine'}) do for f, v in pairs(_G[l]) do if type(v) == 'function' then r[#r + 1] = l .. '.' .. f end end"
        " end for f, v in pairs(_G) do if type(v) == 'function' then r[#r + 1] = f end end return r",
        0,
    )
    chance = random.Random(13)
    for name in sorted(each.decode() for each in names):
        for count in (0, 1, 1, 1, 2, 2, 2, 2, 3, 3):
            args = "".join(f", {chance.choice(HOSTILE)}" for _ in range(count))
            script = f"local ok, e = pcall({name}{args}) return type(e)"
            try:
                found = client.eval(script, 0)
            except redis.ResponseError as error:
                found = str(error)
            assert found != b"userdata" or "null" in args, script
            assert "internal error" not in str(found), script


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes(server: EmbeddedServer, name: str) -> None:
    client = server.client()
    assert outcome(lambda: client.eval(ESCAPES[name], 0)) != b"escaped"
    assert client.eval("return {type(string.len), type(redis.call), ('x'):rep(2)}", 0) == [
        b"function", b"function", b"xx",
    ]  # fmt: skip
    assert client.eval("return pcall(function() return nothing_here end)", 0) is None


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes_from_a_function(server: EmbeddedServer, name: str) -> None:
    client = server.client()
    body = f"local function f() {ESCAPES[name]} end"
    client.function_load(f"#!lua name=lib\nredis.register_function('f', function() {body} return f() end)")
    assert outcome(lambda: client.fcall("f", 0)) != b"escaped"
    with pytest.raises(redis.ResponseError):
        client.function_load(f"#!lua name=other\n{body} assert(f() ~= 'escaped', 'no') redis.call('ping')")


def test_no_python_object_is_within_reach(client: Any) -> None:
    """Every value that can be reached from a script is a plain value of Lua's."""
    walk = """
    local seen, found = {}, {}
    local function walk(value, path)
      local kind = type(value)
      if kind == 'userdata' and value ~= cjson.null then found[#found + 1] = path end
      if kind ~= 'table' or seen[value] then return end
      seen[value] = true
      for key, each in pairs(value) do walk(key, path) walk(each, path .. '.' .. tostring(key)) end
      walk(getmetatable(value), path .. '(metatable)')
    end
    walk(_G, '_G')
    walk(getmetatable(''), 'string(metatable)')
    return found
    """
    assert client.eval(walk, 0) == []


def test_a_user_who_may_only_run_scripts(server: EmbeddedServer, tmp_path: Path) -> None:
    server.client().acl_setuser("guest", enabled=True, passwords=["+secret"], commands=["+eval"], keys=["*"])
    target = tmp_path / "made"
    with serving_in_thread(server) as endpoint:
        client = redis.Redis.from_url(endpoint.url, username="guest", password="secret", protocol=2)
        for script in (
            f"return os.execute('touch {target}')",
            f"return io.open('{target}', 'w')",
            f'return python.eval(\'open("{target}", "w")\')',
            "return redis.call('FLUSHALL')",
            "return redis.call('CONFIG', 'GET', '*')",
        ):
            with pytest.raises(redis.ResponseError):
                client.eval(script, 0)
        client.close()
    assert not target.exists()


def test_two_servers_share_nothing_of_their_scripts() -> None:
    with EmbeddedServer() as one, EmbeddedServer() as other:
        one.client().eval("redis.call('SET', 'k', 1) return 1", 0)
        assert other.client().eval("return redis.call('EXISTS', 'k')", 0) == 0
