"""What fakeredis keeps or answers otherwise than Redis: times, empty lists, places, estimates, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread

from .test_replies import Wire


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with server.client(protocol=2) as client:
        yield client


@pytest.mark.parametrize(
    "command", ["PSETEX k 100000500 v", "SETEX k 100001 v", "GETEX k PX 100000500", "GETEX k EX 100001"]
)
def test_keys_live_as_long_as_they_were_given(client: redis.Redis, command: str) -> None:
    client.set("k", "v")
    client.execute_command(*command.split())
    assert client.pttl("k") > 100_000_000


def test_getex_takes_a_moment(client: redis.Redis) -> None:
    client.set("k", "v")
    assert client.execute_command("GETEX", "k", "PXAT", "4000000000123") == b"v"
    assert client.execute_command("PEXPIRETIME", "k") == 4_000_000_000_123
    assert client.execute_command("EXPIRETIME", "k") == 4_000_000_000
    assert client.execute_command("GETEX", "no such key", "EX", "0") is None


@pytest.mark.parametrize("command", ["LMPOP 1 k LEFT", "BLMPOP 0 2 other k RIGHT COUNT 5"])
def test_an_emptied_list_is_no_key(client: redis.Redis, command: str) -> None:
    client.rpush("k", "only")
    assert client.execute_command(*command.split()) == [b"k", [b"only"]]
    assert client.dbsize() == 0


def test_members_that_sets_have_in_common(client: redis.Redis) -> None:
    client.sadd("k", "a")
    assert client.execute_command("SINTERCARD", "1", "missing") == 0
    assert client.execute_command("SINTERCARD", "2", "k", "missing") == 0
    assert client.execute_command("SINTERCARD", "2", "k", "k") == 1


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_a_transaction_tells_each_reply(server: EmbeddedServer, protocol: str) -> None:
    commands = [
        "RPUSH list a",
        "XREAD COUNT 1 STREAMS none 0",
        "GEOPOS none x",
        "BZPOPMIN none 1",
        "ZINCRBY zset 0.1 m",
    ]
    with serving_in_thread(server) as endpoint:
        wire = Wire(urlsplit(endpoint.url).port or 0)
        wire.ask("HELLO", protocol)
        wire.ask("MULTI")
        for command in commands:
            wire.ask(*command.split())
        kind, replies = wire.ask("EXEC")
        wire.close()
    null = (b"*", b"-1") if protocol == "2" else (b"_", b"")
    score = (b"$" if protocol == "2" else b",", b"0.1")
    assert (kind, replies) == (b"*", [(b":", b"1"), null, (b"*", [null]), null, score])


def test_any_number_of_arguments_is_queued(client: redis.Redis) -> None:
    with client.pipeline(transaction=True) as pipe:
        pipe.execute_command("SET", "before", "1")
        pipe.execute_command("HSET", "k", "f", "v", "left over")
        pipe.execute_command("SET", "after", "1")
        replies: list[Any] = pipe.execute(raise_on_error=False)
    assert isinstance(replies[1], redis.ResponseError)
    assert client.mget("before", "after") == [b"1", b"1"]


@pytest.mark.parametrize(
    "change", ["HPEXPIRE k 100000 FIELDS 1 f", "HPERSIST k FIELDS 1 timed", "HEXPIRE k 0 FIELDS 1 f", "XDEL stream 1-1"]
)
def test_who_watches_hears_of_it(server: EmbeddedServer, client: redis.Redis, change: str) -> None:
    client.hset("k", mapping={"f": "1", "timed": "2"})
    client.execute_command("HEXPIRE", "k", "1000", "FIELDS", "1", "timed")
    client.xadd("stream", {"f": "1"}, "1-1")
    with server.client() as other, client.pipeline() as pipe:
        pipe.watch("k", "stream")
        other.execute_command(*change.split())
        pipe.multi()
        pipe.set("after", "1")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_a_watched_hash_of_which_a_field_expires(client: redis.Redis) -> None:
    client.hset("k", mapping={"f": "1", "stays": "2"})
    client.execute_command("HPEXPIRE", "k", "20", "FIELDS", "1", "f")
    with client.pipeline() as pipe:
        pipe.watch("k")
        while pipe.execute_command("HPTTL", "k", "FIELDS", "1", "f") != [-2]:
            pass
        pipe.multi()
        pipe.set("after", "1")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_places(client: redis.Redis) -> None:
    client.geoadd("k", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    assert client.type("k") == b"zset"
    assert client.zscore("k", "Palermo") == 3479099956230698
    assert client.geodist("k", "Palermo", "Catania") == 166274.1516
    assert client.geohash("k", "Palermo", "Catania", "nowhere") == ["sqc8b49rny0", "sqdtr74hyu0", None]
    position = client.connection_pool.get_connection()
    position.send_command("GEOPOS", "k", "Palermo")
    assert position.read_response() == [[b"13.36138933897018433", b"38.11555639549629859"]]
    client.connection_pool.release(position)
    box = "GEOSEARCH k FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST"
    assert client.execute_command(*box.split()) == [[b"Catania", b"56.4413"], [b"Palermo", b"190.4424"]]
    client.geoadd("k", (0.5, 0.5, "near the equator"))
    assert len(client.geopos("k", "near the equator")) == 1


def test_estimates_are_strings(client: redis.Redis) -> None:
    assert client.execute_command("PFADD", "k") == 1
    assert client.get("k") == b"HYLL\1" + b"\0" * 10 + b"\x80\x7f\xff"
    assert client.execute_command("PFADD", "k", "x") == 1
    assert client.execute_command("PFADD", "k", "x") == 0
    assert client.pfcount("k") == 1
    client.pfadd("large", *map(str, range(30_000)))
    assert client.pfcount("large") == client.pfcount("large", "missing") == 29_850
    assert client.strlen("large") == 12_304
    client.pfmerge("all", "large", "k")
    assert client.pfcount("all", "k") == client.pfcount("all")
    client.set("k", "no estimate")
    with pytest.raises(redis.ResponseError, match="not a valid HyperLogLog"):
        client.pfadd("k", "x")


EMPTY_RESULTS = [
    "SDIFFSTORE d a b", "SINTERSTORE d a b", "SUNIONSTORE d a b", "ZUNIONSTORE d 1 a", "ZDIFFSTORE d 1 a",
    "ZRANGESTORE d a 0 -1", "BITOP AND d a b", "SORT a STORE d", "SADD set member", "SWAPDB 0 1",
]  # fmt: skip


@pytest.mark.parametrize("command", EMPTY_RESULTS)
def test_what_changes_nothing_ends_no_transaction(server: EmbeddedServer, command: str) -> None:
    client, other = server.client(), server.client()
    client.sadd("set", "member")
    with client.pipeline() as pipeline:
        pipeline.watch("d", *(["set"] if command.startswith("SADD") else []))
        other.execute_command(*command.split())
        pipeline.multi()
        pipeline.ping()
        assert pipeline.execute() == [True]


@pytest.mark.parametrize(
    "command", ["SUNIONSTORE d set", "COPY set d", "RENAME set d", "SET d v", "SWAPDB 0 1", "MOVE d 0"]
)
def test_a_key_that_comes_to_be_ends_a_transaction(server: EmbeddedServer, command: str) -> None:
    client, other = server.client(), server.client(db=1 if command.startswith("MOVE") else 0)
    client.sadd("set", "member")
    if command.startswith(("SWAPDB", "MOVE")):
        server.client(db=1).set("d", "v")
    with client.pipeline() as pipeline:
        pipeline.watch("d")
        other.execute_command(*command.split())
        pipeline.multi()
        pipeline.ping()
        with pytest.raises(redis.WatchError):
            pipeline.execute()
