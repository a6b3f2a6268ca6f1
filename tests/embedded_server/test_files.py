"""What may be opened, what is refused and left alone, what survives closing and copying, and what it costs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay_models.embedded import (
    DamagedFileError,
    EmbeddedError,
    EmbeddedServer,
    FileInUseError,
    FileUnavailableError,
    NewerFileError,
    NotAnEngineFileError,
)


def filled(path: Path, count: int = 200) -> Path:
    with EmbeddedServer(path) as server:
        pipe = server.client().pipeline(transaction=False)
        for n in range(count):
            pipe.execute_command("JSON.SET", f"run:{n}", "$", json.dumps({"n": n, "text": "x" * 2000}))
        pipe.execute()
    return path


def refused(path: Path, error: type[EmbeddedError]) -> EmbeddedError:
    """Open a file that must be refused; it and its neighbours must be as before."""

    def files() -> dict[str, bytes]:
        return {name: (path.parent / name).read_bytes() for name in sorted(os.listdir(path.parent))}

    before = files()
    with pytest.raises(error) as caught:
        EmbeddedServer(path)
    assert files() == before
    assert str(path) in str(caught.value)
    return caught.value


def test_a_second_server_in_this_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with EmbeddedServer(path), pytest.raises(FileInUseError, match="already open in this process") as caught:
        EmbeddedServer(path)
    assert caught.value.pid == os.getpid()
    EmbeddedServer(path).close()
    assert os.listdir(tmp_path) == ["state.db"]


HOLDER = """
import sys
from relay_models.embedded import EmbeddedServer
server = EmbeddedServer(sys.argv[1])
server.client().set("from", "holder")
print("ready", flush=True)
sys.stdin.read()
"""


def test_another_process_is_named_and_frees_the_file_by_dying(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    with pytest.raises(FileInUseError, match=f"process {holder.pid}") as caught:
        EmbeddedServer(path)
    assert caught.value.pid == holder.pid
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with EmbeddedServer(path) as server:
        assert server.client().get("from") == b"holder"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_cannot_use_the_parents_server(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "state.db") as server:
        client = server.client()
        client.set("a", "1")
        child = os.fork()
        if child == 0:
            try:
                server.client().get("a")
            except Exception as error:
                os._exit(0 if "after a fork" in str(error) else 2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert client.get("a") == b"1"
        with pytest.raises(FileInUseError):
            EmbeddedServer(tmp_path / "state.db")


@pytest.mark.parametrize("content", [b"hello", b"x" * 5000, b"SQLite format 3\0", b"\0" * 4096])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    refused(path, NotAnEngineFileError)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    connection.close()
    assert "another program" in str(refused(path, NotAnEngineFileError))


def test_a_file_of_a_later_release_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "state.db", 3)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "999" in str(refused(path, NewerFileError))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = filled(tmp_path / "state.db")
    os.truncate(path, int(path.stat().st_size * share))
    refused(path, DamagedFileError)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.7, 0.95])
def test_a_file_with_other_bytes_in_it_is_refused(tmp_path: Path, place: float) -> None:
    path = filled(tmp_path / "state.db")
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * place))
        file.write(b"\xa5" * 3000)
    refused(path, DamagedFileError)


def test_damage_found_later_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_models.embedded.storage.SEALED", 0)
    path = filled(tmp_path / "state.db", 20)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"n":13,', b'"n":99,'))
    monkeypatch.setattr("relay_models.embedded.storage.CHECKED_WHOLE", 0)
    monkeypatch.setattr("relay_models.embedded.storage.CHECK_SECONDS", -1)
    import redis

    with EmbeddedServer(path) as server:
        assert server.client().execute_command("JSON.GET", "run:12", "$.n") is not None
        with pytest.raises(redis.ResponseError, match="damaged"):
            server.client().execute_command("JSON.GET", "run:13")


@pytest.mark.parametrize("place", ["missing/state.db", "."])
def test_a_place_without_a_file_is_told(tmp_path: Path, place: str) -> None:
    with pytest.raises(FileUnavailableError):
        EmbeddedServer(tmp_path / place)


def test_an_empty_file_is_made_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with EmbeddedServer(path) as server:
        server.client().set("a", "1")
    with EmbeddedServer(path) as server:
        assert server.client().get("a") == b"1"


def test_a_copy_of_the_closed_file_is_a_backup(tmp_path: Path) -> None:
    path = filled(tmp_path / "state.db", 20)
    assert os.listdir(tmp_path) == ["state.db"]
    shutil.copy(path, tmp_path / "backup.db")
    with EmbeddedServer(path) as server:
        server.client().flushall()
    with EmbeddedServer(tmp_path / "backup.db") as server:
        assert server.client().dbsize() == 20


def test_times_to_live_survive(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with EmbeddedServer(path) as server:
        client = server.client()
        client.set("long", "1", ex=1000)
        client.rpush("list", "1")
        client.expire("list", 2000)
        client.hset("hash", "field", "1")
        client.hexpire("hash", 3000, "field")
        client.set("past", "1")
        client.execute_command("JSON.SET", "run:1", "$", "{}")
        soon = int(time.time() * 1000) + 30
        client.pexpireat("past", soon)
        client.pexpireat("run:1", soon)
        before = [client.pexpiretime("long"), client.pexpiretime("list"), client.hpexpiretime("hash", "field")]
    while time.time() * 1000 <= soon + 1:
        pass
    with EmbeddedServer(path) as server:
        client = server.client()
        assert [
            client.pexpiretime("long"), client.pexpiretime("list"), client.hpexpiretime("hash", "field")
        ] == before  # fmt: skip
        assert client.dbsize() == 3
        assert client.exists("past", "run:1") == 0
        assert sorted(client.scan_iter()) == [b"hash", b"list", b"long"]


def test_types_without_a_form_in_the_file_are_refused(tmp_path: Path) -> None:
    import redis

    with EmbeddedServer(tmp_path / "state.db") as server:
        client = server.client()
        with pytest.raises(redis.ResponseError, match="cannot be kept in a file"):
            client.execute_command("TDIGEST.CREATE", "digest")
        assert client.keys() == []


def test_a_push_does_not_rewrite_a_long_list(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "state.db") as server:
        client = server.client()
        client.rpush("list", *range(100_000))
        connection = server._state.connection
        before = connection.total_changes
        client.rpush("list", "a", "b")
        client.lpush("list", "c")
        client.lpop("list")
        client.rpop("list")
        client.expire("list", 100)
        assert connection.total_changes - before <= 12
        assert client.lrange("list", -2, -1) == [b"99999", b"a"]
        before = connection.total_changes
        client.hset("hash", mapping={str(n): n for n in range(1000)})
        middle = connection.total_changes
        client.hset("hash", "5", "x")
        assert connection.total_changes - middle <= 2
        assert middle - before >= 1000


def test_opening_reads_little_and_scanning_holds_little(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with EmbeddedServer(path) as server:
        client = server.client()
        for start in range(0, 100_000, 5_000):
            pipe = client.pipeline(transaction=False)
            for n in range(start, start + 5_000):
                pipe.execute_command("JSON.SET", f"run:{n}", "$", json.dumps({"n": n, "pad": "x" * 1500}))
            pipe.execute()
    script = (
        "import sys, time, resource\n"
        "from relay_models.embedded import EmbeddedServer\n"
        "start = time.perf_counter()\n"
        "server = EmbeddedServer(sys.argv[1])\n"
        "client = server.client()\n"
        "client.execute_command('JSON.GET', 'run:77777', '$.n')\n"
        "opened = time.perf_counter() - start\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "total = sum(1 for _ in client.scan_iter(count=1000))\n"
        "for n in range(0, 100_000, 3): client.execute_command('JSON.GET', f'run:{n}')\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(opened, total, client.dbsize(), (after - before) // 1024)\n"
    )
    output = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=True).stdout
    opened, total, size, grown = output.split()
    assert float(opened) < 0.5
    assert int(total) == int(size) == 100_000
    assert int(grown) < 150  # MB, of a file of 170


def test_closing_twice_is_allowed_and_clients_are_told(tmp_path: Path) -> None:
    import redis

    server = EmbeddedServer(tmp_path / "state.db")
    client = server.client()
    client.set("a", "1")
    server.close()
    server.close()
    with pytest.raises(redis.ConnectionError):
        client.get("a")
    with pytest.raises(redis.ConnectionError, match="was closed"):
        server.client().get("a")
