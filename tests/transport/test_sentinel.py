"""Stores behind sentinels, with real servers: which one is used, what a failover loses, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from relay_models import errors
from relay_models.transport import ConnectionOptions, open_client, open_url, sync
from tests.servers.ports import free_port
from tests.servers.sentinels import SERVICE, SentinelSetup, wait_until

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="needs redis-server (Debian: apt install redis-server)"
)
SAFE = ConnectionOptions(timeout=10, replicas=1)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[SentinelSetup]:
    with SentinelSetup(tmp_path, replicas=2) as setup:
        yield setup


async def store_until(transport: Any, stop: asyncio.Event, acknowledged: list[int]) -> None:
    """Write numbered keys in batches through a pipeline, two of them under way at once; note what is acknowledged."""
    sent: list[range] = []
    async with transport.conversation() as pipeline:
        for start in itertools.count(0, 50):
            if stop.is_set():
                break
            batch = range(start, start + 50)
            await pipeline.send([("SET", f"run:{number}", number) for number in batch])
            sent.append(batch)
            if len(sent) > 1:
                assert not [reply for reply in await pipeline.receive() if isinstance(reply, Exception)]
                acknowledged += sent.pop(0)
        for batch in sent:
            await pipeline.receive()
            acknowledged += batch


def missing(setup: SentinelSetup, acknowledged: list[int]) -> list[int]:
    client = setup.client(setup.primary())
    found = client.mget([f"run:{number}" for number in acknowledged])
    return [number for number, value in zip(acknowledged, found, strict=True) if value is None]


@pytest.mark.parametrize("how", ["failover", "kill"])
async def test_a_lost_primary_loses_nothing_that_a_replica_had_to_have(setup: SentinelSetup, how: str) -> None:
    transport = open_url(setup.url, SAFE)
    acknowledged: list[int] = []
    stop = asyncio.Event()
    writing = asyncio.create_task(store_until(transport, stop, acknowledged))
    old = setup.primary()
    await wait_for(lambda: len(acknowledged) > 500)
    if how == "kill":
        setup.kill(old)
    else:
        await asyncio.to_thread(setup.fail_over)
    await wait_for(lambda: transport.reconnects > 0 and f":{old})" not in transport.target.label)
    before = len(acknowledged)
    await wait_for(lambda: len(acknowledged) > before + 500)
    stop.set()
    await writing
    assert setup.primary() != old
    assert missing(setup, acknowledged) == []
    assert f"primary 127.0.0.1:{setup.primary()}" in transport.target.label
    await transport.close()


async def wait_for(condition: Any) -> None:
    """Wait, while other tasks run, until something is true."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (servers set no event)
            await asyncio.sleep(0.01)


def test_a_failover_loses_nothing_of_threads_that_share_a_store(setup: SentinelSetup) -> None:
    transport = sync.open_url(setup.url, SAFE)
    acknowledged: list[int] = []
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(first: int) -> None:
        try:
            for number in itertools.count(first, 4):
                if stop.is_set():
                    return
                transport.execute("SET", f"run:{number}", number)
                acknowledged.append(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    old = setup.primary()
    wait_until(lambda: len(acknowledged) > 200)
    setup.fail_over()
    wait_until(lambda: setup.primary() != old)
    before = len(acknowledged)
    wait_until(lambda: len(acknowledged) > before + 200)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert missing(setup, acknowledged) == []
    transport.close()


async def test_connections_to_the_old_primary_are_dropped_at_once(setup: SentinelSetup) -> None:
    transport = open_url(setup.url)
    assert await transport.execute("SET", "a", 1) in (b"OK", "OK")
    old = setup.primary()
    await asyncio.to_thread(setup.fail_over)
    await asyncio.to_thread(wait_until, lambda: setup.primary() != old)
    # The old primary still takes writes, and is not used any more.
    for number in range(20):
        await transport.execute("SET", "a", number)
        assert f"primary 127.0.0.1:{setup.primary()}" in transport.target.label
    await asyncio.to_thread(setup.settle)
    assert setup.client(setup.primary()).get("a") == "19"
    await transport.close()


async def test_what_too_few_replicas_have_is_named(setup: SentinelSetup) -> None:
    transport = open_url(setup.url, ConnectionOptions(replicas=3, replica_timeout=0.3, retries=1))
    with pytest.raises(errors.NotReplicatedError, match="2 of 3 replicas") as caught:
        await transport.pipeline([("SET", "a", 1), ("GET", "b"), ("SET", "c", 1)], retry=False)
    assert caught.value.keys == (b"a", b"c")
    assert "a, c" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)
    assert await transport.execute("GET", "a") == b"1"
    await transport.close()


async def test_a_client_of_redis_pys_sentinel(setup: SentinelSetup) -> None:
    addresses = [("127.0.0.1", port) for port in setup.sentinel_ports]
    watchers = redis.asyncio.sentinel.Sentinel(addresses)
    client = watchers.master_for(SERVICE)
    transport = open_client(client, SAFE)
    assert transport.target.label == setup.url
    assert await transport.execute("INCR", "a") == 1
    assert f"primary 127.0.0.1:{setup.primary()}" in transport.target.label
    await transport.close()
    assert await client.incr("a") == 2
    for each in (client, *watchers.sentinels):
        await each.aclose()

    blocking = redis.sentinel.Sentinel(addresses).master_for(SERVICE)
    other = sync.open_client(blocking, SAFE)
    assert other.execute("INCR", "a") == 3
    other.close()
    blocking.close()
    with pytest.raises(errors.InvalidConfigurationError, match="master_for"):
        sync.open_client(redis.sentinel.Sentinel(addresses).slave_for(SERVICE))


async def test_a_replica_is_refused_for_writing(setup: SentinelSetup) -> None:
    replica = next(port for port in setup.ports if port != setup.primary())
    transport = open_url(f"redis://127.0.0.1:{replica}")
    with pytest.raises(errors.StorageError, match=r"is a replica.*sentinel"):
        await transport.execute("SET", "a", 1)
    await transport.close()


async def test_a_sentinel_that_names_another_server_than_the_others(setup: SentinelSetup) -> None:
    primary = setup.primary()
    sentinel = setup.client(setup.sentinel_ports[0])
    sentinel.execute_command("SENTINEL", "REMOVE", SERVICE)
    replica = next(port for port in setup.ports if port != primary)
    sentinel.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", replica, 2)
    transport = open_url(setup.url, ConnectionOptions(timeout=5))
    await transport.execute("SET", "key", 1)
    assert f"primary 127.0.0.1:{primary}" in transport.target.label
    await transport.close()


async def test_sentinels_that_are_away_and_services_that_nobody_knows(setup: SentinelSetup) -> None:
    one = setup.sentinel_ports[2]
    transport = open_url(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{one}/{SERVICE}")
    assert await transport.execute("INCR", "a") == 1
    await transport.close()
    quick = ConnectionOptions(retries=0)
    transport = open_url(f"redis+sentinel://127.0.0.1:{free_port()}/{SERVICE}", quick)
    with pytest.raises(errors.ConnectionFailedError, match="no sentinel names"):
        await transport.execute("PING")
    await transport.close()
    transport = open_url(f"redis+sentinel://127.0.0.1:{one}/other", quick)
    with pytest.raises(errors.ConnectionFailedError, match="'other'"):
        await transport.execute("PING")
    await transport.close()


async def test_sentinels_have_a_login_of_their_own(tmp_path: Path) -> None:
    options = ("--requirepass", "data-word", "--masterauth", "data-word")
    sentinel = ("requirepass watch-word", "sentinel auth-pass {service} data-word", "sentinel sentinel-pass watch-word")
    with SecuredSetup(tmp_path, options=options, sentinel_options=sentinel) as setup:
        hosts = setup.url.partition("://")[2]
        transport = open_url(f"redis+sentinel://:data-word@{hosts}?sentinel_password=watch-word")
        assert await transport.execute("INCR", "a") == 1
        assert "word" not in transport.target.label + repr(transport.target)
        await transport.close()
        transport = open_url(f"redis+sentinel://:data-word@{hosts}", ConnectionOptions(retries=0))
        with pytest.raises(errors.AuthenticationFailedError):
            await transport.execute("PING")
        await transport.close()


class SecuredSetup(SentinelSetup):
    """Servers and sentinels with passwords."""

    def client(self, port: int) -> Any:
        password = "watch-word" if port in self.sentinel_ports else "data-word"
        return redis.Redis(port=port, socket_timeout=2, decode_responses=True, password=password)
