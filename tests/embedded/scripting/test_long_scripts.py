"""A script that does not end: other clients are told, it can be killed, and serve can be stopped."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread
from tests.embedded.server.test_serving import Served

ENDLESS = {
    "a loop": "while true do end",
    "a loop that catches every error": "while true do pcall(function() while true do end end) end",
    "pcalls in pcalls": "local function f() while true do pcall(f) end end f()",
    "a handler that loops": "local f = function() while true do end end while true do xpcall(f, f) end",
    "a coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutines that are caught": (
        "local f = function() while true do end end while 1 do coroutine.resume(coroutine.create(f)) end"
    ),
    "calls": "while true do redis.pcall('GET', 'k') end",
    "failing calls": "while true do pcall(redis.call, 'nosuch') end",
    "a metamethod": "local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x",
    "a comparison": "table.sort({1, 2, 3}, function() while true do end end)",
    "a replacement": "string.gsub('abc', '.', function() while true do end end)",
    "a reader": "load(function() return ' ' end)",
    "loading": "while true do loadstring('return 1')() end",
    "an iterator": "for _ in function() return 1 end do end",
    "recursion in place": "local function f() return f() end f()",
}


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as opened:
        opened.client().config_set("busy-reply-threshold", 30)
        yield opened


class Running:
    """A script that runs in a thread of its own."""

    def __init__(self, client: Any, script: str, *command: str) -> None:
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._run, args=(client, command or ("EVAL", script, "0")))
        self._thread.start()

    def _run(self, client: Any, command: tuple[str, ...]) -> None:
        try:
            self.outcome = client.execute_command(*command)
        except redis.RedisError as error:
            self.outcome = error

    def wait(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome


def until_busy(client: Any) -> None:
    """Come back when the server says that it is busy."""
    for _ in range(2000):
        try:
            client.get("k")
        except redis.ResponseError as error:
            if str(error).startswith("BUSY") or type(error).__name__ == "BusyLoadingError":
                return
            raise
        time.sleep(0.001)
    raise AssertionError("the server never was busy")


def until_ended(client: Any, running: Running) -> None:
    """Kill a script unless it ends before."""
    while running.outcome is None:
        with contextlib.suppress(redis.ResponseError):
            client.script_kill()
        time.sleep(0.001)


@pytest.mark.parametrize("name", ENDLESS)
def test_any_script_can_be_killed(server: EmbeddedServer, name: str) -> None:
    running = Running(server.client(), ENDLESS[name])
    other = server.client()
    until_busy(other)
    assert other.script_kill() in (True, b"OK", "OK")
    assert "killed by user" in str(running.wait())
    assert other.eval("return redis.call('SET', 'k', 1)", 0) in (b"OK", "OK")
    with pytest.raises(redis.ResponseError, match="No scripts in execution"):
        other.script_kill()


def test_a_function_that_runs_is_described_and_can_be_killed(server: EmbeddedServer) -> None:
    client = server.client()
    code = "#!lua name=library\nredis.register_function('endless', function() while true do end end)"
    client.function_load(code)
    with serving_in_thread(server) as endpoint:
        other = redis.Redis.from_url(endpoint.url, protocol=3)
        assert other.execute_command("FUNCTION STATS")[b"running_script"] is None
        running = Running(redis.Redis.from_url(endpoint.url), "", "FCALL", "ENDLESS", "0")
        until_busy(other)
        described = other.execute_command("FUNCTION STATS")[b"running_script"]
        assert (described[b"name"], described[b"command"]) == (b"ENDLESS", [b"FCALL", b"ENDLESS", b"0"])
        other.function_kill()
        assert "killed by user" in str(running.wait())
        assert other.ping()


def test_over_tcp_others_are_told_and_new_ones_can_kill(server: EmbeddedServer) -> None:
    with serving_in_thread(server) as endpoint:
        running = Running(redis.Redis.from_url(endpoint.url), ENDLESS["a loop that catches every error"])
        early = redis.Redis.from_url(endpoint.url, socket_timeout=10)
        until_busy(early)
        late = redis.Redis.from_url(endpoint.url, socket_timeout=10)
        assert late.script_kill() in (True, b"OK", "OK")
        assert "killed by user" in str(running.wait())
        assert early.ping()


def test_no_half_of_a_transaction_runs_after_a_script(server: EmbeddedServer) -> None:
    with serving_in_thread(server) as endpoint, contextlib.ExitStack() as stack:
        running = Running(redis.Redis.from_url(endpoint.url), ENDLESS["a loop that catches every error"])
        before, during, killer = (
            stack.enter_context(redis.Redis.from_url(endpoint.url, single_connection_client=True, socket_timeout=10))
            for _ in range(3)
        )
        until_busy(killer)
        during.execute_command("MULTI")
        for client in (before, during):
            with pytest.raises(redis.RedisError, match="BUSY"):
                client.execute_command("INCR", "k")
        before.execute_command("MULTI")
        with pytest.raises(redis.RedisError, match=r"EXECABORT.*BUSY|discarded because of.*BUSY"):
            before.execute_command("EXEC")
        killer.script_kill()
        assert "killed by user" in str(running.wait())
        during.execute_command("INCR", "k")
        with pytest.raises(redis.RedisError, match="discarded because of previous errors"):
            during.execute_command("EXEC")
        assert before.execute_command("GET", "k") is None


def test_a_script_that_has_written_is_not_killed(server: EmbeddedServer) -> None:
    script = (
        "redis.call('SET', 'k', 1) while redis.call('GET', 'k') do local t = redis.call('TIME') if t[1] - T > 1 then"
    )
    script = script.replace("T >", "start >") + " return 'done' end end"
    script = "local start = redis.call('TIME')[1] " + script
    with serving_in_thread(server) as endpoint:
        running = Running(redis.Redis.from_url(endpoint.url), script)
        other = redis.Redis.from_url(endpoint.url)
        until_busy(other)
        with pytest.raises(redis.ResponseError, match="already executed write commands"):
            other.script_kill()
        assert running.wait() == b"done"
        assert other.get("k") == b"1"


def test_others_wait_for_a_short_script(server: EmbeddedServer) -> None:
    server.client().config_set("busy-reply-threshold", 60_000)
    script = "local n = 0 for i = 1, 20000000 do n = n + 1 end redis.call('SET', 'k', n)"
    with serving_in_thread(server) as endpoint:
        other = redis.Redis.from_url(endpoint.url)
        other.ping()
        running = Running(redis.Redis.from_url(endpoint.url), script)
        assert other.get("k") in (b"20000000", None)
        running.wait()
        assert other.get("k") == b"20000000"


def test_a_client_that_hangs_up_leaves_no_half_script(server: EmbeddedServer) -> None:
    script = "for i = 1, 200 do redis.call('INCR', 'k') local n = 0 for j = 1, 100000 do n = n + j end end"
    server.client().config_set("busy-reply-threshold", 60_000)
    with serving_in_thread(server) as endpoint:
        client = redis.Redis.from_url(endpoint.url, socket_timeout=0.05)
        with contextlib.suppress(redis.TimeoutError):
            client.eval(script, 0)
        client.close()
        assert redis.Redis.from_url(endpoint.url).get("k") == b"200"


def test_a_transaction_with_a_script(server: EmbeddedServer) -> None:
    with serving_in_thread(server) as endpoint, redis.Redis.from_url(endpoint.url) as client:
        pipeline = client.pipeline(transaction=True)
        pipeline.set("k", 1)
        pipeline.eval("return redis.call('INCR', KEYS[1])", 1, "k")
        pipeline.get("k")
        assert pipeline.execute() == [True, 2, b"2"]


@pytest.mark.parametrize("script", ["while true do end", "redis.call('SET', 'half', 1) while true do end"])
def test_serve_stops_while_a_script_runs(tmp_path: Path, script: str) -> None:
    path = tmp_path / "state.db"
    served = Served(str(path))
    client = redis.Redis.from_url(served.url)
    client.config_set("busy-reply-threshold", 30)
    client.set("kept", "1")
    running = Running(redis.Redis.from_url(served.url, retry=None), script)
    until_busy(client)
    served.stop(signal.SIGTERM)
    assert isinstance(running.wait(), redis.RedisError)
    with EmbeddedServer(path) as again:
        assert again.client().get("kept") == b"1"
        assert again.client().get("half") is None


@pytest.mark.parametrize(
    "script",
    [
        "local t = {} while true do t[#t + 1] = tostring(#t):rep(300) end",
        "local s = 'x' while true do s = s .. s end",
        "return ('x'):rep(2^31)",
        "return ('x'):rep(2^30)",
        "return ('x'):rep(1e6, 5):rep(1e6)",
        "while true do pcall(function() local t = {} while true do t[#t + 1] = {} end end) end",
        "return string.format('%1000s', 'x'):rep(1e9)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} while true do t[#t + 1] = redis.call('GET', 'large') .. #t end",
        "local t = {} t[1] = t return t",
        "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "return #cmsgpack.unpack('\\221\\1\\255\\255\\255' .. ('\\1'):rep(33554431))",
        "return {struct.unpack(('b'):rep(1e7), ('b'):rep(1e7))}",
        "return struct.pack(('s'):rep(7000), unpack(setmetatable({}, {}), 1, 7000))",
        "local s = ('x'):rep(4e7) return redis.call('DEL', s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s)",
        "local t = {} for i = 1, 10 do t[i] = t end return cjson.encode(t)",
    ],
)
def test_a_script_cannot_fill_the_memory(script: str) -> None:
    with EmbeddedServer() as server:
        client = server.client()
        client.set("large", "x" * 1_000_000)
        running = Running(server.client(), script)
        if "while true do pcall" in script:
            until_ended(server.client(), running)
        assert isinstance(running.wait(), redis.ResponseError)
        assert client.eval("return 1", 0) == 1


@pytest.mark.parametrize(
    "script",
    [
        "return table.insert({}, -2147483647, 1)",
        "return table.insert({}, 2^32 - 2^31, 1)",
        "return ('x'):rep(-2147483649)",
        "return struct.size(('b'):rep(2e7))",
        "return struct.pack('!' .. ('9'):rep(20) .. 'i', 1)",
    ],
)
def test_one_call_takes_no_time_that_cannot_be_interrupted(script: str) -> None:
    with EmbeddedServer() as server, contextlib.suppress(redis.ResponseError):
        start = time.process_time()
        server.client().eval(script, 0)
    assert time.process_time() - start < 5


def test_what_is_sent_behind_a_kill_is_served(server: EmbeddedServer) -> None:
    with serving_in_thread(server) as endpoint:
        running = Running(redis.Redis.from_url(endpoint.url), ENDLESS["a loop"])
        other = redis.Redis.from_url(endpoint.url)
        until_busy(other)
        pipeline = other.pipeline(transaction=False)
        pipeline.execute_command("SCRIPT", "KILL").set("k", 1).get("k")
        assert pipeline.execute(raise_on_error=False)[-1] == b"1"
        assert "killed by user" in str(running.wait())


def test_a_script_is_interrupted_in_process() -> None:
    """Ctrl-C ends a script that runs in the main thread."""
    with EmbeddedServer() as server:
        client = server.client()
        timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            client.eval("while true do pcall(function() while true do end end) end", 0)
        timer.join()
        assert client.eval("return 1", 0) == 1


def test_closing_ends_a_script_that_runs() -> None:
    with EmbeddedServer() as server:
        server.client().config_set("busy-reply-threshold", 30)
        running = Running(server.client(), "redis.call('SET', 'k', 1) while true do end")
        until_busy(server.client())
    assert "shutting down" in str(running.wait())


def test_functions_have_a_command_of_their_own(server: EmbeddedServer) -> None:
    code = "#!lua name=lib\nredis.register_function('endless', function() while true do end end)"
    server.client().function_load(code)
    with serving_in_thread(server) as endpoint:
        client = redis.Redis.from_url(endpoint.url)
        running = Running(client, "", "FCALL", "endless", "0")
        other = redis.Redis.from_url(endpoint.url)
        until_busy(other)
        with pytest.raises(redis.ResponseError, match="FUNCTION KILL or SHUTDOWN NOSAVE"):
            other.script_kill()
        with pytest.raises(redis.ResponseError, match="FUNCTION KILL or SHUTDOWN NOSAVE"):
            other.shutdown()
        other.execute_command("FUNCTION", "KILL")
        assert "FUNCTION KILL" in str(running.wait())


def test_shutdown_nosave_ends_a_script(tmp_path: Path) -> None:
    served = Served(str(tmp_path / "state.db"))
    client = redis.Redis.from_url(served.url)
    client.config_set("busy-reply-threshold", 30)
    running = Running(redis.Redis.from_url(served.url, retry=None), "redis.call('SET', 'half', 1) while true do end")
    until_busy(client)
    client.execute_command("SHUTDOWN", "NOSAVE")
    served.process.communicate(timeout=20)
    assert isinstance(running.wait(), redis.RedisError)
    with EmbeddedServer(tmp_path / "state.db") as again:
        assert again.client().get("half") is None
