"""The engine's time never goes back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from relay_models.embedded import EmbeddedServer
from tests.embedded.persistence.processes import python

DAY = 86_400


def told(server: EmbeddedServer) -> float:
    seconds, micros = server.client().time()
    return float(seconds) + micros / 1e6


class Clock:
    def __init__(self, now: float = 1_700_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("in_file", [False, True])
def test_time_follows_the_clock_forward_and_never_back(tmp_path: Path, in_file: bool) -> None:
    clock = Clock()
    with EmbeddedServer(tmp_path / "x.db" if in_file else None, clock=clock) as server:
        assert told(server) == clock.now
        clock.now += DAY
        latest = told(server)
        assert latest == clock.now
        clock.now -= DAY / 2
        first, second = told(server), told(server)
        assert latest <= first <= second < latest + 100
        clock.now += DAY
        assert told(server) == clock.now


def write_small(server: EmbeddedServer) -> None:
    server.client().set("a", "1")


def write_large(server: EmbeddedServer) -> None:
    server.client().rpush("list", *range(1000))


@pytest.mark.parametrize("write", [write_small, write_large])
@pytest.mark.parametrize("back", [0.001, 1, DAY, 1000 * DAY])
def test_time_goes_on_from_when_the_file_was_last_open(tmp_path: Path, write: object, back: float) -> None:
    clock = Clock()
    with EmbeddedServer(tmp_path / "x.db", clock=clock) as server:
        write(server)  # type: ignore[operator]
        clock.now += 1000
        write(server)  # type: ignore[operator]
        latest = told(server)
    clock.now -= back
    with EmbeddedServer(tmp_path / "x.db", clock=clock) as server:
        assert told(server) >= latest
        write(server)  # type: ignore[operator]
    clock.now += back + 1
    with EmbeddedServer(tmp_path / "x.db", clock=clock) as server:
        assert told(server) == pytest.approx(clock.now, abs=1)


KILLED = """
import os, signal, sys
from relay_models.embedded import EmbeddedServer
now = [2_000_000_000.0]
client = EmbeddedServer(sys.argv[1], clock=lambda: now[0]).client()
client.set("a", "1")
now[0] += 500
for number in range(int(sys.argv[2])):
    client.set(f"k{number}", "1")
print(*client.time(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("count", [1, 1600])
def test_time_goes_on_after_a_kill(tmp_path: Path, count: int) -> None:
    seconds, micros = map(int, python(KILLED, tmp_path / "x.db", count, check=False).split())
    with EmbeddedServer(tmp_path / "x.db") as server:
        assert server.client().time() >= (seconds, micros)


def test_keys_expire_by_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    with EmbeddedServer(tmp_path / "x.db", clock=clock) as server:
        client = server.client()
        client.set("a", "1", ex=100)
        assert client.ttl("a") == 100
        clock.now += 99
        assert client.get("a") == b"1"
        clock.now += 2
        assert client.get("a") is None


def test_without_a_clock_it_is_the_machines() -> None:
    with EmbeddedServer() as server:
        before = time.time()
        assert before - 0.001 <= told(server) <= time.time() + 0.001


def test_entries_read_in_the_future_can_be_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    with EmbeddedServer() as server:
        client = server.client(decode_responses=True)
        client.xgroup_create("stream", "group", "0", mkstream=True)
        first = client.xadd("stream", {"a": 1})
        client.xreadgroup("group", "reader", {"stream": ">"})
        now -= DAY
        (entry,) = client.xpending_range("stream", "group", "-", "+", 10, idle=0)
        assert entry["time_since_delivered"] == 0
        assert client.xinfo_consumers("stream", "group")[0]["idle"] == 0
        assert client.xclaim("stream", "group", "other", 1000, [first]) == []
        assert client.xclaim("stream", "group", "other", 0, [first], justid=True) == [first]
        assert client.xautoclaim("stream", "group", "third", 0, justid=True) == [first]
        second = client.xadd("stream", {"a": 2})
        assert [number for number, _ in client.xrange("stream")] == [first, second]
