"""Keyspace events: which there are, by which names, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer, serving_in_thread

EVENTS = [
    ("SET k v EX 100", ["set k", "expire k"]),
    ("SETEX k 100 v", ["set k", "expire k"]),
    ("MSET k 1 l 2", ["set k", "set l"]),
    ("INCR k", ["incrby k"]),
    ("GETEX text EX 100", ["expire text"]),
    ("GETDEL text", ["del text"]),
    ("DEL text absent", ["del text"]),
    ("EXPIRE text 100", ["expire text"]),
    ("EXPIRE text -1", ["del text"]),
    ("PERSIST text", []),
    ("RENAME text k", ["rename_from text", "rename_to k"]),
    ("COPY text k", ["copy_to k"]),
    ("LPOP list", ["lpop list", "del list"]),
    ("BLPOP list 1", ["lpop list", "del list"]),
    ("LMOVE list k LEFT RIGHT", ["rpush k", "lpop list", "del list"]),
    ("LMPOP 2 absent list RIGHT", ["rpop list", "del list"]),
    ("RPOP list 0", []),
    ("SADD set a", []),
    ("SREM set a", ["srem set", "del set"]),
    ("SMOVE set k a", ["srem set", "del set", "sadd k"]),
    ("SDIFFSTORE set set set", ["del set"]),
    ("SDIFFSTORE absent set set", []),
    ("ZADD zset INCR 1 a", ["zincr zset"]),
    ("ZPOPMIN zset", ["zpopmin zset", "del zset"]),
    ("BZMPOP 1 1 zset MIN", ["zpopmin zset", "del zset"]),
    ("HSETNX hash a 1", []),
    ("HDEL hash a", ["hdel hash", "del hash"]),
    ("HEXPIRE hash 100 FIELDS 1 a", ["hexpire hash"]),
    ("XADD stream 1-1 a b", ["xadd stream"]),
    ("XGROUP CREATE stream g 0 MKSTREAM", ["xgroup-create stream"]),
    ("PFADD k a", ["pfadd k"]),
    ("PFCOUNT k", []),
    ("JSON.SET k $ 1", ["json.set k"]),
    ("GET text", []),
    ("LPUSH text a", []),
]


class Listener:
    """A client that hears of all events, and another one that causes them."""

    def __init__(self, server: EmbeddedServer, classes: str) -> None:
        self.client = server.client(decode_responses=True)
        self.client.config_set("notify-keyspace-events", classes)
        self._messages = self.client.pubsub(ignore_subscribe_messages=True)
        self._messages.psubscribe("*")

    def heard(self) -> list[str]:
        """What was said since the last call, but for the events' prefixes."""
        self.client.publish("end", "")
        found = []
        while True:
            message: Any = self._messages.get_message(timeout=5)
            if message is not None and message["channel"] == "end":
                return found
            if message is not None:
                found.append(f"{message['channel'].partition('@0__:')[2]} {message['data']}")


@pytest.mark.parametrize(("command", "events"), EVENTS)
def test_events_have_their_names(server: EmbeddedServer, command: str, events: list[str]) -> None:
    listener = Listener(server, "EA")
    client = listener.client
    client.set("text", "v")
    client.rpush("list", "a")
    client.sadd("set", "a")
    client.zadd("zset", {"a": 1})
    client.hset("hash", "a", 1)
    listener.heard()
    try:
        client.execute_command(*command.split())
    except redis.ResponseError:
        assert not events
    assert listener.heard() == events


@pytest.mark.parametrize(
    ("classes", "heard"),
    [
        ("", []),
        ("A", []),
        ("Kl", ["list rpush"]),
        ("E$", ["set text"]),
        ("KEg", ["text del", "del text"]),
        ("En", ["new text", "new list"]),
    ],
)
def test_only_events_that_are_asked_for_are_sent(server: EmbeddedServer, classes: str, heard: list[str]) -> None:
    listener = Listener(server, classes)
    listener.client.set("text", "v")
    listener.client.rpush("list", "a")
    listener.client.delete("text")
    assert listener.heard() == heard


def test_scripts_and_transactions_cause_events(server: EmbeddedServer) -> None:
    listener = Listener(server, "EA")
    listener.client.eval("redis.call('SET', KEYS[1], 1) return redis.call('INCR', KEYS[1])", 1, "k")
    pipeline = listener.client.pipeline()
    pipeline.lpush("list", "a").delete("k").execute()
    assert listener.heard() == ["set k", "incrby k", "lpush list", "del k"]


@pytest.fixture
def served() -> Iterator[redis.Redis[Any]]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        client = redis.Redis.from_url(endpoint.url, decode_responses=True)
        yield client
        client.close()


def test_a_key_that_expires_is_told_of_while_nothing_is_asked(served: redis.Redis[Any]) -> None:
    served.config_set("notify-keyspace-events", "Ex")
    messages = served.pubsub(ignore_subscribe_messages=True)
    messages.psubscribe("__keyevent@*__:expired")
    served.set("k", "v", px=1)
    while (message := messages.get_message(timeout=10)) is None:
        pass
    assert message["data"] == "k"
    messages.close()


def test_the_setting_is_shown_in_its_order(server: EmbeddedServer) -> None:
    client = server.client(decode_responses=True)
    for given, shown in (("KEA", "AKE"), ("xEg", "gxE"), ("Kz$", "$zK"), ("", "")):
        client.config_set("notify-keyspace-events", given)
        assert client.config_get("notify-keyspace-events") == {"notify-keyspace-events": shown}
    with pytest.raises(redis.ResponseError, match="Invalid event class character"):
        client.config_set("notify-keyspace-events", "Eq")


def test_ending_no_subscription_is_confirmed(server: EmbeddedServer, protocol: int) -> None:
    client = server.client(protocol=protocol)
    messages = client.pubsub()
    messages.ssubscribe("s")
    messages.subscribe("c")
    assert [messages.get_message(timeout=5)["data"] for _ in range(2)] == [1, 1]
    for command in ("PUNSUBSCRIBE", "UNSUBSCRIBE", "UNSUBSCRIBE", "SUNSUBSCRIBE", "SUNSUBSCRIBE"):
        messages.execute_command(command)
    replies = [messages.get_message(timeout=5) for _ in range(5)]
    assert [(reply["channel"], reply["data"]) for reply in replies] == [
        (None, 1), (b"c", 0), (None, 0), (b"s", 0), (None, 0)
    ]  # fmt: skip


def test_a_transaction_can_neither_save_nor_stop(server: EmbeddedServer) -> None:
    client = server.client()
    for command in ("SAVE", "SHUTDOWN"):
        pipeline = client.pipeline()
        pipeline.set("k", "v").execute_command(command)
        with pytest.raises(redis.ResponseError, match="not allowed inside a transaction"):
            pipeline.execute()
    assert client.get("k") is None
