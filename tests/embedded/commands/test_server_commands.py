"""What clients and tools ask of any Redis server: settings, connections, statistics, what fakeredis lacks."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread


def soon(fact: Callable[[], bool]) -> bool:
    """Whether something comes true within a while."""
    end = time.monotonic() + 20
    while not fact():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def shards(client: Any, channel: str) -> bool:
    return bool(client.pubsub_shardnumsub(channel) == [(channel, 1)])


@pytest.fixture
def client(server: EmbeddedServer) -> Any:
    return server.client(decode_responses=True)


def test_settings_are_known_and_kept(client: Any) -> None:
    assert len(client.config_get("*")) > 100
    assert client.config_get("maxmemory", "hash-max-*-value") == {
        "maxmemory": "0",
        "hash-max-listpack-value": "64",
        "hash-max-ziplist-value": "64",
    }
    assert client.execute_command("CONFIG", "SET", "MaxMemory", "2mb", "appendonly", "YES")
    assert client.config_get("maxmemory") == {"maxmemory": str(2 << 20)}
    assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("timeout null", "possibly related to argument 'timeout'. - argument couldn't be parsed into an integer"),
        ("maxmemory much", "argument must be a memory value"),
        ("appendonly maybe", "argument must be 'yes' or 'no'"),
        ("maxmemory-policy all", "argument.s. must be one of the following: volatile-lru, "),
        ("databases 3", "can't set immutable config"),
        ("aclfile /tmp/x", "can't set immutable config"),
        ("timeout 1 timeout 2", "duplicate parameter"),
        ("hz 20 nonsense 1", "Unknown option or number of arguments for CONFIG SET - 'nonsense'"),
        ("search-max-doctablesize 5", "Not modifiable at runtime"),
        ("search-default-dialect 9", "possibly related to argument 'search-default-dialect'"),
    ],
)
def test_settings_are_checked(client: Any, words: str, message: str) -> None:
    before = client.config_get("*")
    with pytest.raises(redis.ResponseError, match=message):
        client.execute_command("CONFIG", "SET", *words.split())
    assert client.config_get("*") == before


def test_the_settings_of_search_have_two_names(client: Any) -> None:
    client.config_set("search-default-dialect", "3")
    assert client.execute_command("FT.CONFIG", "GET", "DEFAULT_DIALECT") == {"DEFAULT_DIALECT": "3"}
    client.execute_command("FT.CONFIG", "SET", "DEFAULT_DIALECT", "2")
    assert client.config_get("search-default*") == {"search-default-dialect": "2"}


def test_info_by_sections(client: Any) -> None:
    client.execute_command("FT.CREATE", "i", "SCHEMA", "t", "TEXT")
    assert client.info("search")["search_number_of_indexes"] == 1
    assert client.info("everything")["search_number_of_indexes"] == 1
    assert "search_number_of_indexes" in client.info("modules")
    assert "redis_version" not in client.info("search")
    assert "search_number_of_indexes" not in client.info()
    before = client.info()["total_commands_processed"]
    client.ping()
    assert client.info()["total_commands_processed"] == before + 2
    client.config_resetstat()
    assert client.info()["total_commands_processed"] == 1


def test_clients_by_type(server: EmbeddedServer, client: Any) -> None:
    listener = server.client().pubsub()
    listener.subscribe("a", "b")
    listener.psubscribe("c*")
    client.client_setname("me")
    [normal] = client.client_list(_type="normal")
    [subscribed] = client.client_list(_type="pubsub")
    assert [normal["name"], normal["cmd"]] == ["me", "client|list"]
    assert [subscribed["sub"], subscribed["psub"], subscribed["cmd"]] == ["2", "1", "psubscribe"]
    assert client.client_list(_type="master") == []
    assert client.client_list(client_id=[subscribed["id"]]) == [subscribed]
    with pytest.raises(redis.ResponseError, match="Unknown client type 'x'"):
        client.execute_command("CLIENT", "LIST", "TYPE", "x")
    assert server.client().client_getname() is None
    listener.close()


def test_a_client_that_goes_leaves_no_subscription(server: EmbeddedServer, client: Any) -> None:
    with serving_in_thread(server) as endpoint:
        other = redis.Redis.from_url(endpoint.url, socket_timeout=20)
        for number in range(3):
            listener: Any = other.pubsub()
            listener.subscribe(f"plain{number}")
            listener.psubscribe(f"pattern{number}*")
            listener.ssubscribe(f"shard{number}")
            assert soon(functools.partial(shards, client, f"shard{number}"))
            listener.connection.disconnect()
        assert soon(lambda: client.pubsub_numpat() == 0)
        assert client.pubsub_channels() == []
        assert client.pubsub_shardchannels() == []
        assert client.spublish("shard0", "x") == 0
        assert client.publish("pattern0", "x") == 0
        other.close()


def shown(line: dict[str, Any]) -> tuple[int, str, str]:
    """What MONITOR tells of a command, but for when it ran and whose it was."""
    return line["db"], line["client_type"], line["command"]


def test_monitor_shows_commands_in_their_order(server: EmbeddedServer, client: Any) -> None:
    client.ping()
    with server.client(decode_responses=True).monitor() as monitor:
        client.set("k", 'a "quoted"\n\x7f')
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.lpush("k", "x")
        with pytest.raises(redis.ResponseError, match="wrong number"):
            client.execute_command("GET")
        client.config_get("maxmemory")
        client.eval("redis.call('select', 3) return redis.call('GET', KEYS[1])", 1, "k")
        client.pipeline().incr("n").get("n").execute()
        lines = [shown(monitor.next_command()) for _ in range(9)]
    assert lines == [
        (0, "tcp", 'SET k a "quoted"\\n\\x7f'),
        (0, "tcp", "LPUSH k x"),
        (0, "tcp", "EVAL redis.call('select', 3) return redis.call('GET', KEYS[1]) 1 k"),
        (3, "lua", "select 3"),
        (3, "lua", "GET k"),
        (0, "tcp", "MULTI"),
        (0, "tcp", "INCRBY n 1"),
        (0, "tcp", "GET n"),
        (0, "tcp", "EXEC"),
    ]


def test_monitor_over_the_wire(server: EmbeddedServer, client: Any) -> None:
    client.ping()
    with serving_in_thread(server) as endpoint, redis.Redis.from_url(endpoint.url, socket_timeout=20) as other:
        connection: Any = other.connection_pool.get_connection()
        connection.send_command("MONITOR")
        assert connection.read_response() == b"OK"
        assert [each["flags"] for each in client.client_list() if each["cmd"] == "monitor"] == ["O"]
        connection.send_command("GET", "k")
        with pytest.raises(redis.ResponseError, match="Replica can't interact with the keyspace"):
            connection.read_response()
        with pytest.raises(redis.AuthenticationError):
            client.auth("a secret", username="nobody")
        assert connection.read_response().endswith(b'] "AUTH" "(redacted)" "(redacted)"')
        connection.send_command("RESET")
        while (line := connection.read_response()) != b"RESET":
            assert b"secret" not in line
        connection.send_command("GET", "k")
        assert connection.read_response() is None


def test_who_stops_to_monitor_is_forgotten(server: EmbeddedServer, client: Any) -> None:
    with serving_in_thread(server) as endpoint, redis.Redis.from_url(endpoint.url, socket_timeout=20) as other:
        connection: Any = other.connection_pool.get_connection()
        connection.send_command("MONITOR")
        assert connection.read_response() == b"OK"
        connection.disconnect()
        assert soon(lambda: len(client.client_list()) == 1)
        client.set("k", "v")
        assert client.get("k") == "v"


def test_the_slow_log_has_what_took_long(client: Any) -> None:
    client.config_set("slowlog-log-slower-than", 0)
    client.config_set("slowlog-max-len", 3)
    client.set("earlier", "x")
    client.config_set("masterauth", "a secret")
    client.set("k", "v" * 200)
    client.sadd("s", *range(40))
    entries = client.slowlog_get()
    assert [entry["command"] for entry in entries] == [
        b" ".join([b"SADD s", *[b"%d" % number for number in range(29)], b"... (11 more arguments)"]),
        b"SET k " + b"v" * 128 + b"... (72 more bytes)",
        b"CONFIG SET masterauth (redacted)",
    ]
    assert entries[0]["id"] > entries[1]["id"]
    assert min(entry["duration"] for entry in entries) >= 0
    assert len(client.slowlog_get(1)) == 1
    assert client.slowlog_len() == 3
    client.config_set("slowlog-log-slower-than", -1)
    client.slowlog_reset()
    client.ping()
    assert client.slowlog_get() == []


def test_client_list_has_the_fields_of_redis_in_its_order(client: Any) -> None:
    client.execute_command("WATCH", "k")
    names = " ".join(client.client_info())
    assert names.startswith("id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem")
    assert " tot-mem events cmd user redir resp lib-name lib-ver" in names
    assert [client.client_info()[name] for name in ("multi", "flags")] == [-1, "N"]


def answers(server: EmbeddedServer, requests: bytes) -> bytes:
    """The bytes of all replies to inline requests."""
    reply = b""
    with serving_in_thread(server) as endpoint, socket.create_connection((endpoint.host, endpoint.port)) as raw:
        raw.sendall(requests + b"QUIT\r\n")
        while data := raw.recv(65536):
            reply += data
    return reply


def test_texts_to_be_read_by_people_say_so(server: EmbeddedServer) -> None:
    script = b"""EVAL "return redis.call('INFO', 'cluster')" 0\r\n"""
    reply = answers(server, b"HELLO 3\r\nINFO server\r\nCLIENT INFO\r\n" + script)
    assert reply.count(b"\r\ntxt:# Server") == reply.count(b"\r\ntxt:id=") == 1
    assert b"\r\n# Cluster" in reply


def test_a_subscriber_is_told_which_commands_it_has(server: EmbeddedServer) -> None:
    reply = answers(server, b"SUBSCRIBE a\r\nCLIENT INFO\r\n")
    assert b"-ERR Can't execute 'client|info': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET" in reply


def test_a_stream_is_described_in_full(client: Any) -> None:
    for number in range(1, 13):
        client.xadd("s", {"n": number}, id=f"{number}-1")
    client.xgroup_create("s", "g", "0")
    client.xgroup_create("s", "a", "$")
    client.xgroup_createconsumer("s", "g", "idle")
    client.xreadgroup("g", "busy", {"s": ">"}, count=2)
    info = client.xinfo_stream("s", full=True)
    assert [len(info["entries"]), info["length"]] == [10, 12]
    waiting, group = info["groups"]
    assert [waiting["name"], waiting["consumers"], waiting["pending"]] == ["a", [], []]
    assert [group[name] for name in ("name", "last-delivered-id", "entries-read", "lag", "pel-count")] == [
        *("g", "2-1", 2, 10, 2)
    ]
    assert [[entry[0], entry[1], entry[3]] for entry in group["pending"]] == [["1-1", "busy", 1], ["2-1", "busy", 1]]
    busy, idle = group["consumers"]
    assert [busy["name"], busy["pel-count"], [entry[0] for entry in busy["pending"]]] == ["busy", 2, ["1-1", "2-1"]]
    assert busy["seen-time"] == busy["active-time"] == group["pending"][0][2]
    assert [idle["name"], idle["active-time"], idle["pending"]] == ["idle", -1, []]
    assert [each["inactive"] for each in client.xinfo_consumers("s", "g") if each["name"] == "idle"] == [-1]
    short = client.execute_command("XINFO", "STREAM", "s", "FULL", "COUNT", "1")
    assert "1-1" in str(short)
    assert "2-1', 'busy" not in str(short)


def test_what_people_read(client: Any) -> None:
    client.set("k", "v")
    assert client.memory_stats()["keys.count"] == 1
    assert client.lolwut(5, 6, 7).startswith("Redis ver. ")
    assert "memory" in client.execute_command("MEMORY", "DOCTOR")
    assert "allocator" in client.memory_malloc_stats()
    assert "slow log" in client.execute_command("LATENCY", "DOCTOR")
    assert client.bgrewriteaof()
    assert client.execute_command("SCRIPT", "DEBUG", "NO") == "OK"
    with pytest.raises(redis.ResponseError, match="SCRIPT DEBUG is not supported"):
        client.execute_command("SCRIPT", "DEBUG", "YES")
    for name in ("ACL", "CLIENT", "CONFIG", "MEMORY", "OBJECT", "SLOWLOG", "XGROUP", "XINFO", "PUBSUB", "SCRIPT"):
        lines = client.execute_command(name, "HELP")
        assert lines[0] == f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        assert lines[-2:] == ["HELP", "    Print this help."]
    assert {"ENCODING", "FREQ"} < set(client.execute_command("OBJECT", "HELP"))


def test_hsetex_keeps_the_time_of_fields(client: Any) -> None:
    client.hsetex("h", mapping={"a": "1", "b": "1"}, ex=100)
    client.hsetex("h", "a", "2", keepttl=True)
    client.hsetex("h", "b", "2")
    assert client.hgetall("h") == {"a": "2", "b": "2"}
    assert client.httl("h", "a", "b") == [100, -1]


def test_client_side_caching_is_refused_in_process(client: Any) -> None:
    """A yes would let clients answer from a cache that nobody tells of changes."""
    with pytest.raises(redis.ResponseError, match="CLIENT TRACKING is not supported in process"):
        client.execute_command("CLIENT", "TRACKING", "ON")
    assert client.execute_command("CLIENT", "TRACKING", "OFF") == "OK"
    assert client.execute_command("CLIENT", "TRACKINGINFO")["flags"] == ["off"]
    assert client.client_getredir() == -1


def test_commands_are_listed(client: Any) -> None:
    assert {"lpop", "lrange"} <= set(client.command_list(pattern="l*"))
    assert set(client.command_list(category="list")) > {"lpop", "rpush"}
    assert "FT.SEARCH" in client.command_list(module="search")
    assert client.command_list(module="absent") == []
    with pytest.raises(redis.ResponseError, match="syntax error"):
        client.execute_command("COMMAND", "LIST", "nonsense")


def test_what_fakeredis_lacks(client: Any) -> None:
    client.set("bits", "A")
    assert client.execute_command("BITFIELD_RO", "bits", "GET", "u8", "0") == [65]
    assert client.execute_command("BITFIELD_RO", "absent", "GET", "u8", "0") == [0]
    with pytest.raises(redis.ResponseError, match="only supports the GET"):
        client.execute_command("BITFIELD_RO", "bits", "SET", "u8", "0", "1")
    assert client.execute_command("EVAL_RO", "return redis.call('get', KEYS[1])", 1, "bits") == "A"
    digest = client.script_load("return redis.call('set', KEYS[1], '1')")
    with pytest.raises(redis.ResponseError, match="Write commands are not allowed from read-only scripts"):
        client.execute_command("EVALSHA_RO", digest, 1, "bits")
    assert client.evalsha(digest, 1, "changed") == "OK"
    client.hset("hash", "f", "1")
    client.hpexpire("hash", 9500, "f")
    assert client.httl("hash", "f", "absent") == [10, -2]
    client.pfadd("a", "1", "2")
    client.pfadd("b", "2", "3")
    client.pfmerge("a", "b")
    assert client.pfcount("a") == 3
    client.pfmerge("c", "absent")
    assert client.pfcount("c") == 0
    assert client.latency_history("command") == []
    assert client.latency_reset() == 0
    assert client.replicaof("NO", "ONE")
    with pytest.raises(redis.ResponseError, match="replication is not supported"):
        client.replicaof("host", "6379")


def test_there_is_no_cluster(client: Any) -> None:
    for words in ("INFO", "MEET 127.0.0.1 6380", "ADDSLOTS 1"):
        with pytest.raises(redis.ResponseError, match="cluster support disabled"):
            client.execute_command("CLUSTER", *words.split())
