"""What clients and tools ask of any Redis server: settings, connections, statistics, what fakeredis lacks."""

from __future__ import annotations

import functools
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


def test_client_side_caching_is_refused(client: Any) -> None:
    """A yes would let clients answer from a cache that nobody tells of changes."""
    with pytest.raises(redis.ResponseError, match="CLIENT TRACKING is not supported"):
        client.execute_command("CLIENT", "TRACKING", "ON")
    assert client.execute_command("CLIENT", "TRACKING", "OFF") == "OK"
    assert client.execute_command("CLIENT", "TRACKINGINFO")["flags"] == ["off"]
    assert client.client_getredir() == -1


def test_commands_are_listed(client: Any) -> None:
    assert {"lpop", "lrange"} <= set(client.command_list(pattern="l*"))
    assert set(client.command_list(category="list")) > {"lpop", "rpush"}
    assert "ft.search" in client.command_list(module="search")
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
    assert client.slowlog_len() == 0
    assert client.replicaof("NO", "ONE")
    with pytest.raises(redis.ResponseError, match="replication is not supported"):
        client.replicaof("host", "6379")


def test_there_is_no_cluster(client: Any) -> None:
    for words in ("INFO", "MEET 127.0.0.1 6380", "ADDSLOTS 1"):
        with pytest.raises(redis.ResponseError, match="cluster support disabled"):
            client.execute_command("CLUSTER", *words.split())
