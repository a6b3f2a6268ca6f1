"""A page over the captured deployment, and one over runs that try to break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from relay_models import SavedQuestion
from relay_models.cli.capture import open_capture
from relay_models.cli.import_capture import import_capture
from relay_models.sync import RedisBackend
from relay_models.views import quoted
from relay_models.web import create_app
from tests.web.hostile import ATTACKS, hostile_runs
from tests.web.hostile_models import Feedback, hostile_feedback

BASE = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, pages have their answers and none is shown again; tests of that set the times."""
    monkeypatch.setattr("relay_models.web.kept.QUICK", 60)
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", float("inf"))


@pytest.fixture(scope="session")
def store(capture_path: Path) -> Iterator[RedisBackend]:
    """The capture in memory; tests only read it."""
    with RedisBackend.embedded() as backend:
        with open_capture(str(capture_path)) as capture:
            import_capture(backend, capture, "tests")
        yield backend


@pytest.fixture
def empty() -> Iterator[RedisBackend]:
    with RedisBackend.embedded() as backend:
        yield backend


@pytest.fixture(scope="session")
def hostile_store() -> Iterator[RedisBackend]:
    with RedisBackend.embedded(models=[Feedback]) as backend:
        runs = hostile_runs()
        backend.store_runs(runs)
        for text, run in zip(ATTACKS, runs, strict=True):
            said = text or "empty"
            backend.runs.label(run, tags={said}, scores={said[:900]: 0.5}, note=said, by=said, source=said)
        backend.collection(Feedback).save_many(hostile_feedback())
        backend.saved.save(SavedQuestion("hostile", f"agent = {quoted(ATTACKS[0])}"))
        yield backend


@pytest.fixture
def client(store: RedisBackend) -> TestClient:
    return TestClient(create_app(store), base_url=BASE, follow_redirects=False)


@pytest.fixture
def hostile_client(hostile_store: RedisBackend) -> TestClient:
    return TestClient(create_app(hostile_store), base_url=BASE, follow_redirects=False)
