"""redis-py clients in the same process: sync and async, both protocols, pipelines, threads, event loops."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import fakeredis
import pytest
import redis

from relay_models.embedded import EmbeddedServer


def test_commands_of_every_type(server: EmbeddedServer, protocol: int) -> None:
    client = server.client(protocol=protocol, decode_responses=True)
    assert client.ping()
    assert client.set("text", "é")
    assert client.get("text") == "é"
    assert client.rpush("list", 1, 2) == 2
    assert client.lrange("list", 0, -1) == ["1", "2"]
    assert client.hset("hash", mapping={"a": 1}) == 1
    assert client.hgetall("hash") == {"a": "1"}
    assert client.sadd("set", "x") == 1
    assert client.smembers("set") == {"x"}
    assert client.zadd("zset", {"m": 1.5}) == 1
    assert client.zscore("zset", "m") == 1.5
    assert client.xadd("stream", {"f": "v"}, id="1-1") == "1-1"
    assert client.xlen("stream") == 1
    assert client.json().set("json", "$", {"a": [1, 2.5, None]})
    assert client.json().get("json") == {"a": [1, 2.5, None]}
    assert {client.type(key) for key in client.scan_iter()} == {
        "string", "list", "hash", "set", "zset", "stream", "ReJSON-RL",
    }  # fmt: skip


def test_transactions_and_watches(server: EmbeddedServer, protocol: int) -> None:
    client = server.client(protocol=protocol)
    with client.pipeline() as pipe:
        pipe.set("a", "1").incr("a").execute_command("JSON.SET", "j", "$", '{"n":1}')
        assert pipe.execute() == [True, 2, b"OK"] or pipe.execute() == [True, 2, True]
    with client.pipeline() as pipe:
        pipe.watch("a")
        client.set("a", "other")
        pipe.multi()
        pipe.set("a", "mine")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert client.get("a") == b"other"
    pipe = client.pipeline(transaction=False)
    pipe.lpush("a", "1").get("a")
    assert isinstance(pipe.execute(raise_on_error=False)[0], redis.ResponseError)


def test_lua_sees_and_makes_changes(server: EmbeddedServer) -> None:
    client = server.client()
    script = "redis.call('JSON.SET', KEYS[1], '$', ARGV[1]) return redis.call('JSON.GET', KEYS[1], '$.a')"
    assert client.eval(script, 1, "j", '{"a":7}') == b"[7]"
    assert client.json().get("j") == {"a": 7}


def test_two_servers_share_nothing(server: EmbeddedServer) -> None:
    with EmbeddedServer() as other:
        server.client().set("a", "1")
        assert other.client().get("a") is None
        other.client().flushall()
        assert server.client().get("a") == b"1"


def test_plain_fakeredis_is_left_as_it_was(server: EmbeddedServer) -> None:
    plain = fakeredis.FakeRedis()
    plain.json().set("j", "$", {"a": 1})
    assert plain.json().get("j") == {"a": 1}
    with pytest.raises(redis.ResponseError, match="unknown command"):
        plain.execute_command("FT.SEARCH", "idx", "*")
    with pytest.raises(redis.ResponseError, match="unknown command"):
        plain.execute_command("MODULE", "LIST")
    assert server.client().get("j") is None


def test_clients_recognise_json_and_search(server: EmbeddedServer, protocol: int) -> None:
    client = server.client(protocol=protocol)
    listed = client.module_list()
    names = {module[b"name"] if isinstance(module, dict) else module[1] for module in listed}
    assert names == {b"search", b"ReJSON"}
    infos = client.execute_command("COMMAND INFO", "ft.search", "json.set", "nonsense")
    assert [info and info[0] for info in infos] == [b"FT.SEARCH", b"json.set", None]
    modules = client.info("modules")["modules"]
    assert {module["name"] for module in modules} == {"search", "ReJSON"}
    assert client.info()["redis_version"] == "8.0.2"


def test_databases_are_apart(server: EmbeddedServer) -> None:
    first, second = server.client(db=0), server.client(db=5)
    first.set("a", "0")
    second.set("a", "5")
    assert (first.get("a"), second.get("a")) == (b"0", b"5")
    assert first.swapdb(0, 5)
    assert (first.get("a"), second.get("a")) == (b"5", b"0")
    first.flushdb()
    assert (first.dbsize(), second.dbsize()) == (0, 1)


def test_copies_do_not_share_their_value(server: EmbeddedServer) -> None:
    client = server.client()
    client.rpush("list", 1)
    client.copy("list", "copy")
    client.rpush("copy", 2)
    assert client.lrange("list", 0, -1) == [b"1"]
    client.restore("again", 0, client.dump("copy"))
    assert client.lrange("again", 0, -1) == [b"1", b"2"]
    with pytest.raises(redis.ResponseError, match="checksum"):
        client.restore("bad", 0, b"not a payload")


def test_many_threads(server: EmbeddedServer) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = server.client(db=number % 2)
            for n in range(100):
                client.incr("counter")
                client.rpush(f"list:{number}", n)
                client.json().set(f"json:{number}", "$", {"n": n})
            client.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for number in (0, 1):
        client = server.client(db=number)
        assert client.get("counter") == b"400"
        assert all(client.llen(f"list:{n}") == 100 for n in range(number, 8, 2))


async def test_async_client(server: EmbeddedServer, protocol: int) -> None:
    client = server.async_client(protocol=protocol)
    assert await client.set("a", "1")
    async with client.pipeline() as pipe:
        results: list[Any] = await pipe.incr("a").get("a").execute()
    assert results == [2, b"2"]
    assert await client.json().set("j", "$", {"a": 1})
    assert await client.json().get("j") == {"a": 1}
    await client.aclose()


async def somebody_waits(server: EmbeddedServer) -> None:
    while not any(socket._blocked for socket in server._state.sockets):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)


async def test_blocking_commands_wait_and_are_durable(server: EmbeddedServer, protocol: int) -> None:
    client, other = server.async_client(protocol=protocol), server.async_client(protocol=protocol)
    waiting = asyncio.create_task(client.blpop("queue", 5))
    await somebody_waits(server)
    await other.rpush("queue", "job", "next")
    assert list(await waiting) == [b"queue", b"job"]
    assert not server._state.unsettled
    assert await client.blpop("empty", 0.01) is None
    moving = asyncio.create_task(client.blmove("source", "target", 5))
    await somebody_waits(server)
    await other.rpush("source", "x")
    assert await moving == b"x"
    assert await other.lrange("target", 0, -1) == [b"x"]
    await client.aclose()
    await other.aclose()


async def test_published_messages_arrive(server: EmbeddedServer, protocol: int) -> None:
    client = server.async_client(protocol=protocol)
    subscriber = client.pubsub()
    await subscriber.subscribe("news")
    await subscriber.psubscribe("n*")
    await client.publish("news", "hello")
    received = [await subscriber.get_message(timeout=5) for _ in range(4)]
    assert [message["type"] for message in received] == ["subscribe", "psubscribe", "message", "pmessage"]
    await subscriber.aclose()
    await client.aclose()


def test_several_event_loops(server: EmbeddedServer) -> None:
    async def work(number: int) -> int:
        client = server.async_client()
        for _ in range(50):
            await client.incr("counter")
        count = int(await client.get("counter"))
        await client.aclose()
        return count

    threads = [threading.Thread(target=asyncio.run, args=(work(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.client().get("counter") == b"200"


async def test_a_sync_client_reaches_an_async_subscriber(server: EmbeddedServer) -> None:
    client = server.async_client()
    subscriber = client.pubsub()
    await subscriber.subscribe("news")
    assert (await subscriber.get_message(timeout=5))["type"] == "subscribe"
    thread = threading.Thread(target=server.client().publish, args=("news", "hello"))
    thread.start()
    message = await subscriber.get_message(timeout=5)
    thread.join()
    assert message is not None
    assert message["data"] == b"hello"
    await subscriber.aclose()
    await client.aclose()


def test_a_command_that_breaks_costs_one_reply(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client()
    with pytest.raises(redis.ResponseError, match=r"unknown command 'NONSENSE', with args"):
        client.execute_command("NONSENSE", "a")
    client.execute_command("JSON.SET", "j", "$", "{}")
    for wrong in (("LPUSH", "j", "1"), ("XADD", "j", "*", "f", "v"), ("APPEND", "j", "x"), ("SADD", "j", "1")):
        with pytest.raises(redis.ResponseError, match=r"wrong kind of value|internal error"):
            client.execute_command(*wrong)
    assert client.json().get("j") == {}


async def test_as_a_context_manager() -> None:
    async with EmbeddedServer() as server:
        client = server.async_client()
        assert await client.ping()
        await client.aclose()
    assert repr(server) == "EmbeddedServer()"


@pytest.mark.parametrize("single", [False, True])
def test_a_client_of_one_connection(single: bool) -> None:
    async def main() -> None:
        with EmbeddedServer() as server:
            client = server.async_client(single_connection_client=single)
            await client.set("k", "v")
            assert await client.get("k") == b"v"
            await client.aclose()
            with server.client(single_connection_client=single) as sync_client:
                assert sync_client.get("k") == b"v"

    asyncio.run(main())


def test_a_closed_server_says_why() -> None:
    async def main() -> None:
        server = EmbeddedServer()
        client, async_client = server.client(retry=None), server.async_client(retry=None)
        client.ping()
        await async_client.ping()
        server.close()
        with pytest.raises(redis.ConnectionError, match="this embedded server was closed"):
            client.ping()
        with pytest.raises(redis.ConnectionError, match="this embedded server was closed"):
            await async_client.ping()

    asyncio.run(main())
