"""Commands that wait: served in order, forgotten once their client is gone, whichever way it goes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

from relay_models.embedded import EmbeddedServer, serving_in_thread


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, without an event loop."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


async def cancelled(server: EmbeddedServer, waiting: Awaitable[Any]) -> None:
    """Start a command that waits, and cancel it once it does."""
    task = asyncio.ensure_future(waiting)
    await until(lambda: server._state.blocked)
    while not task.done():  # redis-py may be about to return from a `wait_for`, which in Python 3.11 swallows it
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("delay", [0, 1, 2, 3, 5, 8])
def test_a_cancelled_connection_is_gone(delay: int) -> None:
    async def main() -> None:
        with EmbeddedServer() as server:
            client = server.async_client()
            for _ in range(5):
                task = asyncio.create_task(client.blpop(["jobs"], timeout=0))
                for _ in range(delay):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await client.rpush("jobs", "precious")
            assert await client.llen("jobs") == 1
            assert len(await client.client_list()) == 1

    asyncio.run(main())


def test_a_cancelled_command_takes_nothing() -> None:
    async def main() -> None:
        with EmbeddedServer() as server:
            client = server.async_client(decode_responses=True)
            await cancelled(server, client.blpop(["jobs"], timeout=0))
            await client.rpush("jobs", "precious")
            assert await client.lpop("jobs") == "precious"
            await client.xgroup_create("stream", "group", mkstream=True)
            await cancelled(server, client.xreadgroup("group", "gone", {"stream": ">"}, block=0))
            await client.xadd("stream", {"a": "1"})
            assert (await client.xpending("stream", "group"))["pending"] == 0
            assert await client.xreadgroup("group", "next", {"stream": ">"}, block=0)
            await cancelled(server, client.bzpopmin(["scores"], timeout=0))
            await client.zadd("scores", {"a": 1})
            assert await client.zcard("scores") == 1

    asyncio.run(main())


@pytest.mark.parametrize("way", ["close", "drop", "cancel"])
def test_a_subscriber_that_goes(way: str) -> None:
    async def main() -> None:
        with EmbeddedServer() as server:
            client = server.async_client()
            pubsub: Any = client.pubsub()
            await pubsub.subscribe("news")
            await pubsub.psubscribe("n*")
            assert server.client().publish("news", "a") == 2
            if way == "close":
                await pubsub.aclose()
            elif way == "cancel":
                task = asyncio.create_task(pubsub.connection.read_response())
                with contextlib.suppress(asyncio.CancelledError):
                    for _ in range(4):  # the confirmations and the messages
                        await asyncio.sleep(0)
                    task.cancel()
                    await task
                await pubsub.aclose()
            if way == "drop":
                del client, pubsub
            gc.collect()
            assert server.client().publish("news", "b") == 0

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_clients_of_an_ended_loop() -> None:
    with EmbeddedServer() as server:
        kept = []

        async def subscribe() -> None:
            client = server.async_client()
            pubsub = client.pubsub()
            await pubsub.subscribe("news")
            kept.append((client, pubsub))
            waiting = asyncio.ensure_future(client.blpop(["jobs"], timeout=0))
            await until(lambda: server._state.blocked)
            kept.append(waiting)  # type: ignore[arg-type]

        loop = asyncio.new_event_loop()
        loop.run_until_complete(subscribe())
        loop.close()
        client = server.client()
        client.rpush("jobs", "precious")
        assert client.llen("jobs") == 1
        assert client.publish("news", "a") == 0
        assert len(client.client_list()) == 1
        kept[1]._log_destroy_pending = False  # type: ignore[attr-defined]
        kept.clear()
        gc.collect()  # redis-py cannot end its coroutine in a closed loop


class Waiter:
    """A synchronous client that waits in a thread of its own."""

    def __init__(self, client: Any, key: str, timeout: float = 0) -> None:
        self.reply: Any = "none yet"
        self._thread = threading.Thread(target=self._wait, args=(client, key, timeout))
        self._thread.start()

    def _wait(self, client: Any, key: str, timeout: float) -> None:
        try:
            self.reply = client.blpop([key], timeout=timeout)
        except redis.RedisError as error:
            self.reply = error

    def result(self) -> Any:
        self._thread.join(30)
        return self.reply


@pytest.mark.parametrize("over_tcp", [False, True])
def test_clients_are_served_in_order(over_tcp: bool) -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        waiters = []
        for number in range(4):
            client = redis.Redis.from_url(endpoint.url, socket_timeout=None) if over_tcp else server.client()
            waiters.append(Waiter(client, "jobs"))
            while len(server._state.blocked._commands) <= number:
                time.sleep(0.001)
        with server.client().pipeline() as pipe:
            for number in range(4):
                pipe.rpush("jobs", number)
            pipe.execute()
        assert [list(waiter.result()) for waiter in waiters] == [[b"jobs", b"%d" % number] for number in range(4)]


def test_timeouts_and_unblocking() -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        assert Waiter(server.client(), "jobs", 0.01).result() is None
        assert Waiter(redis.Redis.from_url(endpoint.url), "jobs", 0.01).result() is None
        client = redis.Redis.from_url(endpoint.url, socket_timeout=None, single_connection_client=True)
        number = client.client_id()
        waiter = Waiter(client, "jobs")
        while not server._state.blocked:
            time.sleep(0.001)
        server.client().client_unblock(number, error=True)
        assert "UNBLOCKED" in str(waiter.result())


def test_closing_ends_clients_that_wait() -> None:
    server = EmbeddedServer()
    waiter = Waiter(server.client(), "jobs")
    while not server._state.blocked:
        time.sleep(0.001)
    server.close()
    assert "closed" in str(waiter.result())


def test_a_watched_key_that_expires() -> None:
    with EmbeddedServer() as server:
        client = server.client()
        for alive in (True, False):
            client.set("lease", "mine", px=20)
            if not alive:
                time.sleep(0.03)
            with client.pipeline() as pipe:
                pipe.watch("lease")
                pipe.multi()
                pipe.set("result", "written")
                time.sleep(0.03)
                if alive:
                    with pytest.raises(redis.WatchError):
                        pipe.execute()
                else:
                    assert pipe.execute() == [True]


def test_a_field_that_expired_matches_nothing() -> None:
    with EmbeddedServer() as server:
        client = server.client()
        client.execute_command("FT.CREATE", "i", "ON", "HASH", "SCHEMA", "tag", "TAG")
        client.hset("h:1", mapping={"tag": "a", "other": "b"})
        client.hset("h:2", mapping={"tag": "a"})
        for key in ("h:1", "h:2"):
            client.hpexpire(key, 10, "tag")
        time.sleep(0.03)
        reply = client.execute_command("FT.SEARCH", "i", "@tag:{a}", "DIALECT", "2")
        assert reply[b"total_results"] == 0
        assert client.exists("h:2") == 0


def test_resp3_clients_subscribe_and_go_on() -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        server.client().set("k", "v")
        with socket.create_connection(("127.0.0.1", urlsplit(endpoint.url).port), 20) as wire:
            replies = wire.makefile("rb")
            wire.sendall(
                b"HELLO 3\r\nSUBSCRIBE news\r\nGET k\r\nPUBLISH news hello\r\nUNSUBSCRIBE news\r\nECHO end\r\n"
            )
            received = b""
            while not received.endswith(b"\r\nend\r\n"):
                received += replies.readline()
            assert b"$1\r\nv\r\n" in received
            assert b"message\r\n$4\r\nnews\r\n$5\r\nhello\r\n" in received
            assert b"-" not in received.split(b"subscribe")[1]


@pytest.mark.parametrize("change", [["DEL", "jobs"], ["XGROUP", "DESTROY", "jobs", "workers"], ["FLUSHALL"]])
def test_a_reader_of_a_group_that_goes_is_told(change: list[str]) -> None:
    with (
        EmbeddedServer() as server,
        serving_in_thread(server) as endpoint,
        redis.Redis.from_url(endpoint.url) as reader,
        redis.Redis.from_url(endpoint.url) as other,
    ):
        other.xgroup_create("jobs", "workers", mkstream=True)
        errors: list[str] = []
        waiting = threading.Thread(target=lambda: errors.append(error_of(reader)))
        waiting.start()
        wait_for_blocked(other)
        other.execute_command(*change)
        waiting.join(20)
        assert "NOGROUP" in errors[0]


def test_a_client_that_waits_for_a_list_waits_on_where_another_type_comes() -> None:
    with (
        EmbeddedServer() as server,
        serving_in_thread(server) as endpoint,
        redis.Redis.from_url(endpoint.url) as reader,
        redis.Redis.from_url(endpoint.url) as other,
    ):
        popped: list[object] = []
        waiting = threading.Thread(target=lambda: popped.append(reader.blmpop(20, 1, "jobs", direction="LEFT")))
        waiting.start()
        wait_for_blocked(other)
        other.pipeline().rpush("jobs", "gone").delete("jobs").set("jobs", "text").execute()
        assert other.info("clients")["blocked_clients"] == 1
        other.delete("jobs")
        other.rpush("jobs", "right")
        waiting.join(20)
        assert popped == [[b"jobs", [b"right"]]]
        assert other.info("clients")["blocked_clients"] == 0


def error_of(reader: redis.Redis) -> str:
    """The error that a client gets which waits for entries of a consumer group."""
    try:
        return f"no error, but {reader.xreadgroup('workers', 'one', {'jobs': '>'}, block=20_000)}"
    except redis.RedisError as error:
        return str(error)


def wait_for_blocked(client: redis.Redis) -> None:
    """Wait until another client waits in a blocking command."""
    end = time.monotonic() + 20
    while not client.info("clients")["blocked_clients"]:
        assert time.monotonic() < end, "no client waits"


@pytest.mark.parametrize("ending", ["close", "half"])
def test_a_client_that_goes_with_commands_behind_one_that_waits(ending: str) -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        client = server.client()
        with socket.create_connection((endpoint.host, endpoint.port)) as raw:
            raw.sendall(b"BLPOP jobs 0\r\nSET k v\r\nGET k\r\n")
            wait_until(lambda: len(server._state.blocked) == 1)
            raw.sendall(b"GET k\r\n")
            if ending == "half":
                raw.shutdown(socket.SHUT_WR)
                assert raw.recv(100) == b""
        wait_until(lambda: len(server._state.blocked) == 0)
        client.rpush("jobs", "precious")
        assert client.llen("jobs") == 1
        assert client.get("k") is None


def test_commands_behind_one_that_waits_are_run_in_order() -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=20) as raw:
            raw.sendall(b"BLPOP jobs 0\r\n" + b"SET k v\r\n" * 10)
            wait_until(lambda: len(server._state.blocked) == 1)
            sender = threading.Thread(target=raw.sendall, args=(b"APPEND k x\r\n" * 100_000 + b"QUIT\r\n",))
            sender.start()
            server.client().rpush("jobs", "done")
            reply = b""
            while data := raw.recv(1 << 20):
                reply += data
            sender.join()
        assert reply.startswith(b"*2\r\n$4\r\njobs\r\n$4\r\ndone\r\n+OK\r\n")
        assert server.client().strlen("k") == 100_001
