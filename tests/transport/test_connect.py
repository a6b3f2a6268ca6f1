"""What `connect` says about servers and settings that cannot work."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import redis

from relay_models import errors
from relay_models.backend import RedisBackend
from relay_models.embedded import EmbeddedServer
from relay_models.sync import RedisBackend as SyncRedisBackend
from tests.servers.ports import free_port

from .conftest import PlainRedis

QUICK = {"retries": 1, "timeout": 5.0, "connect_timeout": 2.0}


async def failure(url: str, **options: Any) -> errors.RelayModelsError:
    """The one error that both colours of `connect` raise."""
    with pytest.raises(errors.RelayModelsError) as caught:
        await RedisBackend.connect(url, **QUICK | options)
    with pytest.raises(type(caught.value)) as again:
        await asyncio.to_thread(SyncRedisBackend.connect, url, **QUICK | options)
    assert type(again.value) is type(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


async def test_nobody_listens() -> None:
    port = free_port()
    error = await failure(f"redis://alice:s3cret@127.0.0.1:{port}")
    assert isinstance(error, errors.ConnectionFailedError)
    assert isinstance(error, ConnectionError)
    assert f"127.0.0.1:{port}" in str(error)
    assert "s3cret" not in str(error)


async def test_no_such_host_and_no_such_socket(tmp_path: Any) -> None:
    assert isinstance(await failure("redis://no-such-host.invalid"), errors.ConnectionFailedError)
    assert isinstance(await failure(f"unix://{tmp_path}/none.sock"), errors.ConnectionFailedError)


async def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = await failure(f"redis://127.0.0.1:{port}", timeout=0.2, connect_timeout=0.2)
    assert isinstance(error, errors.StoreTimeoutError)
    assert "timeout" in str(error)


async def test_a_refused_login(plain_redis: PlainRedis, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error = await failure(f"redis://alice:wr0ng-word@127.0.0.1:{plain_redis.port}")
    assert isinstance(error, errors.AuthenticationFailedError)
    assert isinstance(error, PermissionError)
    everything = "".join(traceback.format_exception(error, chain=True)) + caplog.text
    assert "wr0ng-word" not in str(error)
    assert "wr0ng-word" not in caplog.text
    assert "user:password@" in everything


async def test_a_missing_login(start_plain_redis: Callable[..., PlainRedis]) -> None:
    server = start_plain_redis("--requirepass", "open-sesame")
    assert isinstance(await failure(f"redis://127.0.0.1:{server.port}"), errors.AuthenticationFailedError)


@pytest.mark.parametrize("how", ["tcp", "login", "tls", "socket"])
async def test_a_server_without_the_modules(plain_redis: PlainRedis, how: str) -> None:
    options: dict[str, Any] = {}
    if how == "tcp":
        url = f"redis://127.0.0.1:{plain_redis.port}"
    elif how == "login":
        url = f"redis://alice:{quote('s3cret/@', safe='')}@127.0.0.1:{plain_redis.port}"
    elif how == "tls":
        url, options = f"rediss://localhost:{plain_redis.tls_port}", {"ssl_ca_certs": str(plain_redis.certificate)}
    else:
        url = f"unix://{plain_redis.socket}"
    error = await failure(url, **options)
    assert isinstance(error, errors.MissingModuleError)
    assert "Redis 8" in str(error)


async def test_tls_is_verified(plain_redis: PlainRedis) -> None:
    error = await failure(f"rediss://localhost:{plain_redis.tls_port}")
    assert isinstance(error, errors.ConnectionFailedError)
    assert "certificate" in str(error)


@pytest.mark.parametrize("url", ["redis://127.0.0.1/3", "unix:///run/none.sock?db=2"])
async def test_databases_other_than_0(url: str) -> None:
    assert isinstance(await failure(url), errors.InvalidConfigurationError)


async def test_options_that_do_not_exist() -> None:
    error = await failure("redis://127.0.0.1", no_such_option=1)
    assert isinstance(error, errors.InvalidConfigurationError)
    assert "no_such_option" in str(error)


@pytest.mark.parametrize("prefix", ["nul\0", "\ud800", "a@run:b", "x@plan:"])
async def test_prefixes_that_cannot_work(prefix: str) -> None:
    error = await failure("redis://127.0.0.1:1", key_prefix=prefix)
    assert isinstance(error, errors.InvalidConfigurationError)


async def test_from_client_refuses_what_it_cannot_use() -> None:
    with EmbeddedServer() as server:
        async with server.async_client(db=1) as other:
            with pytest.raises(errors.InvalidConfigurationError, match="database"):
                await RedisBackend.from_client(other)
        with server.client() as blocking, pytest.raises(errors.InvalidConfigurationError):
            await RedisBackend.from_client(blocking)


async def test_from_client_leaves_the_client_open() -> None:
    with EmbeddedServer() as server:
        client = server.async_client()
        async with await RedisBackend.from_client(client) as backend:
            assert await backend.agents() == []
        assert await client.ping()
        with pytest.raises(errors.StorageError, match="closed"):
            await backend.agents()
        await client.aclose()


async def test_no_index_and_not_allowed_to_make_one() -> None:
    with EmbeddedServer() as server:
        client = server.async_client()
        with pytest.raises(errors.IndexMissingError, match="create_index=True"):
            await RedisBackend.from_client(client, create_index=False)
        await (await RedisBackend.from_client(client)).close()
        await (await RedisBackend.from_client(client, create_index=False)).close()
        await client.aclose()


def test_the_repr_says_where_but_not_the_password() -> None:
    with SyncRedisBackend.embedded(key_prefix="here:") as backend:
        assert repr(backend) == "<RedisBackend embedded:memory key_prefix='here:'>"
    assert "closed" in repr(backend)
    with EmbeddedServer() as server, server.client(password="hidden-word") as client:
        backend = SyncRedisBackend.from_client(client)
        assert "hidden-word" not in repr(backend)
        assert isinstance(backend.client, redis.Redis)
