"""Files of an earlier format, closed and left by a kill, are read, and changed with the first write."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer
from relay_models.embedded.persistence.file_checks import FORMAT


def unpack(version: int, name: str, folder: Path) -> None:
    """Unpack a file of a format, with its logs."""
    with tarfile.open(Path(__file__).with_name("data") / f"format_{version}.tar.xz") as files:
        for member in files.getmembers():
            content = files.extractfile(member)
            if member.name.startswith(name) and content is not None:
                (folder / member.name).write_bytes(content.read())


@pytest.mark.parametrize("name", ["closed.db", "killed.db"])
def test_a_file_of_format_2_is_read_and_written(tmp_path: Path, name: str) -> None:
    unpack(2, name, tmp_path)
    before = (tmp_path / name).read_bytes()
    for turn in range(3):
        with EmbeddedServer(tmp_path / name) as server:
            client: Any = server.client(protocol=2)
            assert client.execute_command("FT.SEARCH", "idx", "@a:{b}", "NOCONTENT") == [1, b"x:1"]
            assert client.lrange("list", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]
            assert client.hgetall("hash") == {b"f": b"v"}
            assert client.get("z") == b"1"
            if turn:
                client.incr("turns")
        if not turn and name == "closed.db":
            assert (tmp_path / name).read_bytes() == before
    with EmbeddedServer(tmp_path / name) as server:
        assert server.client().get("turns") == b"2"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["closed.db", "killed.db"])
def test_a_file_of_format_3_is_read_and_written(tmp_path: Path, name: str) -> None:
    """Format 4 compresses JSON, and lists what is missing in another way: both live in one file."""
    unpack(3, name, tmp_path)
    before = (tmp_path / name).read_bytes()
    old = ["x:none"]
    for turn in range(3):
        with EmbeddedServer(tmp_path / name) as server:
            client: Any = server.client(protocol=2)

            def found(query: str, client: Any = client) -> list[str]:
                reply = client.execute_command("FT.SEARCH", "idx", query, "NOCONTENT", "LIMIT", 0, 100, "DIALECT", 2)
                return sorted(key.decode() for key in reply[1:])

            assert len(found("@n:[0 19]")) == 20
            assert found("ismissing(@a)") == sorted(old)
            assert len(found("-ismissing(@a)")) == 21 + max(0, turn - 1)
            assert json.loads(client.execute_command("JSON.GET", "x:7", "$.text"))[0].startswith("words words")
            assert client.lrange("list", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]
            if turn:
                client.execute_command("JSON.SET", f"x:new{turn}", "$", json.dumps({"n": 200, "text": "new " * 200}))
                client.execute_command("JSON.SET", f"x:old{turn}", "$", json.dumps({"n": 200, "a": None}))
                old.append(f"x:new{turn}")
        if not turn and name == "closed.db":
            assert (tmp_path / name).read_bytes() == before
    with EmbeddedServer(tmp_path / name) as server:
        assert json.loads(server.client().execute_command("JSON.GET", "x:new2", "$.text")) == ["new " * 200]
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["closed.db", "killed.db"])
def test_a_file_of_format_4_is_read_and_written(tmp_path: Path, name: str) -> None:
    """Format 5 has indexes of fewer columns. One of format 4 keeps its own, beside a new one over the documents."""
    unpack(4, name, tmp_path)
    before = (tmp_path / name).read_bytes()
    for turn in range(3):
        with EmbeddedServer(tmp_path / name) as server:
            client: Any = server.client(protocol=2)
            for index in ("idx", "new")[: 1 + (turn == 2)]:
                groups = ["GROUPBY", 1, "@a", "REDUCE", "COUNT", 0, "AS", "c", "REDUCE", "SUM", 1, "@n", "AS", "s"]
                _, *rows = client.execute_command("FT.AGGREGATE", index, "*", *groups, "SORTBY", 2, "@a", "ASC")
                assert rows[0] == [b"a", b"a0", b"c", b"5", b"s", b"40"]
                assert len(rows) == 4 + (turn == 2)
                wanted = ["FT.SEARCH", index, "@a:{a1}", "SORTBY", "n", "DESC", "NOCONTENT", "DIALECT", 2]
                assert client.execute_command(*wanted) == [5, b"x:17", b"x:13", b"x:9", b"x:5", b"x:1"]
                several = client.execute_command("FT.SEARCH", index, "@b:{two}", "NOCONTENT", "DIALECT", 2)
                assert several == ([1, b"x:7"] if turn < 2 else [2, b"x:7", b"x:new"])
                first = ["FT.SEARCH", index, "*", "SORTBY", "b", "DESC", "LIMIT", 0, 1, "NOCONTENT", "DIALECT", 2]
                assert client.execute_command(*first)[1] == (b"x:7" if turn < 2 else b"x:new")
            assert client.lrange("list", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]
            if turn == 1:
                client.execute_command("JSON.SET", "x:new", "$", json.dumps({"a": ["a9", "a8"], "b": ["zero", "two"]}))
                schema = ["$.a", "AS", "a", "TAG", "CASESENSITIVE", "INDEXEMPTY", "SORTABLE", "UNF"]
                schema += ["$.b", "AS", "b", *schema[3:], "$.n", "AS", "n", "NUMERIC", "SORTABLE"]
                client.execute_command("FT.CREATE", "new", "ON", "JSON", "PREFIX", 1, "x:", "SCHEMA", *schema)
        if not turn and name == "closed.db":
            assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_an_earlier_release_is_told_that_the_file_is_newer(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "new.db") as server:
        server.client().set("a", 1)
    assert (tmp_path / "new.db").read_bytes()[60:64] == FORMAT.to_bytes(4, "big")
    assert FORMAT == 5
