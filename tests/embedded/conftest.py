"""Engines in memory and in a file, and redis-py clients of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_models.embedded import EmbeddedServer


@pytest.fixture(params=["memory", "file"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """An engine, in memory and in a file."""
    with EmbeddedServer(None if request.param == "memory" else tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest) -> int:
    """The version of the Redis protocol."""
    return int(request.param)
