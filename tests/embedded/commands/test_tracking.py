"""CLIENT TRACKING: who read a key is told when it changes. The replies are those of Redis 7.4."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest
import redis
from redis.cache import CacheConfig

from relay_models.embedded import EmbeddedServer, serving_in_thread
from tests.servers.resp import packed


class Wire:
    """A connection of which every byte is looked at."""

    def __init__(self, port: int, protocol: int = 3) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self("HELLO", str(protocol))

    def __call__(self, *words: str) -> str:
        """What the server says to a command, and of its own accord until then, with blanks for line ends."""
        return self.all(words)

    def all(self, *commands: Sequence[str]) -> str:
        """The same for several commands that are sent at once."""
        for words in (*commands, ("PING",)):
            self._socket.sendall(packed([word.encode() for word in words]))
        received = b""
        while not received.endswith(b"+PONG\r\n"):
            received += self._socket.recv(65_536)
        return received.removesuffix(b"+PONG\r\n").decode().replace("\r\n", " ").strip()

    def heard(self) -> str:
        """What the server has said since the last command."""
        return self.all()

    def close(self) -> None:
        self._socket.close()


def told(*keys: str) -> str:
    """The message that keys have changed."""
    return f">2 $10 invalidate *{len(keys)} " + " ".join(f"${len(key)} {key}" for key in keys)


@pytest.fixture
def port() -> Iterator[int]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield int(endpoint.url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def reader(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    yield wire
    wire.close()


@pytest.fixture
def writer(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    yield wire
    wire.close()


def test_who_read_a_key_is_told_once_when_it_changes(reader: Wire, writer: Wire) -> None:
    assert reader("CLIENT", "TRACKING", "on") == "+OK"
    writer("SET", "key", "1")
    assert reader.heard() == ""
    for read, write in [
        (("GET", "key"), ("SET", "key", "2")),
        (("HGETALL", "hash"), ("HSET", "hash", "field", "1")),
        (("LLEN", "list"), ("RPUSH", "list", "a")),
        (("JSON.GET", "document"), ("JSON.SET", "document", "$", "1")),
        (("EXISTS", "key"), ("DEL", "key")),
        (("TTL", "list"), ("EXPIRE", "list", "100")),
        (("EVAL", "return redis.call('GET', 'key')", "0"), ("EVAL", "redis.call('SET', 'key', 1)", "0")),
    ]:
        reader(*read)
        writer(*write)
        assert reader.heard() == told({"EVAL": "key"}.get(write[0], write[1])), read
        writer(*write)
        assert reader.heard() == ""
    reader("MGET", "a", "b")
    writer("MSET", "a", "1", "b", "2")
    assert reader.heard() == f"{told('a')} {told('b')}"


def test_one_s_own_change_is_told_after_the_reply(reader: Wire) -> None:
    reader("CLIENT", "TRACKING", "on")
    reader("GET", "key")
    assert reader("SET", "key", "1") == f"+OK {told('key')}"
    said = reader.all(("MULTI",), ("GET", "key"), ("SET", "key", "2"), ("EXEC",))
    assert said == f"+OK +QUEUED +QUEUED *2 $1 1 +OK {told('key')}"
    reader("CLIENT", "TRACKING", "on", "NOLOOP")
    reader("GET", "key")
    assert reader("SET", "key", "3") == "+OK"


def test_an_emptied_server_is_told_of_at_once(reader: Wire, writer: Wire) -> None:
    reader("CLIENT", "TRACKING", "on")
    writer("FLUSHALL")
    assert reader.heard() == ">2 $10 invalidate _"


@pytest.mark.parametrize(("mode", "choice", "tracked"), [("OPTIN", "yes", "a"), ("OPTOUT", "no", "b")])
def test_the_choice_is_for_the_next_command_or_transaction(
    reader: Wire, writer: Wire, mode: str, choice: str, tracked: str
) -> None:
    other = {"yes": "no", "no": "yes"}[choice]
    assert reader("CLIENT", "CACHING", choice).startswith("-ERR CLIENT CACHING can be called only when")
    reader("CLIENT", "TRACKING", "on", mode)
    assert f"caching-{choice}" in reader.all(("CLIENT", "CACHING", choice), ("CLIENT", "TRACKINGINFO"))
    assert reader("CLIENT", "CACHING", other).startswith(f"-ERR CLIENT CACHING {other.upper()} is only valid when")
    reader.all(("CLIENT", "CACHING", choice), ("GET", "a"), ("GET", "b"))
    writer("MSET", "a", "1", "b", "1")
    assert reader.heard() == told(tracked)
    reader.all(("CLIENT", "CACHING", choice), ("MULTI",), ("GET", "a"), ("GET", "a"), ("EXEC",), ("GET", "b"))
    writer("MSET", "a", "1", "b", "1")
    assert reader.heard() == told(tracked)


def test_keys_are_broadcast_by_prefix(reader: Wire, writer: Wire) -> None:
    reader("CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "user:", "PREFIX", "order:")
    assert "overlaps with an existing prefix" in reader("CLIENT", "TRACKING", "on", "BCAST", "PREFIX", "user:1")
    writer("MSET", "user:1", "a", "user:2", "b", "order:1", "c", "other", "d")
    assert reader.heard() == f"{told('user:1', 'user:2')} {told('order:1')}"
    writer.all(["MULTI"], ["INCR", "user:7"], ["INCR", "order:7"], ["INCR", "user:8"], ["INCR", "user:7"], ["EXEC"])
    assert reader.heard() == f"{told('user:7', 'user:8')} {told('order:7')}"
    reader("CLIENT", "TRACKING", "off")
    writer("SET", "user:1", "b")
    assert reader.heard() == ""


def test_messages_can_go_to_another_client(port: int, writer: Wire) -> None:
    reader, receiver = Wire(port, 2), Wire(port, 2)
    number = receiver("CLIENT", "ID").removeprefix(":")
    assert reader("CLIENT", "TRACKING", "on", "REDIRECT", number) == "+OK"
    assert reader("CLIENT", "GETREDIR") == f":{number}"
    with redis.Redis(port=port) as client:
        assert [one["redir"] for one in client.client_list() if "t" in one["flags"]] == [number]
    receiver._socket.sendall(b"SUBSCRIBE __redis__:invalidate\r\n")
    reader("GET", "key")
    writer("SET", "key", "1")
    received = b""
    while not received.endswith(b"key\r\n"):
        received += receiver._socket.recv(65_536)
    assert received.endswith(b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$3\r\nkey\r\n")
    writer("CLIENT", "KILL", "ID", number)
    reader("HELLO", "3")
    reader("GET", "key")
    writer("SET", "key", "2")
    assert reader.heard() == f">2 $21 tracking-redir-broken :{number}"
    reader.close()
    receiver.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("maybe", "syntax error"),
        ("on nonsense", "syntax error"),
        ("on PREFIX a", "PREFIX option requires BCAST mode to be enabled"),
        ("on BCAST OPTIN", "OPTIN and OPTOUT are not compatible with BCAST"),
        ("on OPTIN OPTOUT", "You can't specify both OPTIN mode and OPTOUT mode"),
        ("on REDIRECT 99999", "The client ID you want redirect to does not exist"),
        ("on BCAST PREFIX ab PREFIX a", "Prefix 'ab' overlaps with another provided prefix 'a'."),
    ],
)
def test_options_are_checked(reader: Wire, options: str, message: str) -> None:
    assert reader("CLIENT", "TRACKING", *options.split()).startswith(f"-ERR {message}")
    assert reader("CLIENT", "GETREDIR") == ":-1"


def test_redis_py_s_cache_over_the_wire(port: int) -> None:
    with (
        redis.Redis(port=port, protocol=3, cache_config=CacheConfig(), decode_responses=True) as cached,
        redis.Redis(port=port) as other,
    ):
        other.set("key", "1")
        assert [cached.get("key"), cached.get("key")] == ["1", "1"]
        other.set("key", "2")
        cached.ping()  # what was sent before the reply is read with it
        assert cached.get("key") == "2"
