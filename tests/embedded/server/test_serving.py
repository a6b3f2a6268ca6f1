"""The engine over TCP: clients of every kind, many of them, large values, broken input, passwords, stopping."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.embedded import EmbeddedServer, Endpoint, UnsafeBindError, serve, serving, serving_in_thread

LAUNCH = """
import sys
from relay_models.embedded import serve
serve(sys.argv[1] or None, port=0, password=sys.argv[2] or None, ready=lambda endpoint: print(endpoint.url, flush=True))
"""


class Served:
    """An engine served by a process of its own."""

    def __init__(self, path: str = "", password: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", LAUNCH, path, password],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Send a signal and give what the process complained of."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return errors.decode()

    def memory(self) -> int:
        """Resident MB."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    running = Served(str(tmp_path / "state.db"))
    yield running
    assert running.stop() == ""
    assert running.process.returncode == 0


@pytest.fixture
def endpoint(server: EmbeddedServer) -> Iterator[Endpoint]:
    with serving_in_thread(server) as endpoint:
        yield endpoint


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send bytes, close that side, and give everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server may have hung up on broken input already
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def test_redis_py_over_tcp(endpoint: Endpoint, protocol: int) -> None:
    client = redis.Redis(port=endpoint.port, protocol=protocol, decode_responses=True)
    assert client.set("a", "1")
    assert client.incr("a") == 2
    assert client.sadd("s", "x", "y") == 2
    assert client.smembers("s") == {"x", "y"}
    assert client.zadd("z", {"m": 1.5}) == 1
    assert client.zscore("z", "m") == 1.5
    assert client.hset("h", mapping={"f": "v"}) == 1
    assert client.hgetall("h") == {"f": "v"}
    assert client.json().set("j", "$", {"a": 1})
    assert client.json().numincrby("j", "$.a", 1.5) == [2.5]
    assert {module["name"] if isinstance(module, dict) else module[1] for module in client.module_list()} == {
        "search", "ReJSON",
    }  # fmt: skip
    with pytest.raises(redis.ResponseError, match="wrong kind of value"):
        client.lpush("a", "x")
    with client.pipeline() as pipe:
        assert pipe.set("b", 1).get("b").lrange("none", 0, -1).execute() == [True, "1", []]
    assert client.eval("return {1, 'two', redis.call('GET', 'a')}", 0) == [1, "two", "2"]
    client.close()


async def test_async_redis_py_over_tcp(endpoint: Endpoint, protocol: int) -> None:
    client = redis.asyncio.Redis(port=endpoint.port, protocol=protocol)
    other = redis.asyncio.Redis(port=endpoint.port, protocol=protocol)
    waiting = asyncio.create_task(client.blpop("queue", 10))
    pushed = asyncio.create_task(other.rpush("queue", "x"))
    assert list(await waiting) == [b"queue", b"x"]
    assert await pushed == 1
    assert await client.blpop("queue", 0.01) is None
    subscriber = client.pubsub()
    await subscriber.subscribe("news")
    assert (await subscriber.get_message(timeout=10))["type"] == "subscribe"
    assert await other.publish("news", "hello") == 1
    assert (await subscriber.get_message(timeout=10))["data"] == b"hello"
    await subscriber.aclose()
    await client.aclose()
    await other.aclose()


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs redis-cli")
def test_redis_cli(endpoint: Endpoint) -> None:
    def cli(*words: str, stdin: str = "") -> str:
        command = ["redis-cli", "-p", str(endpoint.port), *words]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, check=True).stdout.strip()

    assert cli("PING") == "PONG"
    assert cli("SET", "key", "a value") == "OK"
    assert cli("GET", "key") == "a value"
    assert cli("-3", "HSET", "h", "f", "v") == "1"
    assert cli("--json", "-3", "HGETALL", "h") == '{"f":"v"}'
    assert "redis_version:8.0.2" in cli("INFO", "server")
    assert cli(stdin="MULTI\nINCR n\nEXEC\n").splitlines() == ["OK", "QUEUED", "1"]


def test_inline_commands(endpoint: Endpoint) -> None:
    answer = exchange(endpoint.port, b'PING\r\nSET "a b" \'c\\\'d\'\r\nGET "a b"\r\n\r\nSET x "\\x41\\n"\nGET x\r\n')
    assert answer == b"+PONG\r\n+OK\r\n$3\r\nc'd\r\n+OK\r\n$2\r\nA\n\r\n"
    assert b"unbalanced quotes" in exchange(endpoint.port, b'GET "a\r\n')


BROKEN = [
    b"*1\r\n:5\r\n",
    b"*1\r\n$-5\r\n",
    b"*1\r\n$abc\r\n",
    b"*9999999999\r\n",
    b"*abc\r\n",
    b"*1\r\n$999999999999\r\n",
    b"*" + b"1" * 100_000,
    b"$" * 70_000,
    b"x" * 200_000,
    b"*1\r\n" + b"$" * 100,
    b"\xff\xfe\r\n" * 3,
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n",
    b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_broken_input_harms_no_other_client(endpoint: Endpoint, broken: bytes) -> None:
    client = redis.Redis(port=endpoint.port)
    client.set("a", "1")
    answer = exchange(endpoint.port, b"*1\r\n$4\r\nPING\r\n", broken)
    assert answer.startswith(b"+PONG\r\n")
    assert client.get("a") == b"1"
    client.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200) | st.sampled_from([b"*", b"$", b"\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"])))
def test_any_bytes_are_survived(shared: Endpoint, pieces: list[bytes]) -> None:
    exchange(shared.port, *pieces)
    assert exchange(shared.port, b"PING\r\n") == b"+PONG\r\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Endpoint]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint


def test_unfinished_requests_hold_little_memory(served: Served) -> None:
    before = served.memory()
    held = []
    for _ in range(40):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.sendall(b"*1000000\r\n$536870000\r\n" + b"x" * 100_000)
        held.append(connection)
    assert exchange(served.port, b"PING\r\n") == b"+PONG\r\n"
    assert served.memory() - before < 60
    for connection in held:
        connection.close()


def test_unread_replies_hold_little_memory(served: Served) -> None:
    client = redis.Redis(port=served.port)
    client.set("big", b"x" * 5_000_000)
    before = served.memory()
    connection = socket.create_connection(("127.0.0.1", served.port))
    connection.setblocking(False)
    try:
        for _ in range(2000):
            connection.send(b"GET big\r\n" * 50)
    except BlockingIOError:
        pass
    for _ in range(20):
        assert client.ping()
    assert served.memory() - before < 150
    connection.close()
    client.close()


def test_pipelines_of_ten_thousand(served: Served) -> None:
    client = redis.Redis(port=served.port)
    pipe = client.pipeline(transaction=False)
    for n in range(10_000):
        pipe.set(f"key:{n}", n)
    assert all(pipe.execute())
    for n in range(10_000):
        pipe.get(f"key:{n}")
    assert pipe.execute() == [b"%d" % n for n in range(10_000)]
    transaction = client.pipeline()
    for _ in range(10_000):
        transaction.incr("counter")
    assert transaction.execute()[-1] == 10_000
    client.close()


def test_a_long_pipeline_leaves_others_their_turns(served: Served) -> None:
    pings = 0
    busy, other = redis.Redis(port=served.port), redis.Redis(port=served.port)
    pipe = busy.pipeline(transaction=False)
    for n in range(20_000):
        pipe.set(f"key:{n}", "x" * 100)
    sending = threading.Thread(target=pipe.execute)
    sending.start()
    while sending.is_alive():
        other.ping()
        pings += 1
    sending.join()
    assert pings > 5
    assert other.dbsize() == 20_000
    busy.close()
    other.close()


def test_a_blocked_client_that_goes_is_forgotten(served: Served) -> None:
    """The fixture sees that the server has nothing to complain of."""
    for end in (lambda waiting: waiting.shutdown(socket.SHUT_WR), lambda waiting: None):
        waiting = socket.create_connection(("127.0.0.1", served.port))
        waiting.sendall(b"PING\r\nBLPOP nothing 0\r\n")
        assert waiting.recv(100) == b"+PONG\r\n"  # sent when there is nothing more to run: it waits now
        client = redis.Redis(port=served.port)
        end(waiting)
        waiting.close()
        while len(client.client_list()) > 1:
            pass
        client.close()


def test_a_half_closed_connection_gets_its_replies(served: Served) -> None:
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
    assert exchange(served.port, request * 10_000) == b"+OK\r\n" * 10_000


def test_a_subscriber_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    served = Served()
    lazy = socket.create_connection(("127.0.0.1", served.port))
    lazy.sendall(b"SUBSCRIBE news\r\n")
    client = redis.Redis(port=served.port)
    while not client.pubsub_numsub("news")[0][1]:
        pass
    before = served.memory()
    for _ in range(100):
        client.publish("news", b"x" * 1_000_000)
    assert client.pubsub_numsub("news")[0][1] == 0
    assert served.memory() - before < 150
    client.close()
    lazy.close()
    assert "does not read" in served.stop()


def test_values_of_64_mib(served: Served) -> None:
    client = redis.Redis(port=served.port)
    value = os.urandom(1024) * 65536
    assert client.set("big", value)
    assert client.get("big") == value
    document = '{"a":"' + "y" * (64 * 2**20) + '"}'
    assert client.execute_command("JSON.SET", "doc", "$", document)
    assert len(client.execute_command("JSON.GET", "doc")) == len(document)
    client.close()


def test_sixty_four_clients_at_once(served: Served) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = redis.Redis(port=served.port, protocol=2 + number % 2)
            for n in range(30):
                client.incr("counter")
                client.set(f"mine:{number}", n)
                assert client.get(f"mine:{number}") == b"%d" % n
            client.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    client = redis.Redis(port=served.port)
    assert client.get("counter") == b"1920"
    client.close()


def test_what_was_acknowledged_is_there_after_sigterm_and_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    count = 0
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        served = Served(str(path))
        client = redis.Redis(port=served.port)
        assert client.dbsize() == count
        for _ in range(200):
            count += 1
            client.set(f"key:{count}", count)
        assert served.stop(number) == ""
        client.close()
    with EmbeddedServer(path) as server:
        assert server.client().dbsize() == count


def test_shutdown_stops_the_server(tmp_path: Path) -> None:
    served = Served(str(tmp_path / "state.db"))
    exchange(served.port, b"SET a 1\r\nSHUTDOWN\r\n")
    _, errors = served.process.communicate(timeout=20)
    assert (errors, served.process.returncode) == (b"", 0)
    with EmbeddedServer(tmp_path / "state.db") as server:
        assert server.client().get("a") == b"1"
        with pytest.raises(redis.ResponseError, match="belongs to its process"):
            server.client().execute_command("SHUTDOWN")


def test_a_password_is_asked_for(server: EmbeddedServer, protocol: int) -> None:
    with serving_in_thread(server, password="s3cret") as endpoint:
        for wrong in (None, "nope"):
            client = redis.Redis(port=endpoint.port, password=wrong, protocol=protocol)
            with pytest.raises(redis.AuthenticationError) as caught:
                client.get("a")
            assert "s3cret" not in str(caught.value)
            client.close()
        client = redis.Redis(port=endpoint.port, password="s3cret", protocol=protocol)
        assert client.set("a", "1")
        named = redis.Redis(port=endpoint.port, username="default", password="s3cret", protocol=protocol)
        assert named.get("a") == b"1"
        client.close()
        named.close()
        assert exchange(endpoint.port, b"GET a\r\n") == b"-NOAUTH Authentication required.\r\n"
        assert b"unauthenticated" in exchange(endpoint.port, b"*11\r\n")
        assert b"unauthenticated" in exchange(endpoint.port, b"*1\r\n$20000\r\n")
        assert exchange(endpoint.port, b"AUTH s3cret\r\nGET a\r\n") == b"+OK\r\n$1\r\n1\r\n"
    assert server.client().get("a") == b"1"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
def test_other_machines_need_a_password(host: str) -> None:
    with pytest.raises(UnsafeBindError, match="password"):
        serve(host=host, port=0)


async def test_serving_in_a_running_loop(server: EmbeddedServer) -> None:
    async with serving(server) as endpoint:
        client = redis.asyncio.Redis.from_url(endpoint.url)
        assert await client.set("a", "1")
        await client.aclose()
        inside = server.async_client()
        assert await inside.get("a") == b"1"
        await inside.aclose()
    assert server.client().get("a") == b"1"


def test_killed_clients_are_disconnected(endpoint: Endpoint) -> None:
    victim, other = redis.Redis(port=endpoint.port), redis.Redis(port=endpoint.port)
    number = victim.client_id()
    assert other.client_kill_filter(_id=number) == 1
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as connection:
        connection.sendall(b"CLIENT ID\r\n")
        own = connection.recv(100)[1:-2]
        assert other.client_kill_filter(_id=own) == 1
        assert connection.recv(100) == b""
    victim.close()
    other.close()


def test_subscribers_over_resp3_get_pushes(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as connection:
        connection.sendall(b"HELLO 3\r\nSUBSCRIBE news\r\n")
        received = b""
        while not received.endswith(b">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"):
            received += connection.recv(4096)
        client = redis.Redis(port=endpoint.port)
        client.publish("news", "hello")
        client.close()
        message = b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"
        received = b""
        while len(received) < len(message):
            received += connection.recv(4096)
        assert received == message


WORKLOAD = """
import asyncio, os, sys
import nemo_relay
from nemo_relay import LLMRequest, ScopeType, ToolExecutionResult, llm, plugin, scope, tools
from nemo_relay.adaptive import (
    AcgConfig, AdaptiveConfig, AdaptiveHintsConfig, BackendSpec, ComponentSpec, StateConfig, TelemetryConfig,
    ToolParallelismConfig,
)

async def run(n):
    codec = nemo_relay.codecs.OpenAIChatCodec()
    async def provider(_request):
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1764000000, "model": "gpt-4.1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    async def tool(args):
        return ToolExecutionResult({"echo": args})
    request = LLMRequest({}, {"model": "gpt-4.1", "messages": [
        {"role": "system", "content": "You are careful."}, {"role": "user", "content": f"question {n}"}]})
    with scope.scope("run", ScopeType.Agent):
        await llm.execute("openai", request, provider, codec=codec, response_codec=codec)
        await asyncio.gather(*(tools.execute(name, {"q": n}, tool) for name in ("search", "fetch")))

async def main():
    activation = await plugin.initialize(plugin.PluginConfig(components=[ComponentSpec(AdaptiveConfig(
        agent_id="agent é",
        state=StateConfig(backend=BackendSpec.redis(sys.argv[1], "relay:")),
        telemetry=TelemetryConfig(learners=["latency_sensitivity", "tool_parallelism", "acg"]),
        adaptive_hints=AdaptiveHintsConfig(),
        tool_parallelism=ToolParallelismConfig(),
        acg=AcgConfig(provider="openai", observation_window=8),
    ))]))
    for n in range(8):
        await run(n)
    await asyncio.sleep(1)  # the runtime writes completed runs in the background
    await activation.close()
    os._exit(0)  # the runtime's own threads may crash an interpreter that takes itself down

asyncio.run(main())
"""


def test_the_real_runtime_writes_all_its_state(served: Served) -> None:
    pytest.importorskip("nemo_relay")
    for _ in range(2):  # the second time it finds and reads what it left
        subprocess.run([sys.executable, "-c", WORKLOAD, served.url], check=True, capture_output=True, timeout=60)
    client = redis.Redis(port=served.port, decode_responses=True)
    keys = set(client.scan_iter(match="relay:*", count=1000))
    kinds: dict[str, Any] = {}
    for key in keys:
        kinds.setdefault(key.split(":")[1], []).append(key)
    assert set(kinds) == {
        "runs", "runs_index", "plan", "trie", "accumulators", "acg_observations", "acg_stability",
    }  # fmt: skip
    assert len(kinds["runs"]) == 16
    assert len(client.lrange("relay:runs_index:agent é", 0, -1)) == 16
    client.close()
