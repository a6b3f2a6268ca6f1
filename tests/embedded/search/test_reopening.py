"""Indexes, aliases and what was made for queries last as long as the file does."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import redis

from relay_models.embedded import EmbeddedServer

SCHEMA = (
    "$.tag AS tag TAG CASESENSITIVE INDEXEMPTY $.tags[*] AS tags TAG $.n AS n NUMERIC SORTABLE $.t AS t TEXT SORTABLE"
)


def answers(server: EmbeddedServer) -> list[object]:
    queries = ["*", "@tag:{a}", "@tags:{x}", "@n:[1 5]", "running", "-@tag:{a}"]
    with server.client(protocol=2) as client:
        found = [
            client.execute_command("FT.SEARCH", "alias", query, "SORTBY", "n", "DIALECT", "2") for query in queries
        ]
        found.append(client.execute_command("FT.INFO", "index")[:8])
        return found


def write(server: EmbeddedServer, numbers: range) -> None:
    with server.client() as client:
        for n in numbers:
            document = {"tag": "ab"[n % 2], "tags": ["x", "y"][: n % 3], "n": n, "t": f"it runs {n} times"}
            client.execute_command("JSON.SET", f"doc:{n}", "$", json.dumps(document))


def test_an_index_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with EmbeddedServer(path) as server:
        with server.client() as client:
            client.execute_command("FT.CREATE", "index", "ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", *SCHEMA.split())
            client.execute_command("FT.ALIASADD", "alias", "index")
        write(server, range(6))
        before = answers(server)
    with EmbeddedServer(path) as server:
        assert answers(server) == before
        write(server, range(3, 12))
        after = answers(server)
    with EmbeddedServer() as fresh:
        with fresh.client() as client:
            client.execute_command("FT.CREATE", "index", "ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", *SCHEMA.split())
            client.execute_command("FT.ALIASADD", "alias", "index")
        write(fresh, range(12))
        assert answers(fresh) == after


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("expires", ["while the file is closed", "after it is opened"])
def test_expired_fields_are_not_found_in_a_reopened_file(tmp_path: Path, moved: bool, expires: str) -> None:
    path, database = tmp_path / "store.db", int(moved)
    with EmbeddedServer(path) as server, server.client() as client:
        client.execute_command("FT.CREATE", "hashes", "SCHEMA", "tag", "TAG")
        with server.client(db=database) as other:
            for key in ("short", "long"):
                other.hset(key, mapping={"tag": "x", "other": "y"})
            other.hexpire("long", 1000, "tag")
            at_ms = int(time.time() * 1000) + 100
            other.hpexpireat("short", at_ms, "tag")
    if expires == "while the file is closed":
        wait_until(at_ms)
    with EmbeddedServer(path) as server, server.client() as client:
        if moved:
            client.swapdb(0, 1)
        client.execute_command("FT.SEARCH", "hashes", "@tag:{x}")
        wait_until(at_ms)
        reply = client.execute_command("FT.SEARCH", "hashes", "@tag:{x}", "NOCONTENT")
        assert reply[b"results"] == [{b"id": b"long", b"values": []}]


def wait_until(moment_ms: int) -> None:
    while time.time() * 1000 <= moment_ms + 1:
        time.sleep(0.01)


def test_too_many_fields_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    many = [part for number in range(1020) for part in (f"f{number}", "TAG")]
    with EmbeddedServer(tmp_path / "store.db") as server, server.client(protocol=2) as client:
        client.execute_command("FT.CREATE", "kept", "SCHEMA", "t", "TAG")
        for command in (("FT.CREATE", "refused", "SCHEMA"), ("FT.ALTER", "kept", "SCHEMA", "ADD")):
            with pytest.raises(redis.ResponseError, match="not supported by the embedded engine"):
                client.execute_command(*command, *many)
        client.hset("hash", "t", "x")
    with EmbeddedServer(tmp_path / "store.db") as server, server.client(protocol=2) as client:
        assert client.execute_command("FT._LIST") == [b"kept"]
        assert client.execute_command("FT.SEARCH", "kept", "@t:{x}", "NOCONTENT") == [1, b"hash"]
        client.execute_command("FT.ALTER", "kept", "SCHEMA", "ADD", "f1", "TAG")


def sql_indexes(path: Path) -> set[str]:
    """The SQL indexes in a closed file."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}


def test_what_a_reader_made_for_its_queries_is_there_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with EmbeddedServer(path) as server:
        with server.client() as client:
            client.execute_command("FT.CREATE", "index", "ON", "JSON", "PREFIX", "1", "doc:", "SCHEMA", *SCHEMA.split())
            client.execute_command("FT.ALIASADD", "alias", "index")
        write(server, range(6))
    unasked = sql_indexes(path)
    with EmbeddedServer(path) as server:
        before = answers(server)
    asked = sql_indexes(path)
    assert asked > unasked
    with EmbeddedServer(path) as server:
        assert answers(server) == before
    content = path.read_bytes()
    with EmbeddedServer(path) as server:
        assert answers(server) == before
    assert path.read_bytes() == content
