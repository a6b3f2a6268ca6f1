"""Keys to, from and between clusters: NeMo Relay's own, and dumps of everything."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis.cluster import RedisCluster

from relay_models.embedded import EmbeddedServer, TransferError, dump, restore
from relay_models.errors import StorageError
from relay_models.native.sync import export_native, import_native
from relay_models.sync import RedisBackend
from tests.backend.stores import HOSTILE, make_run
from tests.servers.clusters import ClusterSetup

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="needs redis-server (Debian: apt install redis-server)"
)


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSetup]:
    with ClusterSetup(tmp_path_factory.mktemp("cluster")) as setup:
        yield setup


@pytest.fixture
def cluster(setup: ClusterSetup) -> Iterator[Any]:
    with RedisCluster(host="127.0.0.1", port=setup.primaries[0]) as client:
        client.flushall(target_nodes=RedisCluster.PRIMARIES)
        yield client


def dumped(client: Any) -> bytes:
    file = io.BytesIO()
    dump(client, file)
    return file.getvalue()


def contents(dump: bytes) -> list[bytes]:
    """The lines of a dump but the first, in an order of their own."""
    return sorted(dump.splitlines()[1:])


def fill(client: Any) -> None:
    for number, name in enumerate(["}", "a}b", "{", "{}x", "{a}{b", *HOSTILE]):
        client.set(f"text:{name}", number)
    client.set("kept for a while", "x", px=10_000_000)
    client.rpush("a list", *range(1200))
    client.hset("a hash", "field", 1)
    client.xadd("a stream", {"a": 1}, id="1-1")


def test_dumps_go_from_a_cluster_to_one_server_and_back(cluster: Any) -> None:
    fill(cluster)
    first = dumped(cluster)
    with EmbeddedServer() as server, server.client() as single:
        restore(single, io.BytesIO(first))
        assert contents(dumped(single)) == contents(first)
        cluster.flushall(target_nodes=RedisCluster.PRIMARIES)
        restore(cluster, io.BytesIO(dumped(single)))
    assert contents(dumped(cluster)) == contents(first)
    with pytest.raises(TransferError, match="exists already"):
        restore(cluster, io.BytesIO(first))
    restore(cluster, io.BytesIO(first), replace=True)
    assert contents(dumped(cluster)) == contents(first)


def test_a_dump_is_refused_while_slots_move_and_a_restore_is_right(setup: ClusterSetup, cluster: Any) -> None:
    fill(cluster)
    file = dumped(cluster)
    source, target = setup.primaries[:2]
    slots = [slot for slot in range(16384 // 3) if setup.run(source, "CLUSTER", "COUNTKEYSINSLOT", slot)]
    setup.run(source, "CLUSTER", "SETSLOT", slots[0], "MIGRATING", setup.id_of(target))
    with pytest.raises(TransferError, match="being moved"):
        dumped(cluster)
    setup.run(source, "CLUSTER", "SETSLOT", slots[0], "STABLE")
    cluster.flushall(target_nodes=RedisCluster.PRIMARIES)
    moving = threading.Thread(target=lambda: [setup.move_slot(slot, source, target) for slot in slots])
    moving.start()
    restore(cluster, io.BytesIO(file), replace=True)
    moving.join()
    assert contents(dumped(cluster)) == contents(file)


def test_native_keys_are_written_to_a_cluster_and_imported_from_it(setup: ClusterSetup, cluster: Any) -> None:
    runs = [make_run(agent, number) for number in range(120) for agent in ("a", "b")]
    with RedisBackend.embedded() as store:
        store.store_runs(runs)
        report = export_native(store, setup.url)
        assert (report.runs, report.new_runs) == (240, 240)
        assert export_native(store, setup.url).new_runs == 0
    with RedisBackend.embedded() as store:
        import_native(setup.url, store)
        for agent in ("a", "b"):
            assert store.list_runs(agent) == [run for run in runs if run.agent_id == agent]


def test_the_url_of_one_node_is_refused_with_the_one_to_use(setup: ClusterSetup, cluster: Any) -> None:
    with RedisBackend.embedded() as store:
        store.store_runs([make_run("a", number) for number in range(20)])
        with pytest.raises(StorageError, match=r"redis\+cluster://"):
            export_native(store, f"redis://127.0.0.1:{setup.primaries[1]}")
