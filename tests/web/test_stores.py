"""The pages over each kind of store: a file, a server, a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from relay_models import RunRecord
from relay_models.documents import KINDS, Keys
from relay_models.records import RunExtensions, Status, Timestamp
from relay_models.sync import RedisBackend
from relay_models.web import create_app
from tests.servers.simulated_cluster import SimulatedCluster

BEGIN = datetime.now(UTC) - timedelta(hours=1)


def small_runs(count: int) -> list[RunRecord]:
    runs = []
    for number in range(count):
        began = BEGIN + timedelta(seconds=number)
        run = RunRecord(
            agent_id=f"agent {number % 3}", started_at=Timestamp(began),
            ended_at=Timestamp(began + timedelta(milliseconds=1 + number * 37 % 1000)),
        )  # fmt: skip
        status = Status("failed") if number % 10 == 0 else None
        run.relay_models = RunExtensions(session_id=f"session {number // 4}", status=status)
        runs.append(run)
    return runs


@pytest.fixture(params=["file", "cluster", pytest.param("server", marks=pytest.mark.real_server)])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisBackend]:
    if request.param == "file":
        with RedisBackend.embedded(tmp_path / "runs.db") as backend:
            yield backend
        return
    if request.param == "cluster":
        with SimulatedCluster() as cluster, RedisBackend.connect(cluster.url) as backend:
            yield backend
        return
    prefix = f"test-{uuid4().hex[:12]}:"
    with RedisBackend.connect(os.environ["RELAY_MODELS_TEST_REDIS_URL"], prefix) as backend:
        yield backend
        for kind in KINDS:
            backend.client.execute_command("FT.DROPINDEX", Keys(prefix).index(kind), "DD")


def rows(page: str) -> list[str]:
    return re.findall(r'data-row="([^"]+)"', page)


def test_every_page_answers(stored: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_models.query.paging.page_bounds._SAMPLE", 50)
    for module in ("web.numbers", "views.windows"):
        monkeypatch.setattr(f"relay_models.{module}.MOST_EXACT", 100)
    records = small_runs(400)
    stored.store_runs(records)
    client = TestClient(create_app(stored), base_url="http://localhost")
    slowest = sorted(records, key=lambda run: run.started_at.nanoseconds - run.ended_at.nanoseconds)  # type: ignore[union-attr]
    first = client.get("/runs?order=-duration").text
    assert rows(first)[0] == str(slowest[0].id)
    following = re.findall(r'rel="next" href="([^"]+)"', first)[0].replace("&amp;", "&")
    assert not set(rows(first)) & set(rows(client.get(following).text))
    one, two = rows(first)[:2]
    for path in (
        "/runs", "/runs?filter=status+%3D+failed&order=-duration", f"/runs/{one}", f"/compare?run={one}&run={two}",
        f"/compare?run={one}", "/numbers", "/numbers?filter=all", "/numbers?filter=all&exact=1", "/sessions", "/agents",
        "/agents/agent?id=agent+1", "/compare?left=status+%3D+failed&right=all", "/saved", "/runs/complete.json",
        "/runs/complete.json?column=agent", "/runs/state.json", "/runs/export?format=csv",
    ):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert 'class="error"' not in answer.text, path
    numbers = client.get("/numbers?filter=all").text
    assert re.search(r"<dt>failed</dt>\s*<dd>40</dd>", numbers)
