"""What a backend over a file says and does when the disk is full, and when the clock is set back."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from relay_models.errors import StorageError
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run
from tests.embedded.persistence.processes import fill


def test_a_full_disk_is_named_and_reading_goes_on(disk: Path) -> None:
    path = disk / "x.db"
    backend = RedisBackend.embedded(path)
    for _ in range(5):
        backend.store_run(make_run("a"))
    fill(disk)
    with pytest.raises(StorageError, match="the disk is full") as caught:  # noqa: PT012
        while True:
            backend.store_run(make_run("a"))
    assert "server running" not in str(caught.value)
    assert "FakeRedis" not in str(caught.value)
    before = [str(run.id) for run in backend.list_runs("a")]
    assert len(before) >= 5
    with contextlib.suppress(StorageError):  # unless the space that the last change left is enough
        backend.close()
    with RedisBackend.embedded(path) as backend:
        assert [str(run.id) for run in backend.list_runs("a")] == before
    (disk / "rest").unlink()
    with RedisBackend.embedded(path) as backend:
        backend.store_run(make_run("a"))
        assert [str(run.id) for run in backend.list_runs("a")][:-1] == before


def test_a_file_that_was_removed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with RedisBackend.embedded(path) as backend:
        backend.store_run(make_run("a"))
        path.unlink()
        with pytest.raises(StorageError, match="was replaced, moved or removed while it was open") as caught:
            backend.store_run(make_run("a"))
        with pytest.raises(StorageError, match="was replaced, moved or removed while it was open"):
            backend.list_runs("a")
        assert "server running" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("back", [1, 3600, 10_000_000])
def test_runs_stay_in_order_when_the_clock_is_set_back_between_openings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: float
) -> None:
    stored: list[str] = []
    machine = time.time
    offset = 0.0
    monkeypatch.setattr(time, "time", lambda: machine() + offset)
    for _ in range(4):
        with RedisBackend.embedded(tmp_path / "x.db") as backend:
            for _ in range(3):
                run = make_run("a")
                backend.store_run(run)
                stored.append(str(run.id))
            assert [str(run.id) for run in backend.list_runs("a")] == stored
        offset -= back
