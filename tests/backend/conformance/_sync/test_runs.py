# ruff: noqa
# fmt: off
# Generated from tests/backend/conformance/_async/test_runs.py by scripts/generate_sync.py: change that, not this.
"""Runs of a `StorageBackend`: stored, replaced, listed, streamed, deleted, and kept apart."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from relay_models._time import microseconds_of
from relay_models.backend._sync.backend import RedisBackend
from relay_models.backend._sync.protocol import StorageBackend
from relay_models.documents import Run
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    InvalidConfigurationError,
    InvalidRecordError,
    RefusedRecordsError,
)
from relay_models.records import RunRecord
from tests.backend.stores import HOSTILE, as_value, make_run

from .conftest import Place


def test_it_is_a_storage_backend(backend: RedisBackend) -> None:
    assert isinstance(backend, StorageBackend)


def test_a_run_comes_back_as_it_was(backend: RedisBackend) -> None:
    run = make_run("agent", 7)
    backend.store_run(run)
    found = backend.load_run("agent", run.id)
    assert found is not None
    assert found.model_dump_json() == run.model_dump_json()
    assert as_value(backend.load_run("agent", str(run.id).upper())) == as_value(run)


def test_absent_runs(backend: RedisBackend) -> None:
    assert backend.load_run("agent", uuid4()) is None
    assert backend.list_runs("agent") == []
    assert [run for run in backend.iter_runs("agent")] == []
    assert backend.delete_run("agent", uuid4()) is False
    assert backend.delete_agent("agent", what="runs") == 0
    assert backend.agents() == []


def test_a_run_stored_again_keeps_its_place_and_shows_its_newest_text(backend: RedisBackend) -> None:
    runs = [make_run("agent", number, running=number == 1) for number in range(4)]
    for run in runs:
        backend.store_run(run)
    finished = make_run("agent", 1, run_id=runs[1].id)
    backend.store_run(finished)
    backend.store_run(finished)
    assert as_value(backend.list_runs("agent")) == as_value([runs[0], finished, runs[2], runs[3]])
    (agent,) = backend.agents()
    assert (agent.runs, agent.running) == (4, 0)


def test_columns_that_a_newer_text_lacks_are_gone(backend: RedisBackend, place: Place) -> None:
    run = make_run("agent", 3)
    backend.store_run(run)
    backend.store_run(make_run("agent", 3, run_id=run.id, running=True))
    (key,) = [key for key in place.raw.scan_iter(match=backend.key_prefix + "@run:agent:*")]
    (document,) = json.loads(place.raw.execute_command("JSON.GET", key, "$"))
    assert "ended_at" not in document
    assert "duration" not in document
    (agent,) = backend.agents()
    assert agent.running == 1


def test_runs_are_listed_in_the_order_in_which_they_were_first_stored(backend: RedisBackend) -> None:
    runs = [make_run("agent", number) for number in (5, 3, 9, 1, 7)]
    for run in runs:
        backend.store_run(run)
    assert [run.id for run in backend.list_runs("agent")] == [run.id for run in runs]
    assert [run.id for run in backend.iter_runs("agent")] == [run.id for run in runs]


def test_bulk(backend: RedisBackend) -> None:
    runs = [make_run(f"agent-{number % 3}", number) for number in range(1050)]
    report = backend.store_runs(iter(runs), batch_size=100)
    assert (report.created, report.replaced, report.stored, report.refused) == (1050, 0, 1050, [])
    for agent in range(3):
        wanted = [run.id for run in runs if run.agent_id == f"agent-{agent}"]
        assert [run.id for run in backend.list_runs(f"agent-{agent}")] == wanted
    again = backend.store_runs(runs[:250], batch_size=100)
    assert (again.created, again.replaced) == (0, 250)
    assert [run.id for run in backend.list_runs("agent-0")] == [run.id for run in runs[::3]]
    assert [(agent.agent_id, agent.runs) for agent in backend.agents()] == [
        ("agent-0", 350),
        ("agent-1", 350),
        ("agent-2", 350),
    ]


def test_bulk_takes_an_asynchronous_stream(backend: RedisBackend, place: Place) -> None:
    other = place.open("other:")
    backend.store_runs([make_run("agent", number) for number in range(30)])
    report = other.store_runs(backend.iter_runs("agent"))
    assert report.created == 30
    assert as_value(other.list_runs("agent")) == as_value(backend.list_runs("agent"))


def test_a_slow_source_is_not_waited_for(backend: RedisBackend) -> None:
    """Each run is there before the next is asked for, as stored when it was sent and not when it came."""
    first, second = make_run("agent", 1, running=True), make_run("agent", 2)
    moments = []

    def a_minute_passes() -> None:
        local = backend._clock._monotonic_ns
        backend._clock._monotonic_ns = lambda: local() + 60_000_000_000
        moments.append(backend._clock.now())

    def source() -> Any:
        yield first  # at once: it may have to wait for more
        a_minute_passes()
        yield second
        assert backend.count_runs() == 2
        a_minute_passes()
        yield make_run("agent", 1, run_id=first.id)
        assert backend.count_runs(Run.status == "completed") == 2

    report = backend.store_runs(source())
    assert (report.created, report.replaced) == (2, 1)
    rows = backend.find_runs(order_by="stored_at", columns=True)
    assert [row.run_id for row in rows] == [str(first.id), str(second.id)]
    assert [microseconds_of(row.stored_at) > moments[0] for row in rows] == [True, True]
    assert microseconds_of(rows[0].updated_at) > moments[1] > microseconds_of(rows[1].updated_at)


def test_the_last_of_several_texts_of_one_run_stays(backend: RedisBackend) -> None:
    first = make_run("agent", 1, running=True)
    texts = [make_run("agent", number, run_id=first.id) for number in range(2, 9)]
    report = backend.store_runs([first, *texts], batch_size=3)
    assert (report.created, report.replaced) == (1, 7)
    assert as_value(backend.list_runs("agent")) == as_value([texts[-1]])


def test_refused_records_are_named_and_the_others_stored(backend: RedisBackend) -> None:
    good = [make_run("agent", number) for number in range(5)]
    mixed: list[Any] = [good[0], "no run", *good[1:4], None, good[4]]
    with pytest.raises(RefusedRecordsError) as caught:
        backend.store_runs(mixed, batch_size=2)
    assert [refused.position for refused in caught.value.report.refused] == [1, 5]
    assert caught.value.report.stored == 5
    assert as_value(backend.list_runs("agent")) == as_value(good)
    report = backend.store_runs(mixed, on_refused="skip")
    assert (report.replaced, len(report.refused)) == (5, 2)


def test_what_a_failing_source_gave_before_is_stored(backend: RedisBackend) -> None:
    good = [make_run("agent", number) for number in range(5)]

    def source() -> Any:
        yield from good
        raise KeyError("the source broke")

    with pytest.raises(KeyError, match="the source broke"):
        backend.store_runs(source(), batch_size=3)
    assert as_value(backend.list_runs("agent")) == as_value(good)


def test_what_is_no_run_is_refused(backend: RedisBackend) -> None:
    for wrong in ("text", None, {"id": 1}):
        with pytest.raises(InvalidRecordError):
            backend.store_run(wrong)  # type: ignore[arg-type]


def test_deleting(backend: RedisBackend) -> None:
    runs = [make_run("agent", number) for number in range(600)]
    backend.store_runs(runs)
    backend.store_run(make_run("other"))
    assert backend.delete_run("agent", runs[3].id) is True
    assert backend.delete_run("agent", str(runs[3].id)) is False
    assert backend.load_run("agent", runs[3].id) is None
    assert len(backend.list_runs("agent")) == 599
    assert backend.delete_agent("agent", what="runs") == 599
    assert backend.list_runs("agent") == []
    assert len(backend.list_runs("other")) == 1


def test_agents_are_kept_apart_exactly(backend: RedisBackend) -> None:
    runs = {agent_id: make_run(agent_id, number) for number, agent_id in enumerate(HOSTILE)}
    for run in runs.values():
        backend.store_run(run)
    for agent_id, run in runs.items():
        assert as_value(backend.list_runs(agent_id)) == as_value([run]), agent_id
        assert as_value(backend.load_run(agent_id, run.id)) == as_value(run), agent_id
    assert sorted(agent.agent_id for agent in backend.agents()) == sorted(HOSTILE)
    for agent_id in HOSTILE[::2]:
        assert backend.delete_agent(agent_id, what="runs") == 1
    for number, agent_id in enumerate(HOSTILE):
        assert len(backend.list_runs(agent_id)) == number % 2, agent_id


def test_prefixes_are_kept_apart_exactly(place: Place) -> None:
    prefixes = ["a", "a:b", "a|b", "a ", "{a}", "*", "back\\", "line\nbreak", "$v", "数据", "A", ""]
    stores = {prefix: place.open(prefix) for prefix in prefixes}
    for number, (prefix, store) in enumerate(stores.items()):
        store.store_runs([make_run("agent", each) for each in range(number % 4)])
        assert store.key_prefix.endswith(prefix)
    for number, store in enumerate(stores.values()):
        assert len(store.list_runs("agent")) == number % 4, store.key_prefix
        assert [agent.runs for agent in store.agents()] == ([number % 4] if number % 4 else [])


def test_runs_stored_in_the_same_microsecond_are_all_listed(backend: RedisBackend, place: Place) -> None:
    runs = [make_run("agent", number) for number in range(20)]
    backend.store_runs(runs)
    for key in [key for key in place.raw.scan_iter(match=backend.key_prefix + "@run:agent:*")]:
        place.raw.execute_command("JSON.SET", key, "$.stored_at", "1795466231000000")
    assert {run.id for run in backend.list_runs("agent")} == {run.id for run in runs}


def test_corrupt_documents_do_not_hide_the_others(backend: RedisBackend, place: Place) -> None:
    runs = [make_run("agent", number) for number in range(6)]
    backend.store_runs(runs)
    keys = {run.id: f"{backend.key_prefix}@run:agent:{run.id}" for run in runs}
    place.raw.execute_command("JSON.SET", keys[runs[1].id], "$.record", '"{not json"')
    place.raw.execute_command("JSON.SET", keys[runs[4].id], "$.record", "17")
    good = [runs[0], runs[2], runs[3], runs[5]]
    with pytest.raises(CorruptDocumentsError) as caught:
        backend.list_runs("agent")
    assert [error.key for error in caught.value.errors] == [keys[runs[1].id], keys[runs[4].id]]
    assert as_value(caught.value.good) == as_value(good)
    assert as_value(backend.list_runs("agent", on_corrupt="skip")) == as_value(good)
    with pytest.raises(CorruptDocumentError):
        backend.load_run("agent", runs[1].id)
    streamed: list[RunRecord] = []
    with pytest.raises(CorruptDocumentsError) as later:  # noqa: PT012
        for run in backend.iter_runs("agent"):
            streamed.append(run)
    assert as_value(streamed) == as_value(good)
    assert len(later.value.errors) == 2
    stream = backend.iter_runs("agent", on_corrupt="skip")
    assert len([run for run in stream]) == 4
    assert [error.key for error in stream.corrupt] == [keys[runs[1].id], keys[runs[4].id]]


def test_documents_that_the_index_cannot_show_are_reported(backend: RedisBackend, place: Place) -> None:
    runs = [make_run("agent", number) for number in range(5)]
    others = [make_run("agent:other", number) for number in range(2)]
    backend.store_runs([*runs, *others])
    keys = [f"{backend.key_prefix}@run:agent:{run.id}" for run in runs]
    place.raw.execute_command("JSON.SET", keys[1], "$", '{"something": "else"}')
    place.raw.execute_command("JSON.SET", keys[3], "$.started_at", '"no number"')
    with pytest.raises(CorruptDocumentsError) as caught:
        backend.list_runs("agent")
    assert {error.key for error in caught.value.errors} == {keys[1], keys[3]}
    assert as_value(caught.value.good) == as_value([runs[0], runs[2], runs[4]])
    assert len(backend.list_runs("agent", on_corrupt="skip")) == 3
    assert len(backend.list_runs("agent:other")) == 2
    backend.delete_run("agent", runs[1].id)
    backend.store_run(runs[3])
    assert {run.id for run in backend.list_runs("agent")} == {runs[0].id, runs[2].id, runs[3].id, runs[4].id}


def test_runs_go_by_themselves_where_asked(place: Place) -> None:
    backend = place.open(run_ttl=timedelta(milliseconds=1))
    other = place.open("other:", run_ttl=timedelta(hours=1))
    run = make_run("agent", 1)
    runs = [make_run("agent", number) for number in range(5)]
    backend.store_run(run)
    backend.store_runs(runs)
    other.store_run(run)
    other.store_run(run)
    other.store_runs([run, make_run("agent", 2)])
    for each in runs:
        while place.raw.exists(f"{backend.key_prefix}@run:agent:{each.id}"):
            pass
    assert backend.list_runs("agent", on_corrupt="skip") == []
    assert len(other.list_runs("agent")) == 2
    remaining = place.raw.ttl(f"{other.key_prefix}@run:agent:{run.id}")
    assert 3500 < remaining <= 3600


def test_the_last_so_many_runs_are_kept(backend: RedisBackend) -> None:
    runs = [make_run("agent", number) for number in range(30)]
    backend.store_runs(runs)
    assert backend.trim_runs("agent", 40) == 0
    assert backend.trim_runs("agent", 10) == 20
    assert as_value(backend.list_runs("agent")) == as_value(runs[20:])
    assert backend.trim_runs("agent", 0) == 10
    with pytest.raises(InvalidConfigurationError):
        backend.trim_runs("agent", -1)


def test_runs_of_megabytes_among_small_ones(backend: RedisBackend) -> None:
    runs = [make_run("agent", number, blob="é" * (700_000 if number % 9 == 4 else 3)) for number in range(60)]
    assert (backend.store_runs(runs)).created == 60
    assert as_value(backend.list_runs("agent")) == as_value(runs)
    assert as_value([run for run in backend.iter_runs("agent")]) == as_value(runs)


def test_thousands_of_runs_are_listed_whole(place: Place) -> None:
    backend = place.open()
    # More than a server as it is shipped gives at once; engines of the tests have no such limit.
    count = 3000 if place.server or place.cluster else 12_000
    backend.store_runs(make_run("agent", number) for number in range(count))
    listed = backend.list_runs("agent")
    assert [run.model_extra["of_a_later_release"]["number"] for run in listed] == list(range(count))
