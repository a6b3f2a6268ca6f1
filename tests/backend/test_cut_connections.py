"""A client that is killed between any two commands: each fact is written as a whole, or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis

from relay_models.embedded import EmbeddedServer, dump, restore, serving_in_thread
from relay_models.embedded.errors import TransferError
from relay_models.errors import StorageError
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run
from tests.servers.cutting_proxy import CuttingProxy, cutting_proxy

DAY = timedelta(days=1)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "server":
        yield os.environ["RELAY_MODELS_TEST_REDIS_URL"]
        return
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url


@pytest.fixture
def proxy(url: str) -> Iterator[CuttingProxy]:
    port = urlsplit(url).port
    assert port is not None
    with cutting_proxy(port) as made:
        yield made


@pytest.fixture
def prefix(url: str) -> Iterator[str]:
    """A prefix of the test's own; everything under it is deleted afterwards."""
    own = f"cut{uuid4().hex[:12]}:"
    yield own
    with redis.Redis.from_url(url) as client:
        for name in client.execute_command("FT._LIST"):
            if name.startswith(own.encode()):
                client.execute_command("FT.DROPINDEX", name)
        for key in client.scan_iter(own + "*"):
            client.delete(key)


def cut_everywhere(proxy: CuttingProxy, url: str, prefix: str, change: Any, check: Any) -> int:
    """Make a change that is cut after each number of commands in turn, until it comes through; check after each."""
    for left in range(200):
        with RedisBackend.connect(proxy.url, prefix, run_ttl=DAY, retries=0) as backend:
            proxy.left = left
            try:
                change(backend)
            except StorageError:
                is_cut = True
            else:
                is_cut = False
            proxy.left = None
        with RedisBackend.connect(url, prefix) as backend:
            check(backend)
            backend.delete_runs("all")
        if not is_cut:
            return left
    raise AssertionError("it never came through")


def every_run_is_whole(backend: RedisBackend) -> None:
    listed = {str(run.id) for run in backend.list_runs("a")}
    keys = list(backend.client.scan_iter(backend.key_prefix + "@run:*"))
    assert {key.decode().rpartition(":")[2] for key in keys} == listed
    assert all(0 < backend.client.pttl(key) <= DAY.total_seconds() * 1000 for key in keys)


def test_a_run_never_lacks_its_expiry(proxy: CuttingProxy, url: str, prefix: str) -> None:
    run = make_run("a", 1)
    assert cut_everywhere(proxy, url, prefix, lambda backend: backend.store_run(run), every_run_is_whole) >= 4


def test_a_replaced_run_is_whole(proxy: CuttingProxy, url: str, prefix: str) -> None:
    run = make_run("a", 1)

    def change(backend: RedisBackend) -> None:
        backend.store_run(run)
        backend.store_runs([run, make_run("a", 2, run_id=run.id), make_run("a", 3)])

    assert cut_everywhere(proxy, url, prefix, change, every_run_is_whole) >= 15


VALUES: dict[str, Any] = {
    "text": lambda client, key, new: client.set(key, "new" if new else "old", px=10_000_000),
    "list": lambda client, key, new: client.rpush(key, *range(1200 if new else 3)),
    "stream": lambda client, key, new: [client.xadd(key, {"new": str(new)}, id=f"{n}-1") for n in range(1, 4)],
    "json": lambda client, key, new: client.execute_command("JSON.SET", key, "$", '{"new": 1}' if new else "[]"),
}


def contents(client: redis.Redis, keys: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in keys:
        kind = client.type(key)
        reads: dict[bytes, Any] = {
            b"string": lambda key: (client.get(key), client.ttl(key) > 0),
            b"list": lambda key: client.lrange(key, 0, -1),
            b"stream": client.xrange,
            b"ReJSON-RL": lambda key: client.execute_command("JSON.GET", key),
            b"none": lambda key: None,
        }
        found[key] = reads[kind](key)
    return found


@pytest.mark.parametrize("replace", [True, False])
def test_a_restored_key_has_its_old_or_its_new_value(
    proxy: CuttingProxy, url: str, prefix: str, *, replace: bool
) -> None:
    keys = [prefix + name for name in VALUES]
    with redis.Redis.from_url(url) as client:
        for name, write in VALUES.items():
            write(client, prefix + name, True)
        new = contents(client, keys)
        file = io.BytesIO()
        dump(client, file, match=prefix + "*")
        client.delete(*keys)
        old = contents(client, keys)
        for left in range(100):
            client.delete(*keys)
            if replace:
                for name, write in VALUES.items():
                    write(client, prefix + name, False)
                old = contents(client, keys)
            through = redis.Redis.from_url(proxy.url, retry=None)
            through.ping()
            proxy.left = left
            file.seek(0)
            is_whole = False
            with suppress(redis.ConnectionError, TransferError):
                restore(through, file, replace=replace)
                is_whole = True
            proxy.left = None
            through.close()
            now = contents(client, keys)
            assert all(now[key] in (old[key], new[key]) for key in keys)
            assert all(client.pttl(key) > 0 for key in client.scan_iter("relay-models-restore:*"))
            if is_whole:
                break
        assert now == new
        assert left > 10
        for key in client.scan_iter("relay-models-restore:*"):
            client.delete(key)


def test_a_value_that_is_refused_leaves_the_old_one(url: str, prefix: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("JSON.SET", prefix + "json", "$", '"old"')
        file = io.BytesIO()
        dump(client, file, match=prefix + "*")
        damaged = io.BytesIO(file.getvalue().replace(b'"\\"old\\""', b'"{"'))
        assert damaged.getvalue() != file.getvalue()
        with pytest.raises(TransferError, match=prefix + "json"):
            restore(client, damaged, replace=True)
        assert client.execute_command("JSON.GET", prefix + "json") == b'"old"'
        assert not list(client.scan_iter("relay-models-restore:*"))
