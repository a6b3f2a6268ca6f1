"""A full disk: what is there can be read, what is not written is said, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import (
    EmbeddedServer,
    FileUnavailableError,
    dump,
    restore,
    serving_in_thread,
)
from tests.embedded.persistence.processes import fill, killed


def stored(path: Path, count: int = 20) -> Path:
    with EmbeddedServer(path) as server:
        for number in range(count):
            server.client().set(f"k{number}", "v")
    return path


def test_what_is_there_is_readable_and_closed_in_silence(disk: Path) -> None:
    path = stored(disk / "x.db")
    before = path.read_bytes()
    rest = fill(disk)
    with EmbeddedServer(path) as server:
        client = server.client()
        assert client.dbsize() == 20
        assert client.get("k3") == b"v"
    assert path.read_bytes() == before
    rest.unlink()
    assert os.listdir(disk) == ["x.db"]


def test_what_a_kill_left_is_readable(disk: Path) -> None:
    path = disk / "x.db"
    killed(path, 20)
    rest = fill(disk)
    with EmbeddedServer(path) as server:
        assert server.client().dbsize() == 20
    with EmbeddedServer(path) as server:
        assert server.client().get("k19") == b"v"
    rest.unlink()
    with EmbeddedServer(path) as server:
        assert server.client().dbsize() == 20
    assert os.listdir(disk) == ["x.db"]


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_a_write_that_fails_is_undone_and_reading_goes_on(disk: Path, size: int) -> None:
    path = stored(disk / "x.db")
    with EmbeddedServer(path) as server:
        client = server.client()
        client.set("before", "1")
        rest = fill(disk)
        done = 0
        with pytest.raises(redis.ConnectionError, match="could not be written: the disk is full"):  # noqa: PT012
            for number in range(3000):
                client.set(f"new{number}", "x" * size)
                done += 1
        assert client.get("k3") == b"v"
        assert client.dbsize() == 21 + done
        rest.unlink()
        client.set("after", "1")
    with EmbeddedServer(path) as server:
        assert server.client().dbsize() == 22 + done


def test_closing_raises_an_error_of_ours_and_frees_the_file(disk: Path) -> None:
    path = stored(disk / "x.db")
    server = EmbeddedServer(path)
    client = server.client()
    client.set("before", "1")
    rest = fill(disk)
    done = 0
    with pytest.raises(redis.ConnectionError):  # noqa: PT012
        for number in range(100_000):
            client.set(f"new{number}", "x" * 1000)
            done += 1
    with contextlib.suppress(FileUnavailableError):  # unless the space that the last change left is enough
        server.close()
    for full in (True, False):
        if not full:
            rest.unlink()
        with EmbeddedServer(path) as server:
            assert server.client().dbsize() == 21 + done
    assert os.listdir(disk) == ["x.db"]


def test_nothing_is_left_of_a_file_that_could_not_be_created(disk: Path) -> None:
    rest = fill(disk)
    with pytest.raises(FileUnavailableError, match="the disk is full"):
        EmbeddedServer(disk / "x.db")
    assert os.listdir(disk) == ["rest"]
    rest.unlink()
    stored(disk / "x.db")


def test_an_index_can_be_queried(disk: Path) -> None:
    path = disk / "x.db"
    with EmbeddedServer(path) as server:
        client: Any = server.client(protocol=2)
        client.execute_command(
            *[
                "FT.CREATE",
                "idx",
                "ON",
                "JSON",
                "PREFIX",
                "1",
                "x:",
                "SCHEMA",
                "$.a",
                "AS",
                "a",
                "TAG",
                "$.n",
                "AS",
                "n",
                "NUMERIC",
                "SORTABLE",
            ]
        )
        for number in range(50):
            client.execute_command("JSON.SET", f"x:{number}", "$", f'{{"a": "b{number % 3}", "n": {number}}}')
    rest = fill(disk)
    with EmbeddedServer(path) as server:
        client = server.client(protocol=2)
        assert client.execute_command("FT.SEARCH", "idx", "@a:{b1}", "NOCONTENT", "SORTBY", "n", "LIMIT", 0, 1)[0] == 17
        with pytest.raises(redis.ConnectionError, match="full"):  # noqa: PT012
            for number in range(50, 5000):
                client.execute_command("JSON.SET", f"x:{number}", "$", f'{{"a": "b1", "n": {number}}}')
        found = client.execute_command("FT.SEARCH", "idx", "*", "NOCONTENT", "LIMIT", 0, 10_000)
        assert sorted(found[1:]) == sorted(client.keys("x:*"))
    rest.unlink()
    with EmbeddedServer(path) as server:
        assert server.client(protocol=2).execute_command("FT.SEARCH", "idx", "*", "NOCONTENT", "LIMIT", 0, 0) == [
            found[0]
        ]


def test_served_clients_are_told(disk: Path) -> None:
    path = stored(disk / "x.db")
    with EmbeddedServer(path) as server, serving_in_thread(server) as endpoint:
        client: Any = redis.Redis(port=endpoint.port, retry=None)
        client.set("before", "1")
        fill(disk)
        with pytest.raises(redis.ResponseError, match="the disk is full"):
            client.set("lost", "x" * 3_000_000)
        assert client.get("k3") == b"v"
        assert client.get("lost") is None
        client.close()


LIMITED = """
import resource, signal, sys, redis
from relay_models.embedded import EmbeddedServer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
server = EmbeddedServer(sys.argv[1])
client = server.client()
client.set("kept", "1")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
done = 0
try:
    for number in range(3000):
        client.set(f"n{number}", "x" * 1000)
        done += 1
except redis.ConnectionError as error:
    assert "could not be written" in str(error), error
assert client.dbsize() == done + 1, (client.dbsize(), done)
try:
    server.close()
except Exception as error:
    assert type(error).__name__ == "FileUnavailableError", error
with EmbeddedServer(sys.argv[1]) as server:
    assert server.client().dbsize() == done + 1
print(done)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits")
def test_a_limit_of_the_size_of_files_is_like_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path / "x.db")]
    done = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=100).stdout)
    assert done < 3000
    with EmbeddedServer(tmp_path / "x.db") as server:
        assert server.client().dbsize() == done + 1


def test_a_reply_that_waits_for_the_same_write_is_not_delivered(disk: Path) -> None:
    """Another client's change may be in the part that could not be written."""
    with EmbeddedServer(stored(disk / "x.db")) as server:
        client: Any = server.client()
        client.set("before", "1")
        connection = client.connection_pool.get_connection()
        client.get("before")  # on a connection of its own
        fill(disk)
        connection.send_command("SET", "other", "1")
        with pytest.raises(redis.ConnectionError, match="the disk is full"):
            client.set("lost", "x" * 3_000_000)
        with pytest.raises(redis.ConnectionError, match="nothing of it was kept"):
            connection.read_response()
        connection.disconnect()
        assert client.mget("other", "lost", "before") == [None, None, b"1"]


async def test_async_clients_are_told(disk: Path) -> None:
    async with EmbeddedServer(stored(disk / "x.db")) as server:
        client: Any = server.async_client()
        await client.set("before", "1")
        rest = fill(disk)
        with pytest.raises(redis.ConnectionError, match="the disk is full"):
            await client.set("lost", "x" * 3_000_000)
        assert await client.get("k3") == b"v"
        pipe = client.pipeline(transaction=True)
        pipe.set("a", "x" * 3_000_000)
        pipe.get("k3")
        with pytest.raises(redis.ConnectionError, match="the disk is full"):
            await pipe.execute()
        rest.unlink()
        assert await client.incr("after") == 1
        assert await client.dbsize() == 22
        await client.aclose()


def test_a_watched_key_counts_as_changed(disk: Path) -> None:
    with EmbeddedServer(stored(disk / "x.db")) as server:
        client: Any = server.client()
        client.set("before", "1")
        rest = fill(disk)
        pipe = client.pipeline()
        pipe.watch("k3")
        with pytest.raises(redis.ConnectionError):
            client.set("k3", "x" * 3_000_000)
        rest.unlink()
        pipe.multi()
        pipe.set("k3", "new")
        with pytest.raises(redis.WatchError):
            pipe.execute()
        assert client.get("k3") == b"v"


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_dump_that_does_not_fit_names_its_file_and_leaves_the_old_one(disk: Path, name: str, is_there: bool) -> None:
    with EmbeddedServer() as server:
        client: Any = server.client()
        client.set("much", os.urandom(2_500_000))
        if is_there:
            (disk / name).write_text("before")
        with pytest.raises(OSError, match="No space left") as caught:
            dump(client, disk / name)
    assert caught.value.filename == str(disk / name)
    assert ".part" not in str(caught.value)
    assert os.listdir(disk) == ([name] if is_there else [])
    assert not is_there or (disk / name).read_text() == "before"


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_dump_with_a_name_that_no_file_can_have(name: str) -> None:
    with EmbeddedServer() as server:
        for call in (dump, restore):
            with pytest.raises(OSError, match="no file can have this name"):
                call(server.client(), name)
