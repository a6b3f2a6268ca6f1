"""Transports by URL, client and path: what they send, what they close, and that both faces have the same names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import relay_models.transport
import relay_models.transport.sync
from relay_models import errors
from relay_models.embedded import EmbeddedServer, serving_in_thread
from relay_models.transport import ConnectionOptions, open_client, open_embedded, open_url


def test_both_faces_have_the_same_names() -> None:
    assert relay_models.transport.__all__ == relay_models.transport.sync.__all__


async def test_a_transport_knows_where_it_goes_and_how_long_it_waits() -> None:
    transport = open_url("redis://alice:secret@localhost:1/", ConnectionOptions(timeout=7, retries=3))
    assert transport.target.label == "redis://alice@localhost:1"
    assert (transport.timeout, transport.retries, transport.reconnects) == (7, 3, 0)
    await transport.close()
    assert transport.is_closed
    with pytest.raises(errors.StorageError, match="closed"):
        await transport.execute("PING")


async def test_a_timeout_in_the_url_wins() -> None:
    transport = open_url("redis://localhost:1?socket_timeout=2")
    assert transport.timeout == 2
    await transport.close()


async def test_a_pipeline_gives_replies_in_order_and_errors_in_their_places() -> None:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        transport = open_url(endpoint.url)
        replies = await transport.pipeline([("SET", "a", 1), ("LPUSH", "a", 2), ("GET", "a")])
        assert replies[0] in (b"OK", "OK")
        assert isinstance(replies[1], Exception)
        assert replies[2] == b"1"
        async with transport.conversation() as pipeline:
            await pipeline.send([("GET", "a")])
            await pipeline.send([("INCR", "a"), ("GET", "a")])
            assert await pipeline.receive() == [b"1"]
            assert await pipeline.receive() == [2, b"2"]
        pending = await transport.begin(("GET", "a"))
        assert await transport.finish(pending, ("GET", "a")) == b"2"
        with pytest.raises(errors.StorageError, match="LPUSH"):
            await transport.execute("LPUSH", "a", 2)
        await transport.close()
        await transport.close()


async def test_a_client_that_was_given_stays_open() -> None:
    with EmbeddedServer() as server:
        client = server.async_client()
        transport = open_client(client)
        assert await transport.execute("INCR", "a") == 1
        await transport.close()
        assert await client.get("a") in (b"1", "1")
        await client.aclose()


async def test_databases_that_have_no_search_are_allowed_where_none_is_needed() -> None:
    with EmbeddedServer() as server:
        client = server.async_client(db=3)
        with pytest.raises(errors.InvalidConfigurationError, match="database 3"):
            open_client(client)
        transport = open_client(client, any_database=True)
        assert transport.target.label == "embedded/3"
        assert await transport.execute("INCR", "a") == 1
        await client.aclose()


async def test_an_embedded_engine_is_closed_with_its_transport(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for number in range(2):
        transport = open_embedded(path)
        assert await transport.execute("INCR", "a") == number + 1
        with pytest.raises(errors.StorageError, match=r"store\.db"):
            open_embedded(path)
        await transport.close()


async def test_a_client_of_the_other_kind_is_refused() -> None:
    with EmbeddedServer() as server, server.client() as blocking:
        with pytest.raises(errors.InvalidConfigurationError, match="asyncio"):
            open_client(blocking)
        with pytest.raises(errors.InvalidConfigurationError, match="not int"):
            open_client(17)
        transport = relay_models.transport.sync.open_client(blocking)
        assert await asyncio.to_thread(transport.execute, "INCR", "a") == 1
