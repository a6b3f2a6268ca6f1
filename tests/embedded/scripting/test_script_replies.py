"""Scripts answer what they answer in a real server, byte for byte, in both protocols."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread
from tests.servers.ports import free_port

SCRIPTS = (Path(__file__).parent / "data" / "scripts.txt").read_text().splitlines()


class Wire:
    """A connection that shows replies as they are on the wire."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.replies = self.socket.makefile("rb")

    def __call__(self, *words: str | bytes) -> Any:
        fields = [word.encode() if isinstance(word, str) else word for word in words]
        self.socket.sendall(b"*%d\r\n" % len(fields) + b"".join(b"$%d\r\n%b\r\n" % (len(f), f) for f in fields))
        return read(self.replies)

    def close(self) -> None:
        self.replies.close()
        self.socket.close()


def read(replies: BinaryIO) -> Any:
    line = replies.readline()
    mark, head = line[:1], line[1:-2]
    if head == b"-1" or mark not in (b"$", b"=", b"*", b"~", b"%"):
        return line
    if mark in (b"$", b"="):
        return mark, replies.read(int(head) + 2)
    return mark, [read(replies) for _ in range(int(head) * (2 if mark == b"%" else 1))]


@pytest.fixture(scope="module")
def real_port() -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server is installed")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if b"Ready to accept connections" in line:
                break
        yield port
    finally:
        server.terminate()
        server.communicate()


@pytest.fixture(scope="module")
def own_port() -> Iterator[int]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield int(urlsplit(endpoint.url).port or 0)


@pytest.fixture(params=["2", "3"])
def both(request: pytest.FixtureRequest, real_port: int, own_port: int) -> Iterator[tuple[Wire, Wire]]:
    wires = Wire(real_port), Wire(own_port)
    for wire in wires:
        wire("HELLO", request.param)
        wire("FLUSHALL")
    yield wires
    for wire in wires:
        wire.close()


def test_scripts_answer_as_in_a_real_server(both: tuple[Wire, Wire]) -> None:
    real, own = both
    differing = []
    for script in SCRIPTS:
        wanted, got = real("EVAL", script, "0"), own("EVAL", script, "0")
        if wanted != got:
            differing.append((script, wanted, got))
    assert differing == []


def random_value(source: random.Random, depth: int = 0) -> str:
    """An expression of Lua, of any type."""
    kind = source.randrange(12 if depth < 3 else 7)
    if kind < 2:
        return repr(source.choice([0, 1, -1, 1.5, -2.5, 1e15, 2**53, 3.999, -0.1]))
    if kind < 4:
        return source.choice(["'a'", "''", "'two words'", "'\\0\\255'", "tostring(12)", "('x'):rep(5)"])
    if kind < 7:
        return source.choice(["true", "false", "nil", "#'abc'", "math.floor(2.7)", "type({})", "1 == 2"])
    inner = [random_value(source, depth + 1) for _ in range(source.randrange(4))]
    if kind < 10:
        return "{" + ", ".join(inner) + "}"
    if kind == 10:
        return source.choice([
            "{ok = 'fine'}", "{err = 'ERR bad'}", "{double = 1.25}", "{map = {k = 'v'}}", "{set = {m = true}}",
            "redis.error_reply('X y')", "redis.status_reply('S')", "redis.pcall('nosuch')", "redis.pcall('PING')",
        ])  # fmt: skip
    return f"(pcall(function() return {random_value(source, depth + 1)} end))"


@pytest.mark.parametrize("seed", range(4))
def test_random_values_come_out_as_in_a_real_server(both: tuple[Wire, Wire], seed: int) -> None:
    real, own = both
    source = random.Random(seed)
    for _ in range(100):
        value = random_value(source)
        script = source.choice([
            f"return {value}", f"redis.setresp(3) return {value}", f"local a, b = 1, {value} return b",
            f"return cjson.encode({{{value}}})", f"return {{cmsgpack.unpack(cmsgpack.pack({value}, 1))}}",
            f"return redis.sha1hex(tostring(#tostring({value}) > 0))",
        ])  # fmt: skip
        if "cjson" in script and "pcall('" in script:
            continue  # the order of an error table's fields is nobody's promise
        assert own("EVAL", script, "0") == real("EVAL", script, "0"), script


def test_a_script_of_many_lines_says_where_it_failed(both: tuple[Wire, Wire]) -> None:
    script = "local a = 1\n\nlocal function inner()\n  redis.call('nosuch')\nend\n\ninner()"
    real, own = both
    assert own("EVAL", script, "0") == real("EVAL", script, "0")


def test_a_global_of_one_script_is_not_anothers() -> None:
    with EmbeddedServer() as server:
        for script in ("counter = 1", "local function f() counter = 1 end f()", "rawset(_G, 'counter', 1)", "KEYS = 1"):
            with pytest.raises(redis.ResponseError, match="Attempt to modify a readonly table"):
                server.client().eval(script, 0)
            assert server.client().eval("return 1", 0) == 1
            assert server.client().eval("return #KEYS", 1, "k") == 1
        with pytest.raises(redis.ResponseError, match="nonexistent global variable 'counter'"):
            server.client().eval("return counter", 0)


def test_settings_of_one_script_are_not_anothers() -> None:
    with EmbeddedServer() as server:
        client = server.client()
        client.eval("cjson.encode_max_depth(1) cjson.encode_number_precision(2) return 1", 0)
        assert client.eval("return cjson.encode({{{1.2345}}})", 0) == b"[[[1.2345]]]"


def test_locks_of_redis_py_work_again_and_again() -> None:
    with EmbeddedServer() as server:
        client = server.client()
        for _ in range(3):
            with pytest.raises(redis.ResponseError):
                client.eval("mistake = 1", 0)
            with client.lock("the-lock", timeout=10) as lock:
                assert lock.owned()
                lock.extend(5)
            assert not client.exists("the-lock")


def test_functions_work_and_keep_their_own_state() -> None:
    library = """#!lua name=lib
    local calls = 0
    redis.register_function('count', function(keys, args) calls = calls + 1 return {calls, keys[1], args[1]} end)
    redis.register_function{function_name = 'look', callback = function(keys) return redis.call('GET', keys[1]) end,
      flags = {'no-writes'}}
    """
    with EmbeddedServer() as server:
        client = server.client()
        assert client.function_load(library) == b"lib"
        assert client.fcall("count", 1, "k", "a") == [1, b"k", b"a"]
        assert client.fcall("count", 1, "k", "a") == [2, b"k", b"a"]
        client.set("k", "v")
        assert client.fcall_ro("look", 1, "k") == b"v"
        with pytest.raises(redis.ResponseError, match="write flag"):
            client.fcall_ro("count", 0)
        with pytest.raises(redis.ResponseError, match="already exists"):
            client.function_load(library)
        client.function_delete("lib")
        with pytest.raises(redis.ResponseError, match="Function not found"):
            client.fcall("count", 0)


@pytest.mark.parametrize(
    "call",
    [
        "'BLPOP', 'none', 0",
        "'BRPOP', 'none', 0",
        "'BRPOPLPUSH', 'none', 'other', 0",
        "'BLMOVE', 'none', 'other', 'LEFT', 'LEFT', 0",
        "'BZPOPMIN', 'none', 0",
        "'BZMPOP', 0, 1, 'none', 'MIN'",
        "'XREAD', 'BLOCK', 0, 'STREAMS', 'none', '$'",
        "'XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', 0, 'STREAMS', 'stream', '>'",
    ],
)
def test_commands_that_wait_do_not_wait_in_scripts(call: str) -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.xgroup_create("stream", "g", mkstream=True)
        assert client.eval(f"return redis.call({call})", 0) is None
        assert client.eval("redis.call('RPUSH', 'q', 'a') return redis.call('BLPOP', 'q', 0)", 0) == [b"q", b"a"]


def test_a_database_that_a_script_selects_is_its_own() -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.eval("redis.call('SELECT', 7) redis.call('SET', 'k', 'of 7')", 0)
        assert client.get("k") is None
        client.execute_command("SELECT", 7)
        assert client.get("k") == b"of 7"
