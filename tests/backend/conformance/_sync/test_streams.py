# ruff: noqa
# fmt: off
# Generated from tests/backend/conformance/_async/test_streams.py by scripts/generate_sync.py: change that, not this.
"""Streams and watches of a backend: every run once, whatever is written meanwhile and whatever is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay_models.backend._sync import collection
from relay_models.backend._sync.backend import RedisBackend
from relay_models.documents import Run
from relay_models.errors import ConnectionFailedError, CorruptDocumentsError, InvalidConfigurationError, QueryError
from tests.backend.stores import make_run

from .conftest import Place


@pytest.fixture
def runs(backend: RedisBackend) -> list[Any]:
    """Sixty runs of three agents, some of which began at the same time."""
    made = [make_run(f"agent|{number % 3}", number // 4, running=number >= 50) for number in range(60)]
    backend.store_runs(made)
    return made


def open_cursors(backend: RedisBackend, place: Place) -> int:
    info = place.raw.execute_command("FT.INFO", f"{backend.key_prefix}@run")
    stats = {name.decode() if isinstance(name, bytes) else name: value for name, value in info.items()}["cursor_stats"]
    return int({(n.decode() if isinstance(n, bytes) else n): value for n, value in stats.items()}["index_total"])


@pytest.mark.parametrize("order", ["started_at", "-started_at", "-duration", "agent_id", "-status"])
def test_runs_that_are_written_meanwhile(backend: RedisBackend, runs: list[Any], order: str) -> None:
    kept = runs[:40]
    seen: list[str] = []
    deleted: set[str] = set()
    for row in backend.stream_runs(order_by=order, page_size=7):
        seen.append(row.run_id)
        number = len(seen)
        if number % 9 == 0 and len(deleted) < 20:
            gone = runs[59 - len(deleted)]
            deleted.add(str(gone.id))
            backend.delete_run(gone.agent_id, gone.id)
        if number % 5 == 0:
            backend.store_run(kept[number % len(kept)])
    assert len(set(seen)) == len(seen)
    assert {str(run.id) for run in kept} <= set(seen)
    assert set(seen) >= {str(run.id) for run in runs} - deleted


@pytest.mark.parametrize("failing", ["begin", "finish"])
def test_a_lost_connection_loses_no_run(
    backend: RedisBackend, runs: list[Any], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    whole = [row.run_id for row in backend.stream_runs(order_by="duration", page_size=9)]
    works: Callable[..., Any] = getattr(backend.transport, failing)
    count = 0

    def fails(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count % 2:
            if failing == "finish":
                works(*arguments)
            raise ConnectionFailedError("the cable is cut")
        return works(*arguments)

    monkeypatch.setattr(backend.transport, failing, fails)
    assert [row.run_id for row in backend.stream_runs(order_by="duration", page_size=9)] == whole
    assert [row.run_id for row in backend.find_runs(order_by="duration", limit=None)] == whole
    assert count >= 4


def test_a_lost_cursor_loses_no_run(
    backend: RedisBackend, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = backend.transport.begin

    def another(command: Any) -> Any:
        return works([*command[:3], 12345, *command[4:]])

    monkeypatch.setattr(backend.transport, "begin", another)
    found = [row.run_id for row in backend.stream_runs(order_by="started_at", page_size=9)]
    monkeypatch.undo()
    assert found == [row.run_id for row in backend.find_runs(order_by="started_at", limit=100)]
    assert len(found) == 60


def test_a_lost_index_loses_no_run(backend: RedisBackend, runs: list[Any], place: Place) -> None:
    whole = [row.run_id for row in backend.stream_runs(order_by="duration", page_size=9)]
    seen = []
    for row in backend.stream_runs(order_by="duration", page_size=9):
        seen.append(row.run_id)
        if len(seen) in (5, 30):
            place.raw.execute_command("FT.DROPINDEX", place.run_index(backend))
    assert seen == whole


def test_no_cursor_is_left_behind(backend: RedisBackend, runs: list[Any], place: Place) -> None:
    stream = backend.stream_runs(page_size=5)
    assert (next(stream)).run_id
    if place.server is not None or not place.is_cluster:  # a coordinator does not count its own cursors
        assert open_cursors(backend, place) == 1
    stream.close()
    assert open_cursors(backend, place) == 0
    assert len([row for row in backend.stream_runs(page_size=5)]) == 60
    assert len([row for row in backend.stream_runs(Run.find().limit(12), page_size=5)]) == 12
    assert backend.delete_runs(Run.agent_id == "agent|1") == 20
    assert open_cursors(backend, place) == 0


def test_a_server_with_too_many_cursors(backend: RedisBackend, runs: list[Any], place: Place) -> None:
    ask = ["FT.AGGREGATE", f"{backend.key_prefix}@run", "*", "WITHCURSOR", "COUNT", 1, "MAXIDLE", 60_000]
    for _ in range(128):
        place.raw.execute_command(*ask)
    found = [row.run_id for row in backend.stream_runs(page_size=7)]
    assert found == [row.run_id for row in backend.find_runs(limit=100)]


def test_documents_that_cannot_be_read(backend: RedisBackend, runs: list[Any], place: Place) -> None:
    key = f"{backend.key_prefix}@run:agent|0:{runs[0].id}"
    place.raw.execute_command("JSON.DEL", key, "$.record")
    stream = backend.stream_runs(page_size=7, on_corrupt="skip")
    assert len([row for row in stream]) == 59
    assert [error.key for error in stream.corrupt] == [key]
    strict = backend.stream_runs(page_size=7)
    with pytest.raises(CorruptDocumentsError):
        assert len([row for row in strict]) == 59
    assert [error.key for error in strict.corrupt] == [key]
    assert len((backend.find_runs(limit=None, on_corrupt="skip")).corrupt) == 1


def test_counting_up_while_runs_are_replaced(
    backend: RedisBackend, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_models.query.server_cursor.ROWS_PER_READ", 5)
    wanted = backend.aggregate_runs(by="agent_id", metrics=["count", "p95(duration)", "distinct(models)"])
    works = backend.transport.execute_once
    replaced = 0

    def meanwhile(*command: Any) -> Any:
        nonlocal replaced
        if replaced < 30:
            backend.store_run(runs[replaced % 50])
            replaced += 7
        return works(*command)

    monkeypatch.setattr(backend.transport, "execute_once", meanwhile)
    found = backend.aggregate_runs(by="agent_id", metrics=["count", "p95(duration)", "distinct(models)"])
    assert replaced >= 30
    assert [dict(row) for row in found] == [dict(row) for row in wanted]


def test_watching_new_and_changed_runs(
    backend: RedisBackend, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_run("old", 1)
    backend.store_run(old)
    other = place.open(backend.key_prefix.removeprefix(place.token))
    made = [make_run("new", number) for number in range(2, 6)]
    idle = 0

    def meanwhile(seconds: float) -> None:
        """What happens while the watch waits for something to happen."""
        nonlocal idle
        idle += 1
        if idle == 1:
            other.store_runs(made)
        elif idle == 3:
            other.store_runs([old, make_run("newer", 9, running=True)])
        elif idle == 4:
            backend.store_run(made[0])

    monkeypatch.setattr(collection, "sleep", meanwhile)
    seen = []
    with closing(backend.watch_runs(interval=5)) as watch:
        for run in watch:
            seen.append(run)
            if len(seen) == 7:
                break
    assert [run.run_id for run in seen[:4]] == [str(run.id) for run in made]
    assert sorted(run.agent_id for run in seen[4:6]) == ["newer", "old"]
    assert seen[6].record == made[0]
    assert seen[6].updated_at > seen[6].stored_at
    assert idle == 4


def test_a_watch_finds_what_comes_late(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    late, clock = make_run("late", 1), backend._store.clock
    passed = 0
    mark = clock.mark
    monkeypatch.setattr(clock, "mark", lambda: mark() + passed)

    def meanwhile(seconds: float) -> None:
        nonlocal passed
        passed += 3_000_000_000
        if not backend.count_runs():
            now = clock.now
            monkeypatch.setattr(clock, "now", lambda: now() - 50_000_000)
            backend.store_run(late)
            monkeypatch.setattr(clock, "now", now)

    monkeypatch.setattr(collection, "sleep", meanwhile)
    with closing(backend.watch_runs()) as watch:
        assert (next(watch)).agent_id == "late"


def test_watching_what_a_filter_finds_from_the_beginning(backend: RedisBackend, runs: list[Any]) -> None:
    seen = []
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    watch = backend.watch_runs("status = completed", since=long_ago, changes=False, columns=True, interval=0)
    with closing(watch):
        for run in watch:
            seen.append(run.run_id)
            if len(seen) == 50:
                backend.store_runs([runs[3], runs[55]])
                backend.store_run(make_run("last", 99))
            if run.agent_id == "last":
                break
    assert seen[:50] == [str(run.id) for run in runs[:50]]
    assert len(seen) == 51
    recent = backend.watch_runs(since=timedelta(minutes=5), interval=0)
    with closing(recent):
        assert len({(next(recent)).run_id for _ in range(61)}) == 61


def test_what_cannot_be_watched(backend: RedisBackend) -> None:
    with pytest.raises(QueryError, match="since"):
        backend.watch_runs(since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(QueryError, match="since"):
        backend.watch_runs(since="yesterday")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfigurationError, match="interval"):
        backend.watch_runs(interval=-1)
