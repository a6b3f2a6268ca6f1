"""The engine in a file answers as the engine in memory does, and holds the same when opened again or after a crash."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st

from relay_models.embedded import EmbeddedServer

KEYS = ["a", "b", "c", "key é"]
VALUES = ["", "0", "7", "x", "yy", "zzz\0\r\n"]
FIELDS = ["f", "g", "h"]

key = st.sampled_from(KEYS)
value = st.sampled_from(VALUES)
field = st.sampled_from(FIELDS)
index = st.integers(-4, 4)
score = st.sampled_from(["0", "1.5", "-3", "1e300"])
document = st.sampled_from(['{"a":1,"b":[1,2.5,null]}', "[1,2,3]", '"text"', "1e-7"])


def command(name: str, *arguments: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    strategies = [argument if isinstance(argument, st.SearchStrategy) else st.just(argument) for argument in arguments]
    return st.tuples(st.just(name), *strategies)


COMMANDS = st.one_of(
    command("SET", key, value),
    command("SET", key, value, "EX", "1000"),
    command("APPEND", key, value),
    command("SETBIT", key, "9", "1"),
    command("GET", key),
    command("INCR", key),
    command("RPUSH", key, value),
    command("RPUSH", key, value, value, value),
    command("LPUSH", key, value, value),
    command("LPOP", key),
    command("RPOP", key),
    command("RPOP", key, "2"),
    command("LSET", key, index, value),
    command("LREM", key, index, value),
    command("LTRIM", key, index, index),
    command("LINSERT", key, "BEFORE", value, value),
    command("RPOPLPUSH", key, key),
    command("LRANGE", key, "0", "-1"),
    command("HSET", key, field, value),
    command("HSET", key, field, value, field, value),
    command("HDEL", key, field),
    command("HINCRBY", key, field, "2"),
    command("HEXPIRE", key, "1000", "FIELDS", "1", field),
    command("HPERSIST", key, "FIELDS", "1", field),
    command("HEXPIRETIME", key, "FIELDS", "1", field),
    command("HGETALL", key),
    command("SADD", key, value, value),
    command("SREM", key, value),
    command("SCARD", key),
    command("SMOVE", key, key, value),
    command("SUNIONSTORE", key, key, key),
    command("PFADD", key, value),
    command("PFCOUNT", key),
    command("ZADD", key, score, value),
    command("ZADD", key, score, value, score, value),
    command("ZINCRBY", key, score, value),
    command("ZREM", key, value),
    command("ZPOPMIN", key),
    command("ZRANGE", key, "0", "-1", "WITHSCORES"),
    command("ZUNIONSTORE", key, "2", key, key),
    command("XADD", key, "1-*", field, value),
    command("XTRIM", key, "MAXLEN", "1"),
    command("XGROUP", "CREATE", key, "group", "0", "MKSTREAM"),
    command("XREADGROUP", "GROUP", "group", "consumer", "STREAMS", key, ">"),
    command("XACK", key, "group", "1-0", "1-1"),
    command("XDEL", key, "1-0"),
    command("XLEN", key),
    command("XPENDING", key, "group"),
    command("JSON.SET", key, "$", document),
    command("JSON.SET", key, "$.a", document),
    command("JSON.MERGE", key, "$", document),
    command("JSON.DEL", key, "$.a"),
    command("JSON.NUMINCRBY", key, "$..a", "1"),
    command("JSON.GET", key),
    command("DEL", key, key),
    command("UNLINK", key),
    command("EXISTS", key),
    command("TYPE", key),
    command("RENAME", key, key),
    command("RENAMENX", key, key),
    command("COPY", key, key),
    command("COPY", key, key, "REPLACE"),
    command("MOVE", key, "1"),
    command("SWAPDB", "0", "1"),
    command("SELECT", st.sampled_from(["0", "1"])),
    command("EXPIRE", key, "1000"),
    command("PEXPIREAT", key, "1"),
    command("PERSIST", key),
    command("DBSIZE"),
    command("SORT", key, "ALPHA", "STORE", key),
    command("FLUSHDB"),
    command("MULTI"),
    command("EXEC"),
    command("EVAL", "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('LLEN', KEYS[1])", "1", key, value),
    command("(reopen)"),
    command("(forget)"),
)


def run(connection: redis.Connection, request: tuple[Any, ...]) -> Any:
    connection.send_command(*request)
    try:
        return comparable(request[0], connection.read_response(disable_decoding=True))
    except redis.ResponseError as error:
        return ("error", str(error))


def comparable(name: str, reply: Any) -> Any:
    if isinstance(reply, list):
        parts = [comparable("", part) for part in reply]
        return sorted(parts) if name in ("SMEMBERS", "KEYS") else parts
    return ("error", str(reply)) if isinstance(reply, Exception) else reply


def everything(server: EmbeddedServer) -> dict[tuple[int, bytes], Any]:
    held: dict[tuple[int, bytes], Any] = {}
    for number in (0, 1):
        client = server.client(db=number, protocol=2)
        for name in sorted(client.keys("*")):
            kind = client.type(name).decode()
            read = {
                "string": ("GET", name),
                "list": ("LRANGE", name, 0, -1),
                "set": ("SMEMBERS", name),
                "zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
                "hash": ("HGETALL", name),
                "stream": ("XRANGE", name, "-", "+"),
                "ReJSON-RL": ("JSON.GET", name),
            }[kind]
            connection = client.connection_pool.get_connection()
            content = run(connection, read)
            fields = run(connection, ("HEXPIRETIME", name, "FIELDS", len(FIELDS), *FIELDS)) if kind == "hash" else []
            times = [round(time, -2) for time in [client.expiretime(name), *fields]]
            client.connection_pool.release(connection)
            held[number, name] = (kind, content, times)
        client.close()
    return held


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(COMMANDS, max_size=40))
def test_file_matches_memory(tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[Any, ...]]) -> None:
    path = tmp_path_factory.mktemp("engine") / "state.db"
    memory, file = EmbeddedServer(), EmbeddedServer(path)
    ours, theirs = (server.client(protocol=2).connection_pool.get_connection() for server in (memory, file))
    queueing = False
    for request in requests:
        if request[0] == "(reopen)":
            file, theirs = reopened(file, path, theirs, queueing)
            if not queueing:
                run(ours, ("SELECT", "0"))
            continue
        if request[0] == "(forget)":
            forget(file)
            continue
        queueing = request[0] == "MULTI" or (queueing and request[0] != "EXEC")
        assert run(theirs, request) == run(ours, request), request
    if queueing:
        run(ours, ("DISCARD",))
        run(theirs, ("DISCARD",))
    crashed = path.parent / "crashed"
    crashed.mkdir()
    for left in path.parent.glob("state.db*"):
        if left.suffix != ".lock":
            shutil.copy(left, crashed / left.name)
    with EmbeddedServer(crashed / path.name) as survivor:
        assert everything(survivor) == everything(memory)
    assert everything(file) == everything(memory)
    file.close()
    with EmbeddedServer(path) as again:
        assert everything(again) == everything(memory)
    memory.close()


def reopened(
    file: EmbeddedServer, path: Path, connection: redis.Connection, queueing: bool
) -> tuple[EmbeddedServer, redis.Connection]:
    if queueing:
        return file, connection
    file.close()
    file = EmbeddedServer(path)
    return file, file.client(protocol=2).connection_pool.get_connection()


def forget(server: EmbeddedServer) -> None:
    """Have the file's databases drop what they cache, as they do when memory runs short."""
    server._state.commit()
    for database in server._state.dbs.values():
        database.write()
        for name in list(database._dict._cache):
            database._dict._forget(name)
