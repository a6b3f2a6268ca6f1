"""Compression: the same answers from records that are compressed, plain, or both, while others read and write."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from relay_models.backend._async.backend import RedisBackend
from relay_models.documents import Keys
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    IndexOutdatedError,
    InvalidConfigurationError,
    MissingDictionaryError,
)
from relay_models.records import to_json
from tests.backend.conformance._async.conftest import Place
from tests.backend.stores import make_run

RUNS = [make_run(f"agent {number % 3}", number, padding="what all runs have in common " * 9) for number in range(40)]


async def kept(place: Place, backend: RedisBackend, run: Any) -> str:
    """The text of a run's record as the server has it."""
    key = Keys(backend.key_prefix).run(run.agent_id, run.id)
    text: str = json.loads(await place.raw.execute_command("JSON.GET", key, "$.record"))[0]
    return text


async def dictionary_key(place: Place, backend: RedisBackend) -> bytes:
    """The key of the current dictionary."""
    keys = Keys(backend.key_prefix)
    name = json.loads(await place.raw.execute_command("JSON.GET", keys.compression, "$.dictionary"))[0]
    return keys.dictionary(name)


async def answers(backend: RedisBackend) -> Any:
    """What a store says in every way of reading."""
    agent = "agent 1"
    found: list[Any] = [to_json(run) for run in await backend.list_runs(agent)]
    found += [to_json(run) async for run in backend.iter_runs(agent)]
    found += [run.record_json async for run in backend.stream_runs(order_by="duration", page_size=7)]
    found += [run.record_json for run in await backend.find_runs("total_tokens > 3", order_by="-calls", limit=9)]
    found += [run.record_json for run in await backend.find_runs(limit=None)]
    found += [(await backend.load_run(run.agent_id, run.id)) == run for run in RUNS]
    found += [row["count"] for row in await backend.aggregate_runs(by="models", metrics=["count", "p95(duration)"])]
    got = await backend.runs.get(RUNS[4].agent_id, RUNS[4].id)
    latest = await backend.latest_run(agent)
    assert got is not None
    assert latest is not None
    return [*found, got.record_json, to_json(latest)]


async def test_answers_are_the_same_whatever_records_are_kept_as(place: Place) -> None:
    backend = await place.open()
    await backend.store_runs(RUNS)
    plain = await answers(backend)
    assert True in plain
    assert False not in plain
    result = await backend.compression.apply()
    assert result.rewritten == len(RUNS)
    assert result.bytes_after < result.bytes_before
    assert await answers(backend) == plain
    trained = await backend.compression.train(size=2048)
    # Runs without compression, with, and with a dictionary, in one store.
    await backend.store_runs(RUNS[:10])
    assert await answers(backend) == plain
    status = await backend.compression.status()
    assert (status.is_on, status.runs, status.compressed) == (True, len(RUNS), len(RUNS))
    assert [(each.id, each.runs, each.is_current) for each in status.dictionaries] == [(trained.id, 10, True)]
    assert (await backend.compression.apply()).rewritten == len(RUNS) - 10
    assert (await backend.compression.apply()).rewritten == 0
    other = await place.open()
    assert await answers(other) == plain
    again = await backend.compression.train(runs=30, size=1024)
    await backend.store_run(RUNS[0])
    assert {each.id for each in (await backend.compression.status()).dictionaries} == {trained.id, again.id}
    assert await answers(other) == plain
    undone = await backend.compression.undo()
    assert undone.rewritten == len(RUNS)
    assert await answers(backend) == plain
    assert await kept(place, backend, RUNS[3]) == to_json(RUNS[3]).decode()
    assert not (await (await place.open()).compression.status()).is_on


async def test_a_store_remembers_that_it_compresses(place: Place) -> None:
    backend = await place.open(compression="zstd")
    other = await place.open()
    await other.store_run(RUNS[0])
    assert (await kept(place, other, RUNS[0])).startswith("zstd::")
    await other.store_run(RUNS[0])
    assert (await kept(place, other, RUNS[0])).startswith("zstd::")
    assert await other.load_run(RUNS[0].agent_id, RUNS[0].id) == RUNS[0]
    # A release that knows no compression does not know the index by its name: it refuses the store.
    (info,) = [plan for plan in await other.migrations.plan() if plan.kind == "run"]
    assert str(info.index).endswith(":idx:v3z")
    with pytest.raises(InvalidConfigurationError, match="open it without"):
        await backend.compression.undo()
    # Restored from a dump, which has no indexes, it is still the same.
    await place.raw.execute_command("FT.DROPINDEX", str(info.index))
    await (await place.open()).store_run(RUNS[1])
    assert (await kept(place, other, RUNS[1])).startswith("zstd::")


async def test_a_dictionary_is_trained_when_there_are_enough_runs(place: Place) -> None:
    backend = await place.open(compression="zstd")
    runs = [make_run("agent", number, padding="in common " * 9) for number in range(620)]
    await backend.store_runs(runs, batch_size=100)
    (dictionary,) = (await backend.compression.status()).dictionaries
    assert dictionary.runs >= 100
    assert await backend.list_runs("agent") == runs
    other = await place.open()
    await other.store_run(RUNS[0])
    assert (await kept(place, other, RUNS[0])).startswith(f"zstd:{dictionary.id}:")
    # Where it is lost, there is another one, once.
    await place.raw.delete(await dictionary_key(place, backend))
    last = await place.open()
    await last.trim_runs("agent", 520)  # so that it is trained from others
    await last.store_runs(RUNS)
    await last.compression.apply()
    status = await last.compression.status()
    (another,) = [each for each in status.dictionaries if each.is_current]
    assert another.id != dictionary.id
    assert another.runs >= len(RUNS)
    assert (await last.compression.apply()).rewritten == 0
    assert await last.runs.count() == len(await last.find_runs(limit=None, on_corrupt="skip")) + dictionary.runs


async def test_a_dictionary_that_is_deleted_under_a_writer_comes_back(place: Place) -> None:
    backend = await place.open(compression="zstd")
    await backend.store_runs(RUNS[:20])
    trained = await backend.compression.train(size=1024)
    await backend.store_run(RUNS[20])
    await place.raw.delete(await dictionary_key(place, backend), Keys(backend.key_prefix).compression)
    await backend.store_run(RUNS[21])
    assert (await kept(place, backend, RUNS[21])).startswith(f"zstd:{trained.id}:")
    await backend.compression.status()
    reader = await place.open()
    assert await reader.load_run(RUNS[21].agent_id, RUNS[21].id) == RUNS[21]
    # What the store names no longer is not used for new records.
    await backend.store_run(RUNS[22])
    assert (await kept(place, backend, RUNS[22])).startswith("zstd::")


async def test_a_missing_dictionary_is_named_and_hides_nothing_else(place: Place) -> None:
    backend = await place.open(compression="zstd")
    await backend.store_runs(RUNS[:20])
    trained = await backend.compression.train(size=1024)
    lost = RUNS[20]
    await backend.store_run(lost)
    key = await dictionary_key(place, backend)
    content = await place.raw.execute_command("JSON.GET", key)
    await place.raw.delete(key)
    reader = await place.open()
    with pytest.raises(MissingDictionaryError, match=f"@dictionary:{trained.id}") as caught:
        await reader.load_run(lost.agent_id, lost.id)
    assert caught.value.dictionary == trained.id
    assert caught.value.key.endswith(str(lost.id))
    with pytest.raises(CorruptDocumentsError) as several:
        await reader.list_runs(lost.agent_id)
    assert [type(error) for error in several.value.errors] == [MissingDictionaryError]
    assert several.value.good == [run for run in RUNS[:20] if run.agent_id == lost.agent_id]
    page = await reader.find_runs(limit=None, on_corrupt="skip")
    assert len(page) == 20
    assert [type(error) for error in page.corrupt] == [MissingDictionaryError]
    # Columns need no record, and new runs no dictionary.
    assert await reader.count_runs() == 21
    assert len(await reader.find_runs(columns=True)) == 21
    await reader.store_run(RUNS[21])
    assert (await kept(place, reader, RUNS[21])).startswith("zstd::")
    undone = await reader.compression.undo()
    assert [trained.id in text for text in undone.unreadable] == [True]
    assert (await (await place.open()).compression.status()).is_on
    # It comes back with its key.
    await place.raw.execute_command("JSON.SET", key, "$", content)
    assert await reader.load_run(lost.agent_id, lost.id) == lost
    assert len(await reader.find_runs(limit=None)) == 22


async def test_damage_is_an_error_that_names_the_document(place: Place) -> None:
    backend = await place.open(compression="zstd")
    await backend.store_runs(RUNS[:6])
    text = await kept(place, backend, RUNS[1])
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
        await place.raw.execute_command("JSON.SET", key, "$.record", json.dumps(damaged))
        with pytest.raises(CorruptDocumentError, match=r"damaged|dictionary"):
            await backend.load_run(RUNS[1].agent_id, RUNS[1].id)
        page = await backend.find_runs(limit=None, on_corrupt="skip")
        assert [error.key for error in page.corrupt] == [key.decode()]
        assert len(page) == 5


async def test_a_damaged_dictionary_is_named(place: Place) -> None:
    backend = await place.open(compression="zstd")
    await backend.store_runs(RUNS[:20])
    await backend.compression.train(size=1024)
    await backend.store_run(RUNS[20])
    key = await dictionary_key(place, backend)
    for content in ('"$$"', '"AAAA"', "7"):
        await place.raw.execute_command("JSON.SET", key, "$.content", content)
        reader = await place.open()
        with pytest.raises(CorruptDocumentError, match="a dictionary that is damaged"):
            await reader.load_run(RUNS[20].agent_id, RUNS[20].id)
        # What is new is stored without it.
        await reader.store_run(RUNS[21])
        assert (await kept(place, reader, RUNS[21])).startswith("zstd::")
        (shown,) = (await reader.compression.status()).dictionaries
        assert (shown.bytes, shown.runs, shown.is_current) == (None, 1, False)


async def test_what_others_store_meanwhile_stays(place: Place) -> None:
    backend = await place.open()
    await backend.store_runs(RUNS)
    changed = RUNS[7].model_copy(update={"ended_at": None})
    other = await place.open()
    steps: list[Any] = []

    class Stop(Exception):
        pass

    def report(progress: Any) -> None:
        steps.append(progress)
        raise Stop

    with pytest.raises(Stop):
        await backend.compression.apply(report)
    await other.store_run(changed)
    await backend.compression.apply()
    assert await other.load_run(changed.agent_id, changed.id) == changed
    assert steps


async def test_the_way_of_a_later_release_is_refused(place: Place) -> None:
    backend = await place.open()
    await place.raw.execute_command("JSON.SET", Keys(backend.key_prefix).compression, "$", '{"kind":"lz9"}')
    with pytest.raises(IndexOutdatedError, match="upgrade"):
        await place.open()


async def test_training_needs_a_store_that_compresses_and_runs(place: Place) -> None:
    backend = await place.open()
    with pytest.raises(InvalidConfigurationError, match="compress apply"):
        await backend.compression.train()
    backend = await place.open("2", compression="zstd")
    with pytest.raises(InvalidConfigurationError, match="store more runs first"):
        await backend.compression.train()
    with pytest.raises(InvalidConfigurationError, match="compression is 'zstd'"):
        await place.open(compression="gzip")


async def test_words_and_migrations_work_on_compressed_records(place: Place) -> None:
    backend = await place.open(compression="zstd")
    value = json.loads(to_json(RUNS[0]))
    value["calls"][0]["annotated_request"] = {"messages": [{"role": "user", "content": "Where is the Lighthouse?"}]}
    run = type(RUNS[0]).model_validate(value)
    await backend.store_runs([run, *RUNS[1:20]])
    await backend.compression.train(size=1024)
    await backend.compression.apply()
    assert (await kept(place, backend, run)).startswith("zstd:")
    wordy = await place.open(index_text=True)
    assert [found.record for found in await wordy.find_runs("text ~ lighthouse")] == [run]
    (plan,) = [plan for plan in await wordy.migrations.plan() if plan.kind == "run"]
    assert str(plan.index).endswith(":idx:v3tz")
    await wordy.compression.undo()
    assert [found.record for found in await wordy.find_runs("text ~ lighthouse")] == [run]
    assert (await place.open()).index_text


async def test_a_rollback_does_not_leave_compressed_records_behind(place: Place) -> None:
    plain = await place.open()
    await plain.store_runs(RUNS[:5])
    backend = await place.open(compression="zstd", migrate=False)
    await backend.migrations.apply()
    await backend.compression.apply()
    with pytest.raises(InvalidConfigurationError, match="compress undo"):
        await backend.migrations.rollback()
    await (await place.open()).compression.undo()
    assert (await kept(place, plain, RUNS[2])).startswith("{")
    assert await plain.list_runs("agent 0") == [run for run in RUNS[:5] if run.agent_id == "agent 0"]
