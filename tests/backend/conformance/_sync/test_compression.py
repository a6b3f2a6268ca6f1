# ruff: noqa
# fmt: off
# Generated from tests/backend/conformance/_async/test_compression.py by scripts/generate_sync.py: change that, not this.
"""Compression: the same answers from records that are compressed, plain, or both, while others read and write."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from relay_models.backend._sync.backend import RedisBackend
from relay_models.documents import Keys
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    IndexOutdatedError,
    InvalidConfigurationError,
    MissingDictionaryError,
)
from relay_models.records import to_json
from tests.backend.conformance._sync.conftest import Place
from tests.backend.stores import make_run

RUNS = [make_run(f"agent {number % 3}", number, padding="what all runs have in common " * 9) for number in range(40)]


def kept(place: Place, backend: RedisBackend, run: Any) -> str:
    """The text of a run's record as the server has it."""
    key = Keys(backend.key_prefix).run(run.agent_id, run.id)
    text: str = json.loads(place.raw.execute_command("JSON.GET", key, "$.record"))[0]
    return text


def dictionary_key(place: Place, backend: RedisBackend) -> bytes:
    """The key of the current dictionary."""
    keys = Keys(backend.key_prefix)
    name = json.loads(place.raw.execute_command("JSON.GET", keys.compression, "$.dictionary"))[0]
    return keys.dictionary(name)


def answers(backend: RedisBackend) -> Any:
    """What a store says in every way of reading."""
    agent = "agent 1"
    found: list[Any] = [to_json(run) for run in backend.list_runs(agent)]
    found += [to_json(run) for run in backend.iter_runs(agent)]
    found += [run.record_json for run in backend.stream_runs(order_by="duration", page_size=7)]
    found += [run.record_json for run in backend.find_runs("total_tokens > 3", order_by="-calls", limit=9)]
    found += [run.record_json for run in backend.find_runs(limit=None)]
    found += [(backend.load_run(run.agent_id, run.id)) == run for run in RUNS]
    found += [row["count"] for row in backend.aggregate_runs(by="models", metrics=["count", "p95(duration)"])]
    got = backend.runs.get(RUNS[4].agent_id, RUNS[4].id)
    latest = backend.latest_run(agent)
    assert got is not None
    assert latest is not None
    return [*found, got.record_json, to_json(latest)]


def test_answers_are_the_same_whatever_records_are_kept_as(place: Place) -> None:
    backend = place.open()
    backend.store_runs(RUNS)
    plain = answers(backend)
    assert True in plain
    assert False not in plain
    result = backend.compression.apply()
    assert result.rewritten == len(RUNS)
    assert result.bytes_after < result.bytes_before
    assert answers(backend) == plain
    trained = backend.compression.train(size=2048)
    # Runs without compression, with, and with a dictionary, in one store.
    backend.store_runs(RUNS[:10])
    assert answers(backend) == plain
    status = backend.compression.status()
    assert (status.is_on, status.runs, status.compressed) == (True, len(RUNS), len(RUNS))
    assert [(each.id, each.runs, each.is_current) for each in status.dictionaries] == [(trained.id, 10, True)]
    assert (backend.compression.apply()).rewritten == len(RUNS) - 10
    assert (backend.compression.apply()).rewritten == 0
    other = place.open()
    assert answers(other) == plain
    again = backend.compression.train(runs=30, size=1024)
    backend.store_run(RUNS[0])
    assert {each.id for each in (backend.compression.status()).dictionaries} == {trained.id, again.id}
    assert answers(other) == plain
    undone = backend.compression.undo()
    assert undone.rewritten == len(RUNS)
    assert answers(backend) == plain
    assert kept(place, backend, RUNS[3]) == to_json(RUNS[3]).decode()
    assert not ((place.open()).compression.status()).is_on


def test_a_store_remembers_that_it_compresses(place: Place) -> None:
    backend = place.open(compression="zstd")
    other = place.open()
    other.store_run(RUNS[0])
    assert (kept(place, other, RUNS[0])).startswith("zstd::")
    other.store_run(RUNS[0])
    assert (kept(place, other, RUNS[0])).startswith("zstd::")
    assert other.load_run(RUNS[0].agent_id, RUNS[0].id) == RUNS[0]
    # A release that knows no compression does not know the index by its name: it refuses the store.
    (info,) = [plan for plan in other.migrations.plan() if plan.kind == "run"]
    assert str(info.index).endswith(":idx:v3z")
    with pytest.raises(InvalidConfigurationError, match="open it without"):
        backend.compression.undo()
    # Restored from a dump, which has no indexes, it is still the same.
    place.raw.execute_command("FT.DROPINDEX", str(info.index))
    (place.open()).store_run(RUNS[1])
    assert (kept(place, other, RUNS[1])).startswith("zstd::")


def test_a_dictionary_is_trained_when_there_are_enough_runs(place: Place) -> None:
    backend = place.open(compression="zstd")
    runs = [make_run("agent", number, padding="in common " * 9) for number in range(620)]
    backend.store_runs(runs, batch_size=100)
    (dictionary,) = (backend.compression.status()).dictionaries
    assert dictionary.runs >= 100
    assert backend.list_runs("agent") == runs
    other = place.open()
    other.store_run(RUNS[0])
    assert (kept(place, other, RUNS[0])).startswith(f"zstd:{dictionary.id}:")
    # Where it is lost, there is another one, once.
    place.raw.delete(dictionary_key(place, backend))
    last = place.open()
    last.trim_runs("agent", 520)  # so that it is trained from others
    last.store_runs(RUNS)
    last.compression.apply()
    status = last.compression.status()
    (another,) = [each for each in status.dictionaries if each.is_current]
    assert another.id != dictionary.id
    assert another.runs >= len(RUNS)
    assert (last.compression.apply()).rewritten == 0
    assert last.runs.count() == len(last.find_runs(limit=None, on_corrupt="skip")) + dictionary.runs


def test_a_dictionary_that_is_deleted_under_a_writer_comes_back(place: Place) -> None:
    backend = place.open(compression="zstd")
    backend.store_runs(RUNS[:20])
    trained = backend.compression.train(size=1024)
    backend.store_run(RUNS[20])
    place.raw.delete(dictionary_key(place, backend), Keys(backend.key_prefix).compression)
    backend.store_run(RUNS[21])
    assert (kept(place, backend, RUNS[21])).startswith(f"zstd:{trained.id}:")
    backend.compression.status()
    reader = place.open()
    assert reader.load_run(RUNS[21].agent_id, RUNS[21].id) == RUNS[21]
    # What the store names no longer is not used for new records.
    backend.store_run(RUNS[22])
    assert (kept(place, backend, RUNS[22])).startswith("zstd::")


def test_a_missing_dictionary_is_named_and_hides_nothing_else(place: Place) -> None:
    backend = place.open(compression="zstd")
    backend.store_runs(RUNS[:20])
    trained = backend.compression.train(size=1024)
    lost = RUNS[20]
    backend.store_run(lost)
    key = dictionary_key(place, backend)
    content = place.raw.execute_command("JSON.GET", key)
    place.raw.delete(key)
    reader = place.open()
    with pytest.raises(MissingDictionaryError, match=f"@dictionary:{trained.id}") as caught:
        reader.load_run(lost.agent_id, lost.id)
    assert caught.value.dictionary == trained.id
    assert caught.value.key.endswith(str(lost.id))
    with pytest.raises(CorruptDocumentsError) as several:
        reader.list_runs(lost.agent_id)
    assert [type(error) for error in several.value.errors] == [MissingDictionaryError]
    assert several.value.good == [run for run in RUNS[:20] if run.agent_id == lost.agent_id]
    page = reader.find_runs(limit=None, on_corrupt="skip")
    assert len(page) == 20
    assert [type(error) for error in page.corrupt] == [MissingDictionaryError]
    # Columns need no record, and new runs no dictionary.
    assert reader.count_runs() == 21
    assert len(reader.find_runs(columns=True)) == 21
    reader.store_run(RUNS[21])
    assert (kept(place, reader, RUNS[21])).startswith("zstd::")
    undone = reader.compression.undo()
    assert [trained.id in text for text in undone.unreadable] == [True]
    assert ((place.open()).compression.status()).is_on
    # It comes back with its key.
    place.raw.execute_command("JSON.SET", key, "$", content)
    assert reader.load_run(lost.agent_id, lost.id) == lost
    assert len(reader.find_runs(limit=None)) == 22


def test_damage_is_an_error_that_names_the_document(place: Place) -> None:
    backend = place.open(compression="zstd")
    backend.store_runs(RUNS[:6])
    text = kept(place, backend, RUNS[1])
    frame = bytearray(base64.b64decode(text.removeprefix("zstd::")))
    frame[len(frame) // 2] ^= 0x55
    for damaged in (
        text[:-8],
        "zstd::" + base64.b64encode(frame).decode(),
        "zstd::$$$$",
        "zstd:x",
        text.replace("::", ":0123456789ab:"),
    ):
        key = Keys(backend.key_prefix).run(RUNS[1].agent_id, RUNS[1].id)
        place.raw.execute_command("JSON.SET", key, "$.record", json.dumps(damaged))
        with pytest.raises(CorruptDocumentError, match=r"damaged|dictionary"):
            backend.load_run(RUNS[1].agent_id, RUNS[1].id)
        page = backend.find_runs(limit=None, on_corrupt="skip")
        assert [error.key for error in page.corrupt] == [key.decode()]
        assert len(page) == 5


def test_a_damaged_dictionary_is_named(place: Place) -> None:
    backend = place.open(compression="zstd")
    backend.store_runs(RUNS[:20])
    backend.compression.train(size=1024)
    backend.store_run(RUNS[20])
    key = dictionary_key(place, backend)
    for content in ('"$$"', '"AAAA"', "7"):
        place.raw.execute_command("JSON.SET", key, "$.content", content)
        reader = place.open()
        with pytest.raises(CorruptDocumentError, match="a dictionary that is damaged"):
            reader.load_run(RUNS[20].agent_id, RUNS[20].id)
        # What is new is stored without it.
        reader.store_run(RUNS[21])
        assert (kept(place, reader, RUNS[21])).startswith("zstd::")
        (shown,) = (reader.compression.status()).dictionaries
        assert (shown.bytes, shown.runs, shown.is_current) == (None, 1, False)


def test_what_others_store_meanwhile_stays(place: Place) -> None:
    backend = place.open()
    backend.store_runs(RUNS)
    changed = RUNS[7].model_copy(update={"ended_at": None})
    other = place.open()
    steps: list[Any] = []

    class Stop(Exception):
        pass

    def report(progress: Any) -> None:
        steps.append(progress)
        raise Stop

    with pytest.raises(Stop):
        backend.compression.apply(report)
    other.store_run(changed)
    backend.compression.apply()
    assert other.load_run(changed.agent_id, changed.id) == changed
    assert steps


def test_the_way_of_a_later_release_is_refused(place: Place) -> None:
    backend = place.open()
    place.raw.execute_command("JSON.SET", Keys(backend.key_prefix).compression, "$", '{"kind":"lz9"}')
    with pytest.raises(IndexOutdatedError, match="upgrade"):
        place.open()


def test_training_needs_a_store_that_compresses_and_runs(place: Place) -> None:
    backend = place.open()
    with pytest.raises(InvalidConfigurationError, match="compress apply"):
        backend.compression.train()
    backend = place.open("2", compression="zstd")
    with pytest.raises(InvalidConfigurationError, match="store more runs first"):
        backend.compression.train()
    with pytest.raises(InvalidConfigurationError, match="compression is 'zstd'"):
        place.open(compression="gzip")


def test_words_and_migrations_work_on_compressed_records(place: Place) -> None:
    backend = place.open(compression="zstd")
    value = json.loads(to_json(RUNS[0]))
    value["calls"][0]["annotated_request"] = {"messages": [{"role": "user", "content": "Where is the Lighthouse?"}]}
    run = type(RUNS[0]).model_validate(value)
    backend.store_runs([run, *RUNS[1:20]])
    backend.compression.train(size=1024)
    backend.compression.apply()
    assert (kept(place, backend, run)).startswith("zstd:")
    wordy = place.open(index_text=True)
    assert [found.record for found in wordy.find_runs("text ~ lighthouse")] == [run]
    (plan,) = [plan for plan in wordy.migrations.plan() if plan.kind == "run"]
    assert str(plan.index).endswith(":idx:v3tz")
    wordy.compression.undo()
    assert [found.record for found in wordy.find_runs("text ~ lighthouse")] == [run]
    assert (place.open()).index_text


def test_a_rollback_does_not_leave_compressed_records_behind(place: Place) -> None:
    plain = place.open()
    plain.store_runs(RUNS[:5])
    backend = place.open(compression="zstd", migrate=False)
    backend.migrations.apply()
    backend.compression.apply()
    with pytest.raises(InvalidConfigurationError, match="compress undo"):
        backend.migrations.rollback()
    (place.open()).compression.undo()
    assert (kept(place, plain, RUNS[2])).startswith("{")
    assert plain.list_runs("agent 0") == [run for run in RUNS[:5] if run.agent_id == "agent 0"]
