# ruff: noqa
# fmt: off
# Generated from tests/backend/conformance/_async/conftest.py by scripts/generate_sync.py: change that, not this.
"""A place to open stores in: the embedded engine in memory and in a file, and a real server if one is configured."""

from __future__ import annotations

import base64
import functools
import json
import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import ResponseError

from relay_models.backend._sync.backend import RedisBackend
from relay_models.documents import KINDS, Keys
from relay_models.documents.compression import Dictionary, train_dictionary
from relay_models.embedded import EmbeddedServer
from relay_models.records import to_json
from relay_models.transport.sync import open_url
from tests.backend.stores import make_run
from tests.servers.simulated_cluster import SimulatedCluster

REAL_URL = os.environ.get("RELAY_MODELS_TEST_REDIS_URL")
# How stores on it are opened, such as through its sentinels.
STORE_URL = os.environ.get("RELAY_MODELS_TEST_STORE_URL") or REAL_URL
CLUSTER_URL = os.environ.get("RELAY_MODELS_TEST_CLUSTER_URL")


class AnyNode:
    """A client of redis-py for a cluster, which sends commands of the search to some node."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def execute_command(self, name: Any, *arguments: Any) -> Any:
        if not str(name).startswith("FT."):
            return self._client.execute_command(name, *arguments)
        node = self._client.get_default_node()
        return self._client.execute_command(name, *arguments, target_nodes=node)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class Place:
    """One server. Every store opened here gets a prefix of its own unless the test names one."""

    def __init__(
        self,
        path: Path | None,
        url: str | None,
        cluster: SimulatedCluster | None = None,
        dictionary: Dictionary | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.url = cluster.url if cluster else url
        self.is_cluster = "+cluster" in (self.url or "")
        self.cluster = cluster
        self.server: Any = None if self.url else EmbeddedServer(path)
        self.token = f"test-{uuid4().hex[:12]}:"
        raw = REAL_URL if self.url and self.url == STORE_URL else self.url
        self.raw: Any = open_url(raw).client if raw else self.server.client()
        if self.is_cluster:
            self.raw = AnyNode(self.raw)
        self._open: list[Any] = []
        self._prefixes: set[str] = set()

    def open(self, prefix: str = "", **options: Any) -> RedisBackend:
        """A backend for the store with `prefix` (made unique to this place)."""
        prefix = self.token + prefix
        if self.dictionary is not None and prefix not in self._prefixes:
            self._compress(Keys(prefix), self.dictionary)
        self._prefixes.add(prefix)
        if self.url:
            backend = RedisBackend.connect(self.url, prefix, **options)
        else:
            client = self.server.client()
            self._open.append(client)
            backend = RedisBackend.from_client(client, prefix, **options)
        self._open.append(backend)
        return backend

    def run_index(self, backend: RedisBackend, *, text: bool = False) -> str:
        """The name of a store's index of runs."""
        return Keys(backend.key_prefix).index("run", text=text, compressed=self.dictionary is not None)

    def _compress(self, keys: Keys, dictionary: Dictionary) -> None:
        """Make a store one whose records are compressed with a dictionary, as a dump leaves it."""
        content = json.dumps({"content": base64.b64encode(dictionary.content).decode()})
        settings = json.dumps({"kind": "zstd", "dictionary": dictionary.id})
        self.raw.execute_command("JSON.SET", keys.dictionary(dictionary.id), "$", content)
        self.raw.execute_command("JSON.SET", keys.compression, "$", settings)

    def close(self) -> None:
        for each in reversed(self._open):
            (each.close() if isinstance(each, RedisBackend) else each.close())
        if self.url and not self.cluster:
            # FT._LIST blanks out line breaks, so it cannot tell the names to drop.
            for prefix in self._prefixes:
                keys = Keys(prefix)
                runs = [keys.index("run", text=t, compressed=z) for t in (False, True) for z in (False, True)]
                for name in [*runs, *map(keys.index, KINDS)]:
                    with suppress(ResponseError):
                        self.raw.execute_command("FT.DROPINDEX", name, "DD")
            for key in [key for key in self.raw.scan_iter(match=self.token + "*", count=1000)]:
                self.raw.delete(key)
        self.raw.close()
        if self.server:
            self.server.close()


_PLACES = [
    *("memory", "file", "cluster"),
    pytest.param("server", marks=pytest.mark.real_server),
    pytest.param("real cluster", marks=pytest.mark.real_cluster),
]
# What these say must also hold where records are compressed; the longest tests are about something else.
_COMPRESSED = ("test_queries", "test_runs", "test_streams")
_LONG = ("test_prefixes_are_kept_apart_exactly", "test_thousands_of_runs_are_listed_whole")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "place" in metafunc.fixturenames and "place" not in named:
        module, name = metafunc.module.__name__.rpartition(".")[2], metafunc.function.__name__
        compressed = ["compressed"] if module in _COMPRESSED and name not in _LONG else []
        metafunc.parametrize("place", [*_PLACES, *compressed], indirect=True)


@functools.cache
def _dictionary() -> Dictionary:
    return train_dictionary([to_json(make_run(f"agent {number % 7}", number)) for number in range(200)], 4096)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    path = tmp_path / "store.db" if request.param == "file" else None
    urls = {"server": STORE_URL, "real cluster": CLUSTER_URL}
    with SimulatedCluster() if request.param == "cluster" else nullcontext() as cluster:
        dictionary = _dictionary() if request.param == "compressed" else None
        here = Place(path, urls.get(request.param), cluster, dictionary)
        yield here
        here.close()


@pytest.fixture
def backend(place: Place) -> RedisBackend:
    return place.open()
