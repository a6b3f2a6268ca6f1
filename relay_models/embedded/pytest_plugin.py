"""Pytest fixtures that come with the package: a Redis with JSON and search for each test, without a server.

pytest loads this module in every run of an environment that has the package, so the engine is imported only when a
test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import redis

    from relay_models.embedded import EmbeddedServer


@pytest.fixture
def embedded_redis_server() -> Iterator[EmbeddedServer]:
    """Yield an `EmbeddedServer` in memory, closed after the test."""
    from relay_models.embedded import EmbeddedServer  # lazy: start-up time

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def embedded_redis_file(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Yield an `EmbeddedServer` in a file in the test's ``tmp_path``, closed after the test."""
    from relay_models.embedded import EmbeddedServer  # lazy: start-up time

    with EmbeddedServer(tmp_path / "embedded.db") as server:
        yield server


@pytest.fixture
def embedded_redis(embedded_redis_server: EmbeddedServer) -> Iterator[redis.Redis]:  # type: ignore[type-arg]
    """Yield a synchronous redis-py client of the test's `embedded_redis_server`."""
    client = embedded_redis_server.client()
    yield client
    client.close()


@pytest.fixture
def async_embedded_redis(embedded_redis_server: EmbeddedServer) -> Any:
    """Return an asyncio redis-py client of the test's `embedded_redis_server`. It connects when it is first used."""
    return embedded_redis_server.async_client()


@pytest.fixture
def embedded_redis_url() -> Iterator[str]:
    """Yield the URL of an engine that a thread serves on a free loopback port, for programs that only take a URL."""
    from relay_models.embedded import EmbeddedServer, serving_in_thread  # lazy: start-up time

    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url
