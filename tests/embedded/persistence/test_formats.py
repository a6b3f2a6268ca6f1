"""Files of an earlier format, closed and left by a kill, are read, and changed with the first write."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer

FILES = Path(__file__).with_name("data") / "format_2.tar.xz"


@pytest.mark.parametrize("name", ["closed.db", "killed.db"])
def test_a_file_of_format_2_is_read_and_written(tmp_path: Path, name: str) -> None:
    with tarfile.open(FILES) as files:
        for member in files.getmembers():
            content = files.extractfile(member)
            if member.name.startswith(name) and content is not None:
                (tmp_path / member.name).write_bytes(content.read())
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
