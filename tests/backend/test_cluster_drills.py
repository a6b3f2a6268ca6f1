"""Faults of a real, disposable cluster (`RELAY_MODELS_TEST_CLUSTER_URL`), while a store on it is written and asked.

A replica is promoted, slots with their keys are moved and come back, a node hangs, is killed and starts again, loses
all it has. What was acknowledged is there afterwards, once and in order; meanwhile an answer is right, or an error of
this library.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from relay_models import errors
from relay_models.sync import RedisBackend
from relay_models.transport.topology import Primary, parse_nodes
from tests.backend.stores import make_run
from tests.conftest import CLUSTER_URL
from tests.servers.sentinels import wait_until

pytestmark = pytest.mark.real_cluster

_AGENTS = ("alpha", "beta")


class Load:
    """A writer and a reader, each in a thread; `problems` has what they saw that must not be."""

    def __init__(self, url: str, prefix: str, **options: Any) -> None:
        self._open = lambda: RedisBackend.connect(url, prefix, **options)
        self._stop = threading.Event()
        self.stored: dict[str, list[str]] = {agent: [] for agent in _AGENTS}
        self.problems: list[str] = []
        self.errors: list[errors.RelayModelsError] = []
        self.may_lose = False
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._read)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait_for(40)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.problems.append("a call does not end")

    @property
    def count(self) -> int:
        """How many runs are acknowledged."""
        return sum(map(len, self.stored.values()))

    def wait_for(self, more: int) -> None:
        """Wait until that many more runs are acknowledged."""
        wanted = self.count + more
        wait_until(lambda: self.count >= wanted or bool(self.problems))

    def check(self) -> None:
        """Compare what is there in the end with what was acknowledged."""
        assert self.problems == []
        with self._open() as backend:
            found = {agent: [str(run.id) for run in backend.list_runs(agent)] for agent in _AGENTS}
            number = sum(map(len, found.values()))
            assert backend.count_runs() == number == len(list(backend.stream_runs()))
            assert sum(row["count"] for row in backend.aggregate_runs(by="agent_id")) == number
        for agent, runs in found.items():
            assert len(runs) == len(set(runs))
            kept = set(runs) & set(self.stored[agent])
            assert [run for run in runs if run in kept] == [run for run in self.stored[agent] if run in kept]
            if not self.may_lose:
                assert kept == set(self.stored[agent])

    def _write(self) -> None:
        with self._open() as backend:
            for start in range(0, 1_000_000, 10):
                if self._stop.is_set():
                    return
                for agent in _AGENTS:
                    runs = [make_run(agent, start + number) for number in range(10)]
                    if self._ask(lambda runs=runs: backend.store_runs(runs)) is not None:
                        self.stored[agent] += [str(run.id) for run in runs]

    def _read(self) -> None:
        with self._open() as backend:
            while not self._stop.is_set():
                for agent in _AGENTS:
                    before = list(self.stored[agent])
                    listed = self._ask(lambda agent=agent: backend.list_runs(agent))
                    if listed is not None:
                        self._judge(agent, before, [str(run.id) for run in listed])
                before_all = self.count
                count = self._ask(backend.count_runs)
                if count is not None and count < before_all and not self.may_lose:
                    self.problems.append(f"counted {count} of {before_all}")

    def _judge(self, agent: str, before: list[str], listed: list[str]) -> None:
        if len(listed) != len(set(listed)):
            self.problems.append(f"{agent} has {len(listed) - len(set(listed))} runs twice")
        if (lost := set(before) - set(listed)) and not self.may_lose:
            self.problems.append(f"{agent} lacks {len(lost)} of {len(before)}")

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except errors.RelayModelsError as error:
            self.errors.append(error)
        except Exception as error:
            self.problems.append(repr(error))
        time.sleep(0.1)
        return None


class Nodes:
    """The nodes of the cluster, for commands to one of them."""

    def __init__(self, url: str) -> None:
        self._first = url.partition("://")[2].partition(",")[0].rpartition("@")[2].partition("/")[0]

    def run(self, address: tuple[str, int], *command: Any) -> Any:
        """Send a command to one node."""
        with redis.Redis(*address, protocol=2, socket_timeout=10) as client:
            connection = client.connection_pool.get_connection()
            try:
                connection.send_command(*command)
                return connection.read_response()
            finally:
                client.connection_pool.release(connection)

    @property
    def primaries(self) -> tuple[Primary, ...]:
        """The primaries."""
        host, _, port = self._first.partition(":")
        return parse_nodes(self.run((host, int(port)), "CLUSTER", "NODES"), (host, int(port))).topology.primaries

    def replica(self, primary: Primary) -> tuple[str, int]:
        """A replica of a primary."""
        found = self.run(primary.address, "ROLE")[2]
        if not found:
            pytest.skip("this cluster has no replicas")
        host, port, _ = found[0]
        return host.decode(), int(port)

    def move(self, slot: int, source: Primary, target: Primary) -> None:
        """Move a slot with its keys."""
        host, port = target.address
        self.run(target.address, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        self.run(source.address, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := self.run(source.address, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.run(source.address, "MIGRATE", host, port, "", 0, 5000, "KEYS", *keys)
        for each in (target, source):
            self.run(each.address, "CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def is_whole(self) -> bool:
        """Whether the cluster works."""
        try:
            return all(b"cluster_state:ok" in self.run(each.address, "CLUSTER", "INFO") for each in self.primaries)
        except redis.RedisError:
            return False


@pytest.fixture
def nodes() -> Nodes:
    assert CLUSTER_URL is not None
    return Nodes(CLUSTER_URL)


@pytest.fixture
def prefix() -> Iterator[str]:
    assert CLUSTER_URL is not None
    prefix = f"drill-{uuid4().hex[:12]}:"
    yield prefix
    with RedisBackend.connect(CLUSTER_URL, prefix) as backend:
        backend.delete_runs("all")


@pytest.fixture
def load(prefix: str) -> Iterator[Load]:
    assert CLUSTER_URL is not None
    with Load(CLUSTER_URL, prefix) as load:
        yield load


def ended(load: Load) -> None:
    """Let the load go on for a while, end it, and compare."""
    load.wait_for(60)
    load.__exit__()
    load.check()


def test_a_replica_is_promoted(nodes: Nodes, load: Load) -> None:
    primary = nodes.primaries[0]
    replica = nodes.replica(primary)
    nodes.run(replica, "CLUSTER", "FAILOVER")
    wait_until(lambda: nodes.run(replica, "ROLE")[0] == b"master")
    ended(load)


def test_slots_are_moved_and_come_back(nodes: Nodes, load: Load) -> None:
    source, target = nodes.primaries[:2]
    slots = [*range(source.slots[0][0], source.slots[0][1])][100:140]
    for slot in slots:
        nodes.move(slot, source, target)
    load.wait_for(60)
    for slot in slots:
        nodes.move(slot, target, source)
    ended(load)


def test_a_node_hangs(nodes: Nodes, load: Load) -> None:
    primary = nodes.primaries[0]
    if primary.address[0] not in ("127.0.0.1", "::1", "localhost"):
        pytest.skip("the cluster is on another machine")
    process = int(nodes.run(primary.address, "INFO", "server").partition(b"process_id:")[2].split()[0])
    os.kill(process, signal.SIGSTOP)
    try:
        time.sleep(1.5)
    finally:
        os.kill(process, signal.SIGCONT)
    ended(load)


def test_a_node_is_killed_and_starts_again(nodes: Nodes, load: Load) -> None:
    primary = nodes.primaries[1]
    if b"yes" not in nodes.run(primary.address, "CONFIG", "GET", "appendonly"):
        load.may_lose = True  # it starts without what it had, unless a replica has it
    try:
        nodes.run(primary.address, "DEBUG", "CRASH-AND-RECOVER", "100")
    except redis.ConnectionError:
        pass
    except redis.ResponseError:
        pytest.skip("this cluster does not allow DEBUG (enable-debug-command local)")
    wait_until(nodes.is_whole)
    ended(load)


def test_a_shard_loses_all_it_has(nodes: Nodes, load: Load) -> None:
    load.may_lose = True
    nodes.run(nodes.primaries[2].address, "FLUSHALL")
    ended(load)
