"""What may be opened, what is refused and left alone, what survives closing and copying, and what it costs."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import (
    DamagedFileError,
    EmbeddedError,
    EmbeddedServer,
    FileInUseError,
    FileUnavailableError,
    NewerFileError,
    NotAnEngineFileError,
    dump,
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


def answers(client: Any) -> list[Any]:
    """All keys, and what searches find."""
    out = io.BytesIO()
    dump(client, out)
    found = [
        client.execute_command("FT.SEARCH", "idx", query, "SORTBY", "n", "LIMIT", 0, 1000, "DIALECT", 2)
        for query in ("*", "@n:[20 60]", "@agent:{agent\\-1}", "word3")
    ]
    return [out.getvalue().split(b"\n", 1)[1], *found]


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Any]]:
    """A file with values of every kind and an index, and what it answers."""
    path = tmp_path_factory.mktemp("every") / "state.db"
    with EmbeddedServer(path) as server:
        client = server.client()
        schema = "$.n AS n NUMERIC SORTABLE $.agent AS agent TAG $.tags[*] AS tags TAG $.text AS text TEXT"
        client.execute_command(*f"FT.CREATE idx ON JSON PREFIX 1 run: SCHEMA {schema}".split())
        for n in range(150):
            document = {"n": n, "agent": f"agent-{n % 4}", "tags": ["x", "y"], "text": f"word{n % 9}"}
            client.execute_command("JSON.SET", f"run:{n}", "$", json.dumps(document))
            client.set(f"text:{n}", "y" * n, px=10**9 + n)
            client.hset(f"hash:{n % 7}", f"field{n}", n)
            client.rpush(f"list:{n % 3}", n)
            client.sadd("set", n)
            client.zadd("zset", {f"m{n}": n / 7})
            client.xadd("stream", {"f": n})
        answers(client)
    with EmbeddedServer(path) as server:
        expected = answers(server.client())
    return path.read_bytes(), expected


@pytest.mark.parametrize("length", [1, 16, 512, 4096])
@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_never_changes_an_answer(
    tmp_path: Path, every_kind: tuple[bytes, list[Any]], seed: int, length: int
) -> None:
    content, expected = every_kind
    rng = random.Random(seed * 10_000 + length)
    damaged = bytearray(content)
    place = rng.randrange(len(damaged))
    new = bytes(length) if seed % 3 == 0 else rng.randbytes(length)
    damaged[place : place + length] = new[: len(damaged) - place]
    path = tmp_path / "state.db"
    path.write_bytes(damaged)
    try:
        server = EmbeddedServer(path)
    except (DamagedFileError, NotAnEngineFileError):
        assert path.read_bytes() == damaged
        assert os.listdir(tmp_path) == ["state.db"]
        return
    # Some bytes are never read.
    with server:
        assert answers(server.client()) == expected


@pytest.mark.parametrize("length", [1, 16, 512])
@pytest.mark.parametrize("seed", range(12))
def test_damage_in_a_large_file_never_changes_a_value(
    tmp_path: Path, every_kind: tuple[bytes, list[Any]], monkeypatch: pytest.MonkeyPatch, seed: int, length: int
) -> None:
    """Of a large file only samples are looked at when it is opened, so values are checked when they are read."""
    for limit in ("storage.SEALED", "file_checks.CHECKED_WHOLE", "file_checks.CHECK_SECONDS"):
        monkeypatch.setattr(f"relay_models.embedded.persistence.{limit}", 0)
    path = tmp_path / "state.db"
    path.write_bytes(every_kind[0])
    with EmbeddedServer(path) as server:
        server.client().set("other", "1")  # takes the seal off
    damaged = bytearray(path.read_bytes())
    rng = random.Random(seed * 10_000 + length)
    place = rng.randrange(len(damaged))
    damaged[place : place + length] = rng.randbytes(min(length, len(damaged) - place))
    path.write_bytes(damaged)
    logging.disable(logging.CRITICAL)
    complaint = "damaged"
    try:
        with EmbeddedServer(path) as server:
            client = server.client()
            for n in range(150):
                assert client.get(f"text:{n}") in (b"y" * n, None)
                assert client.execute_command("JSON.GET", f"run:{n}", "$.n") in (b"[%d]" % n, None)
            for n in range(3):
                assert client.lrange(f"list:{n}", 0, -1) == [b"%d" % m for m in range(150) if m % 3 == n]
            for n in range(7):
                assert client.hgetall(f"hash:{n}") == {b"field%d" % m: b"%d" % m for m in range(150) if m % 7 == n}
            assert client.zrange("zset", 0, -1, withscores=True) == [[b"m%d" % n, n / 7] for n in range(150)]
    except (DamagedFileError, NotAnEngineFileError):
        pass
    except redis.ResponseError as error:
        complaint = str(error)
    finally:
        logging.disable(logging.NOTSET)
    assert "damaged" in complaint or "malformed" in complaint


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a process that was killed after a few small writes."""
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "state.db"
    EmbeddedServer(path).close()
    script = (
        "import os, sys, signal\n"
        "from relay_models.embedded import EmbeddedServer\n"
        "client = EmbeddedServer(sys.argv[1]).client()\n"
        "for n in range(50): client.set(f'key:{n}', 'x' * 40)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    return {name: (folder / name).read_bytes() for name in os.listdir(folder) if not name.endswith(".lock")}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.7, 0.9])
def test_a_damaged_log_is_refused(tmp_path: Path, killed: dict[str, bytes], share: float) -> None:
    for name, content in killed.items():
        (tmp_path / name).write_bytes(content)
    with EmbeddedServer(tmp_path / "state.db") as server:
        assert server.client().dbsize() == 50
    for name, content in killed.items():
        (tmp_path / name).write_bytes(content)
    log = tmp_path / "state.db-redo"
    content = bytearray(log.read_bytes())
    content[int(len(content) * share)] ^= 4
    log.write_bytes(content)
    assert "redo" in str(refused(tmp_path / "state.db", DamagedFileError))


@pytest.mark.parametrize("rest", [b"", b"\0" * 4096])
def test_a_log_cut_off_loses_its_end_alone(tmp_path: Path, killed: dict[str, bytes], rest: bytes) -> None:
    """As a process leaves it that is killed while it writes, or a system that loses its power."""
    for name, content in killed.items():
        (tmp_path / name).write_bytes(content)
    log = tmp_path / "state.db-redo"
    log.write_bytes(log.read_bytes()[:-10] + rest)
    if rest:
        # The last batch is neither whole nor empty: that is damage, unless nothing of it was written.
        refused(tmp_path / "state.db", DamagedFileError)
        log.write_bytes(killed["state.db-redo"] + rest)
    with EmbeddedServer(tmp_path / "state.db") as server:
        assert server.client().dbsize() == (50 if rest else 49)


def test_a_log_ahead_of_its_file_is_refused(tmp_path: Path, killed: dict[str, bytes]) -> None:
    """Such as beside an older copy of the file: what came between is not there."""
    for name, content in killed.items():
        (tmp_path / name).write_bytes(content)
    log = tmp_path / "state.db-redo"
    content = log.read_bytes()
    log.write_bytes(content[:8] + (2**40).to_bytes(8, "big") + content[16:])
    refused(tmp_path / "state.db", DamagedFileError)


def test_a_read_only_file_is_reported() -> None:
    # Not pytest's folder, which only its owner may enter; root, who may write everything, becomes another user.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = filled(folder / "state.db", 3)
        path.chmod(0o444)
        folder.chmod(0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            error = refused(path, FileUnavailableError)
        finally:
            if root:
                os.seteuid(0)
    assert "read-only" in str(error)


def damage(path: Path, key: bytes) -> None:
    """Change a byte of a key's value in the file."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        (value,) = connection.execute("SELECT value FROM keys WHERE key = ?", (key,)).fetchone()
    content = path.read_bytes()
    place = content.index(value) + len(value) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def test_damage_found_later_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_models.embedded.persistence.storage.SEALED", 0)
    path = filled(tmp_path / "state.db", 20)
    damage(path, b"run:13")
    monkeypatch.setattr("relay_models.embedded.persistence.file_checks.CHECKED_WHOLE", 0)
    monkeypatch.setattr("relay_models.embedded.persistence.file_checks.CHECK_SECONDS", -1)
    with EmbeddedServer(path) as server:
        assert server.client().execute_command("JSON.GET", "run:12", "$.n") is not None
        with pytest.raises(redis.ResponseError, match="damaged"):
            server.client().execute_command("JSON.GET", "run:13")


def test_closing_never_seals_damage_as_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as in a large file that was not closed, of which only samples are looked at."""
    path = tmp_path / "state.db"
    monkeypatch.setattr("relay_models.embedded.persistence.storage.SEALED", 0)
    filled(path, 20)
    damage(path, b"run:13")
    for limit in ("CHECKED_WHOLE", "CHECK_SECONDS"):
        monkeypatch.setattr(f"relay_models.embedded.persistence.file_checks.{limit}", -1)
    monkeypatch.setattr("relay_models.embedded.persistence.storage.SEALED", 10**9)
    for _ in range(2):
        server = EmbeddedServer(path)
        server.client().set("a", "1")
        with pytest.raises(DamagedFileError, match="run:13"):
            server.close()


@pytest.mark.parametrize("place", ["missing/state.db", "."])
def test_a_path_that_cannot_hold_a_file_is_reported(tmp_path: Path, place: str) -> None:
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
    server = EmbeddedServer(tmp_path / "state.db")
    client = server.client()
    client.set("a", "1")
    server.close()
    server.close()
    with pytest.raises(redis.ConnectionError):
        client.get("a")
    with pytest.raises(redis.ConnectionError, match="was closed"):
        server.client().get("a")
