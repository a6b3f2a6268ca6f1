"""Dumps of stores whose records are compressed carry what is needed to read them; so do exports and imports."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay_models.embedded import EmbeddedServer, dump, restore
from relay_models.errors import MissingDictionaryError
from relay_models.export import write_csv, write_jsonl, write_parquet
from relay_models.records import RunRecord
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run

PADDING = "what all runs have in common " * 9


def some_runs(agent: str) -> list[RunRecord]:
    return [make_run(agent, number, padding=PADDING) for number in range(40)]


def compressed_server(runs: Sequence[RunRecord]) -> EmbeddedServer:
    """A server with a store that compresses with a dictionary of its own."""
    server = EmbeddedServer()
    with RedisBackend.from_client(server.client(), compression="zstd") as store:
        store.store_runs(runs)
        store.compression.train(size=1024)
        store.compression.apply()
    return server


def test_a_dump_carries_dictionaries() -> None:
    ours, theirs = some_runs("ours"), some_runs("theirs")
    file = io.BytesIO()
    first, second, empty = compressed_server(ours), compressed_server(theirs), EmbeddedServer()
    try:
        dump(first.client(), file)
        for server, replace in ((empty, False), (second, True)):
            file.seek(0)
            restore(server.client(), file, replace=replace)
            with RedisBackend.from_client(server.client()) as store:
                assert store.list_runs("ours") == ours
                assert store.compression.status().is_on
        with RedisBackend.from_client(second.client()) as store:
            assert store.list_runs("theirs") == theirs
            assert len(store.compression.status().dictionaries) == 2
    finally:
        for server in (first, second, empty):
            server.close()


def test_a_dictionary_outlives_the_runs() -> None:
    server = compressed_server(some_runs("ours"))
    try:
        with RedisBackend.from_client(server.client(), run_ttl=timedelta(days=1)) as store:
            store.store_runs(some_runs("later"))
            store.delete_agent("ours", what="everything")
            store.trim_runs("later", 3)
            store.delete_runs("all")
            late = some_runs("late")
            store.store_runs(late)
        with RedisBackend.from_client(server.client()) as store:
            assert store.list_runs("late") == late
            assert store.compression.status().compressed == 40
    finally:
        server.close()


@pytest.mark.parametrize("write", [write_jsonl, write_csv, write_parquet])
def test_exports_are_the_same(write: Any, tmp_path: Path) -> None:
    runs = some_runs("ours")
    files = []
    for compression in (None, "zstd"):
        options: Any = {"compression": compression}
        with RedisBackend.embedded(**options) as store:
            store.store_runs(runs)
            write(store.iter_runs("ours"), tmp_path / str(compression), rows="calls")
            files.append((tmp_path / str(compression)).read_bytes())
    assert files[0] == files[1]


def test_a_file_is_smaller(tmp_path: Path, capture: list[dict[str, Any]]) -> None:
    texts = [
        line["value"] for line in capture if line["type"] == "string" and line["key"].startswith("nemo_relay:runs:")
    ]
    captured = [json.loads(text) | {"agent_id": "agent"} for text in texts]
    sizes = []
    runs = [
        RunRecord.model_validate_json(json.dumps(captured[number % len(captured)] | {"id": str(uuid.UUID(int=number))}))
        for number in range(2000)
    ]
    for compression in (None, "zstd"):
        path = tmp_path / f"{compression}.db"
        options: Any = {"compression": compression}
        with RedisBackend.embedded(path, **options) as store:
            store.store_runs(runs[:500])  # enough to train a dictionary from
            store.store_runs(runs[500:])
        with RedisBackend.embedded(path) as store:
            assert store.list_runs("agent") == runs
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.8 * sizes[0], sizes


def test_a_lost_dictionary_is_named() -> None:
    server = compressed_server(some_runs("ours"))
    try:
        client = server.client()
        for key in client.scan_iter("nemo_relay:@dictionary:*"):
            client.delete(key)
        with (
            RedisBackend.from_client(server.client()) as store,
            pytest.raises(MissingDictionaryError, match="from a backup"),
        ):
            store.load_run("ours", next(store.stream_runs(columns=True)).run_id)
    finally:
        server.close()
