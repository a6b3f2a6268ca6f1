"""What was acknowledged is there after the process was killed, and data and index agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer
from relay_models.embedded.persistence.keyspace import FileKeyspace
from relay_models.embedded.search.engine import SearchEngine
from relay_models.embedded.search.index.document_indexer import Indexer
from relay_models.embedded.search.index.tables import Tables

ROUNDS = int(os.environ.get("RELAY_MODELS_KILL_ROUNDS", "8"))

WRITER = """
import json, os, sys, threading
from relay_models.embedded import EmbeddedServer

server = EmbeddedServer(sys.argv[1])
start = int(sys.argv[2])
output = os.fdopen(1, "wb", buffering=0)

def write(worker):
    client = server.client()
    for n in range(start, start + 100_000):
        name = f"{worker}:{n}"
        if n % 3 == 0:
            client.json().set(f"run:{name}", "$", {"n": n, "agent": f"agent-{n % 5}", "pad": "x" * 500})
        elif n % 3 == 1:
            pipe = client.pipeline(transaction=True)
            pipe.set(f"plain:{name}", n)
            pipe.rpush(f"list:{worker}", n)
            pipe.execute()
        else:
            pipe = client.pipeline(transaction=False)
            pipe.hset(f"hash:{worker}", name, n)
            pipe.json().set(f"run:{name}", "$", {"n": n, "agent": "last"})
            pipe.execute()
        output.write(f"{name}\\n".encode())

for worker in "ab":
    threading.Thread(target=write, args=(worker,)).start()
"""


def acknowledged(path: Path, start: int, seconds: float) -> list[tuple[str, int]]:
    """Let a process write for a while, kill it, and give what it was told was done."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(start)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), True)
    first = process.stdout.readline()
    deadline = time.monotonic() + seconds
    read = first
    while time.monotonic() < deadline:
        read += os.read(process.stdout.fileno(), 65536)
    process.send_signal(signal.SIGKILL)
    read += process.stdout.read()
    process.stdout.close()
    process.wait()
    names = read.decode().split("\n")[:-1]
    return [(worker, int(n)) for worker, n in (name.split(":") for name in names)]


def indexed(server: EmbeddedServer) -> bool:
    return server._state.engine is not None


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with EmbeddedServer(path) as server:
        if indexed(server):
            create = "FT.CREATE idx ON JSON PREFIX 1 run: SCHEMA $.n AS n NUMERIC SORTABLE $.agent AS agent TAG"
            server.client().execute_command(*create.split())
    known: list[tuple[str, int]] = []
    for number in range(ROUNDS):
        known += acknowledged(path, number * 100_000, 0.05 + 0.07 * (number % 5))
        with EmbeddedServer(path) as server:
            verify(server, known)


def verify(server: EmbeddedServer, known: list[tuple[str, int]]) -> None:
    client = server.client()
    lists = {worker: {int(n) for n in client.lrange(f"list:{worker}", 0, -1)} for worker in "ab"}
    hashes = {worker: client.hgetall(f"hash:{worker}") for worker in "ab"}
    for worker, n in known:
        name = f"{worker}:{n}"
        if n % 3 == 1:
            assert client.get(f"plain:{name}") == str(n).encode()
            assert n in lists[worker]
            continue
        text = client.execute_command("JSON.GET", f"run:{name}")
        assert text is not None, name
        document = json.loads(text) if isinstance(text, bytes) else text
        assert document["n"] == n
        if n % 3 == 2:
            assert hashes[worker][name.encode()] == str(n).encode()
    # A transaction is there whole or not at all.
    for worker in "ab":
        plain = {int(key.rsplit(b":", 1)[1]) for key in client.scan_iter(f"plain:{worker}:*", count=1000)}
        assert plain == lists[worker]
    if indexed(server):
        runs = set(client.scan_iter("run:*", count=1000))
        reply = client.execute_command("FT.SEARCH", "idx", "*", "NOCONTENT", "LIMIT", "0", "1000000", "DIALECT", "2")
        found = {hit[b"id"] for hit in reply[b"results"]}
        assert found == runs


def test_power_level_writes_too(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "state.db", sync="power") as server:
        server.client().set("a", "1")
    with EmbeddedServer(tmp_path / "state.db") as server:
        assert server.client().get("a") == b"1"


def test_unknown_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'process' or 'power'"):
        EmbeddedServer(tmp_path / "state.db", sync="sometimes")  # type: ignore[arg-type]


def test_a_failing_disk_is_reported_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    server = EmbeddedServer(path)
    client = server.client()
    client.set("kept", "1")
    pages = server._state.connection.execute("PRAGMA page_count").fetchone()[0]
    server._state.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(redis.ConnectionError, match="the disk is full"):
        client.set("lost", "x" * 15_000_000)
    assert client.get("kept") == b"1"
    assert client.get("lost") is None
    client.set("small", "1")
    server.close()
    with EmbeddedServer(path) as again:
        assert sorted(again.client().keys()) == [b"kept", b"small"]


CREATE = ("FT.CREATE", "idx", "ON", "JSON", "PREFIX", "1", "x:", "SCHEMA", "$.a", "AS", "a", "TAG")


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def write_both(client: Any) -> None:
    client.execute_command("JSON.SET", "x:2", "$", '{"a": "b"}')
    client.execute_command("FT.CREATE", "other", *CREATE[2:])


@pytest.mark.parametrize("place", [(Tables, "create"), (Indexer, "put"), (FileKeyspace, "write")])
def test_an_interrupt_in_the_middle_of_a_command_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[type, str]
) -> None:
    """Ctrl-C is an exception that may come anywhere; what it cuts short must not be committed by closing."""
    path = tmp_path / "x.db"
    with EmbeddedServer(path) as server, server.client(protocol=2) as client:
        client.execute_command(*CREATE)
        client.execute_command("JSON.SET", "x:1", "$", '{"a": "b"}')
        client.set("kept", "1")
        with monkeypatch.context() as patch:
            patch.setattr(*place, interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_both(client)
        with pytest.raises(redis.ConnectionError, match="interrupted half-way"):
            client.get("kept")
    with EmbeddedServer(path) as server, server.client(protocol=2) as client:
        found = client.execute_command("FT.SEARCH", "idx", "@a:{b}", "NOCONTENT")
        assert sorted(found[1:]) == sorted(client.keys("x:*"))
        assert b"x:1" in found
        assert client.execute_command("FT._LIST") == [b"idx"]
        assert client.get("kept") == b"1"
        write_both(client)


def test_an_interrupt_while_reading_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedServer(tmp_path / "x.db") as server, server.client(protocol=2) as client:
        client.execute_command(*CREATE)
        client.execute_command("JSON.SET", "x:1", "$", '{"a": "b"}')
        with monkeypatch.context() as patch:
            patch.setattr(SearchEngine, "execute", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.execute_command("FT.SEARCH", "idx", "*")
        assert client.execute_command("FT.SEARCH", "idx", "*", "NOCONTENT") == [1, b"x:1"]
