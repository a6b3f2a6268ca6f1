"""Commands with keys on a Redis Cluster, with real servers: routing, moved slots, lost primaries, what is refused."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from relay_models import errors
from relay_models.transport import ConnectionOptions, Transaction, as_cluster, open_client, open_url, sync, translate
from relay_models.transport.topology import slot_of
from tests.servers.clusters import ClusterSetup
from tests.servers.ports import free_port
from tests.servers.sentinels import wait_until
from tests.transport.conftest import make_certificate

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="needs redis-server (Debian: apt install redis-server)"
)
KEYS = [f"run:{number}" for number in range(300)]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSetup]:
    """A cluster that no test changes."""
    with ClusterSetup(tmp_path_factory.mktemp("cluster")) as setup:
        yield setup


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[ClusterSetup]:
    with ClusterSetup(tmp_path, replicas=1) as setup:
        yield setup


async def store_until(transport: Any, stop: asyncio.Event, acknowledged: list[int]) -> None:
    """Write numbered keys in batches through a pipeline, two of them under way at once; note what is acknowledged."""
    sent: list[range] = []
    async with transport.conversation() as pipeline:
        for start in itertools.count(0, 50):
            if stop.is_set():
                break
            batch = range(start, start + 50)
            await pipeline.send([("RPUSH", f"list:{number % 200}", number) for number in batch])
            sent.append(batch)
            if len(sent) > 1:
                replies = await pipeline.receive()
                assert not [reply for reply in replies if isinstance(reply, Exception)]
                acknowledged += sent.pop(0)
        for batch in sent:
            await pipeline.receive()
            acknowledged += batch


async def lists_of(transport: Any) -> dict[int, list[int]]:
    replies = await transport.pipeline([("LRANGE", f"list:{number}", 0, -1) for number in range(200)])
    return {number: [int(value) for value in reply] for number, reply in enumerate(replies)}


async def send_ahead(transport: Any, command: tuple[Any, ...]) -> None:
    async with transport.conversation() as pipeline:
        await pipeline.send([command])
        await pipeline.receive()


async def wait_for(condition: Any) -> None:
    """Wait, while other tasks run, until something is true."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (servers set no event)
            await asyncio.sleep(0.01)


async def test_each_command_goes_to_the_owner_of_its_key(still: ClusterSetup) -> None:
    transport = open_url(still.url)
    replies = await transport.pipeline([("SET", key, number) for number, key in enumerate(KEYS)])
    assert set(replies) <= {b"OK", "OK"}
    assert await transport.pipeline([("GET", key) for key in KEYS]) == [b"%d" % number for number in range(len(KEYS))]
    assert sum(still.run(port, "DBSIZE") for port in still.primaries) == len(KEYS)
    assert await transport.execute("DBSIZE") == len(KEYS)
    values = await transport.execute("MGET", *KEYS, "none")
    assert values == [*(b"%d" % number for number in range(len(KEYS))), None]
    assert await transport.execute("EXISTS", *KEYS) == len(KEYS)
    pending = await transport.begin(("GET", KEYS[7]))
    assert await transport.finish(pending, ("GET", KEYS[7])) == b"7"
    assert len(await transport.execute("TIME")) == 2
    replies = await transport.pipeline([("GET", KEYS[0]), ("LPUSH", KEYS[1], 1), ("PING",)])
    assert replies[0] == b"0"
    assert isinstance(replies[1], Exception)
    assert replies[2] in (b"PONG", "PONG")
    assert await transport.execute("DEL", *KEYS) == len(KEYS)
    await transport.close()
    with pytest.raises(errors.StorageError, match="closed"):
        await transport.execute("PING")


async def test_a_scan_covers_all_primaries(still: ClusterSetup) -> None:
    transport = open_url(still.url)
    await transport.pipeline([("SET", key, 1) for key in KEYS])
    found: list[bytes] = []
    cursor: Any = 0
    while True:
        cursor, keys = await transport.execute("SCAN", cursor, "MATCH", "run:*", "COUNT", 20)
        found += keys
        if int(cursor) == 0:
            break
    assert sorted(found) == sorted(key.encode() for key in KEYS)
    await transport.execute("DEL", *KEYS)
    await transport.close()


async def test_a_scan_misses_no_key_that_moves_to_where_it_has_been(setup: ClusterSetup) -> None:
    transport = open_url(setup.url)
    await transport.pipeline([("SET", key, 1) for key in KEYS])
    cursor, keys = await transport.execute("SCAN", 0, "COUNT", 1000)
    found = set(keys)
    assert 0 < len(found) < len(KEYS)  # all of one primary
    slots = {slot_of(key.encode()) for key in KEYS if key.encode() not in found}

    def owner(slot: int) -> int:
        return next(port for port in setup.primaries if setup.run(port, "CLUSTER", "COUNTKEYSINSLOT", slot))

    def move() -> None:
        target = owner(slot_of(min(found)))
        for slot in sorted(slots)[:10]:
            setup.move_slot(slot, owner(slot), target)

    await asyncio.to_thread(move)
    while int(cursor):
        cursor, keys = await transport.execute("SCAN", cursor, "COUNT", 1000)
        found |= set(keys)
    assert found == {key.encode() for key in KEYS}
    await transport.close()


async def test_the_plain_url_of_a_node_is_used_as_a_cluster(still: ClusterSetup) -> None:
    url = f"redis://127.0.0.1:{still.primaries[1]}"
    alone = open_url(url)
    foreign = next(key for key in KEYS if slot_of(key.encode()) < 1000)
    with pytest.raises(errors.StorageError, match=r"node of a Redis Cluster.*redis\+cluster"):
        await alone.execute("SET", foreign, 1)
    transport = await as_cluster(alone)
    assert transport.target.label == f"redis+cluster://127.0.0.1:{still.primaries[1]}"
    await transport.pipeline([("SET", key, 1) for key in KEYS])
    assert await transport.execute("DEL", *KEYS) == len(KEYS)
    await transport.close()
    other = await asyncio.to_thread(lambda: sync.as_cluster(sync.open_url(url)))
    assert await asyncio.to_thread(other.execute, "DEL", *KEYS) == 0
    await asyncio.to_thread(other.close)


async def test_clients_of_redis_pys_cluster(still: ClusterSetup) -> None:
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=still.primaries[0])
    transport = open_client(client)
    await transport.pipeline([("SET", key, 1) for key in KEYS])
    assert transport.client is client
    await transport.close()
    assert await client.get(KEYS[0]) == b"1"
    await client.aclose()
    with redis.RedisCluster(host="127.0.0.1", port=still.primaries[0]) as blocking:
        other = sync.open_client(blocking)
        assert other.execute("DEL", *KEYS) == len(KEYS)
        other.close()


async def test_addresses_behind_nat_are_mapped(still: ClusterSetup) -> None:
    asked: set[tuple[str, int]] = set()

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        asked.add(address)
        return "localhost", address[1]

    transport = open_url(still.url, ConnectionOptions(address_remap=remap))
    await transport.pipeline([("SET", key, 1) for key in KEYS])
    assert await transport.execute("DEL", *KEYS) == len(KEYS)
    assert asked == {("127.0.0.1", port) for port in still.primaries}
    await transport.close()


async def test_a_cluster_without_search_is_refused(still: ClusterSetup) -> None:
    transport = open_url(still.url)
    with pytest.raises(errors.MissingModuleError, match="Redis 8"):
        await transport.execute("FT.SEARCH", "index", "*")
    await transport.close()


async def test_no_node_answers() -> None:
    transport = open_url(f"redis+cluster://127.0.0.1:{free_port()}", ConnectionOptions(retries=0))
    with pytest.raises(errors.ConnectionFailedError, match=r"redis\+cluster://"):
        await transport.execute("GET", "a")
    await transport.close()


async def test_lists_keep_their_order_while_slots_move_and_a_primary_is_added(setup: ClusterSetup) -> None:
    transport = open_url(setup.url)
    acknowledged: list[int] = []
    stop = asyncio.Event()
    writing = asyncio.create_task(store_until(transport, stop, acknowledged))
    await wait_for(lambda: len(acknowledged) > 500)

    def reshard() -> None:
        new = setup.add()
        slots = sorted({slot_of(f"list:{number}".encode()) for number in range(0, 200, 7)})
        for slot in slots:
            size = 16384 // 3
            source = setup.primaries[min(slot // (size + 1), 2)]
            owner = next(port for port in setup.primaries[:3] if setup.run(port, "CLUSTER", "COUNTKEYSINSLOT", slot))
            setup.move_slot(slot, owner or source, new)

    await asyncio.to_thread(reshard)
    before = len(acknowledged)
    await wait_for(lambda: len(acknowledged) > before + 500)
    stop.set()
    await writing
    lists = await lists_of(transport)
    for number, values in lists.items():
        assert values == [each for each in acknowledged if each % 200 == number]
    await transport.close()


@pytest.mark.parametrize("how", ["promote", "kill"])
async def test_a_lost_primary_loses_nothing_that_its_replica_had_to_have(setup: ClusterSetup, how: str) -> None:
    transport = open_url(setup.url, ConnectionOptions(timeout=10, replicas=1, replica_timeout=1))
    acknowledged: list[int] = []
    stop = asyncio.Event()

    async def store() -> None:
        async with transport.conversation() as pipeline:
            for start in itertools.count(0, 50):
                if stop.is_set():
                    return
                batch = range(start, start + 50)
                await pipeline.send([("SET", f"run:{number}", number) for number in batch])
                try:
                    await pipeline.receive()
                except errors.NotReplicatedError:
                    assert how == "kill"  # the promoted replica has none of its own
                    return
                acknowledged.extend(batch)

    writing = asyncio.create_task(store())
    await wait_for(lambda: len(acknowledged) > 500)
    victim = setup.primaries[0]
    (replica,) = setup.replicas[victim]
    if how == "kill":
        setup.kill(victim)
        await asyncio.to_thread(wait_until, lambda: setup.run(replica, "ROLE")[0] == "master")
        await writing
    else:
        await asyncio.to_thread(setup.fail_over, replica)
        before = len(acknowledged)
        await wait_for(lambda: len(acknowledged) > before + 500)
        stop.set()
        await writing
    await transport.close()
    reader = open_url(setup.url)
    found = await reader.pipeline([("GET", f"run:{number}") for number in acknowledged])
    assert [number for number, value in zip(acknowledged, found, strict=True) if value is None] == []
    await reader.close()


async def test_documents_are_read_from_replicas_where_asked(setup: ClusterSetup) -> None:
    transport = open_url(setup.url, ConnectionOptions(replicas=1, read_from="replica"))
    await transport.pipeline([("SET", key, key) for key in KEYS])

    def reads(ports: list[int]) -> int:
        found = (setup.client(port).info("commandstats").get("cmdstat_get", {}) for port in ports)
        return sum(each.get("calls", 0) for each in found)

    replicas = [port for ports in setup.replicas.values() for port in ports]
    for key in KEYS[:30]:
        assert await transport.read("GET", key) == key.encode()
    assert (reads(replicas), reads(setup.primaries)) == (30, 0)
    assert await transport.read_many([("GET", key) for key in KEYS]) == [key.encode() for key in KEYS]
    assert (reads(replicas), reads(setup.primaries)) == (30 + len(KEYS), 0)
    # A promoted one is a primary, a dead one is left alone, and the primary answers where there is none.
    victim = setup.primaries[0]
    (heir,) = setup.replicas[victim]
    await asyncio.to_thread(setup.fail_over, heir)
    setup.kill(victim)
    for key in KEYS:
        assert await transport.read("GET", key) == key.encode()
    assert await transport.read_many([("GET", key) for key in KEYS]) == [key.encode() for key in KEYS]
    assert await transport.execute("SET", KEYS[0], "new", "NX") is None
    await transport.close()


async def test_a_cluster_that_is_down_is_waited_for(setup: ClusterSetup) -> None:
    lost = [setup.primaries[2], *setup.replicas[setup.primaries[2]]]
    for port in lost:
        setup.kill(port)
    await asyncio.to_thread(wait_until, lambda: "state:fail" in setup.run(setup.primaries[0], "CLUSTER", "INFO"))
    key = next(key for key in KEYS if slot_of(key.encode()) < 1000)
    impatient = open_url(setup.url, ConnectionOptions(timeout=0.5))
    with pytest.raises(errors.ConnectionFailedError, match="cluster is down"):
        await impatient.execute("SET", key, 1)
    await impatient.close()
    transport = open_url(setup.url)
    storing = asyncio.create_task(transport.execute_once("SET", key, 1))
    for port in lost:
        await asyncio.to_thread(setup.start, port)
    assert await storing in (b"OK", "OK")
    await transport.close()


async def test_calls_end_in_their_time_where_nodes_hang(setup: ClusterSetup) -> None:
    victim = setup.primaries[1]
    options = ConnectionOptions(timeout=1, connect_timeout=1)
    key = next(key for key in KEYS if len(setup.primaries) * slot_of(key.encode()) // 16384 == 1)
    used, new = open_url(setup.url, options), open_url(setup.url, options)
    await used.execute("SET", key, 1)
    hanging = [victim, *setup.replicas[victim]]
    for port in hanging:
        setup.pause(port)
    try:
        for transport in (used, new, used):
            began = time.monotonic()
            with pytest.raises(errors.StorageError):
                await transport.execute("SET", key, 2)
            with pytest.raises(errors.StorageError):
                await send_ahead(transport, ("SET", key, 3))
            assert time.monotonic() - began < 9, "each attempt has had a limit of its own"
    finally:
        for port in hanging:
            setup.resume(port)
    await used.close()
    await new.close()


async def test_a_node_without_memory_is_named(still: ClusterSetup) -> None:
    full, transport = still.primaries[1], open_url(still.url)
    still.run(full, "CONFIG", "SET", "maxmemory", 1)
    try:
        replies = await transport.pipeline([("SET", key, 1) for key in KEYS])
        refused = [translate(reply, transport.target) for reply in replies if isinstance(reply, Exception)]
        assert 0 < len(refused) < len(KEYS)
        for error in refused:
            assert f"(node 127.0.0.1:{full}) has no memory left" in str(error)
            assert "Raise its maxmemory" in str(error)
    finally:
        still.run(full, "CONFIG", "SET", "maxmemory", 0)
    await transport.close()


async def test_transactions_stay_whole_while_slots_move(setup: ClusterSetup) -> None:
    transport = open_url(setup.url)
    source, target = setup.primaries[:2]
    keys = [key for key in KEYS if slot_of(key.encode()) < 16384 // 3][:30]
    moving = asyncio.create_task(
        asyncio.to_thread(lambda: [setup.move_slot(slot_of(key.encode()), source, target) for key in keys])
    )
    rounds = 0
    while not moving.done() or not rounds:
        rounds += 1
        replies = await transport.pipeline(
            [Transaction(("INCR", key), ("INCRBY", key, 9), ("PEXPIRE", key, 100_000)) for key in keys]
        )
        assert replies == [[10 * rounds - 9, 10 * rounds, 1]] * len(keys)
    await moving
    assert set(await transport.pipeline([("GET", key) for key in keys])) == {b"%d" % (10 * rounds)}
    (refused,) = await transport.pipeline([Transaction(("SET", keys[0], "x"), ("GET", keys[0], "too", "many"))])
    assert isinstance(refused, Exception)
    assert await transport.execute("GET", keys[0]) == b"%d" % (10 * rounds)
    await transport.close()


async def test_tls_and_users_with_few_rights(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    options = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    with TlsSetup(tmp_path, options=(*options, "--tls-ca-cert-file", str(certificate))) as setup:
        for port in setup.primaries:
            rights = ("+set", "+get", "+cluster|nodes", "+command|info", "+info", "+hello", "+client")
            setup.run(port, "ACL", "SETUSER", "app", "on", ">hidden-word", "~run:*", "-@all", *rights)
        hosts = setup.url.partition("://")[2]
        transport = open_url(f"rediss+cluster://app:hidden-word@{hosts}", redis_options={"ssl_ca_certs": certificate})
        assert "hidden-word" not in transport.target.label
        assert set(await transport.pipeline([("SET", key, key) for key in KEYS])) <= {b"OK", "OK"}
        assert await transport.pipeline([("GET", key) for key in KEYS]) == [key.encode() for key in KEYS]
        with pytest.raises(errors.PermissionDeniedError) as caught:
            await transport.execute("SET", "other", 1)
        assert "hidden-word" not in str(caught.value)
        await transport.close()
        # A certificate that nobody vouches for, a wrong password, and no TLS where there must be.
        quick = ConnectionOptions(retries=0)
        for url, kind in (
            (f"rediss+cluster://app:hidden-word@{hosts}", errors.ConnectionFailedError),
            (f"rediss+cluster://app:wrong-word@{hosts}?ssl_cert_reqs=none", errors.AuthenticationFailedError),
        ):
            transport = open_url(url, quick)
            with pytest.raises(kind) as caught:
                await transport.execute("GET", KEYS[0])
            assert "-word" not in str(caught.value)
            await transport.close()


class TlsSetup(ClusterSetup):
    """A cluster whose nodes take clients by TLS only."""

    def start(self, port: int) -> None:
        self._options = (*self._options[:8], "--port", "0", "--tls-port", str(port), "--tls-cluster", "yes")
        super().start(port)

    def client(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, socket_timeout=3, decode_responses=True, ssl=True, ssl_cert_reqs="none")
