"""Documents of a user's own models as tables: filter, order, pages, completion, export, one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from relay_models import RunRecord
from relay_models.sync import RedisBackend
from relay_models.web import create_app
from tests.web.conftest import BASE
from tests.web.hostile_models import Feedback, Mood


@pytest.fixture
def backend() -> Iterator[RedisBackend]:
    with RedisBackend.embedded(models=[Feedback]) as backend:
        feedback = backend.collection(Feedback)
        run = RunRecord(agent_id="planner")
        backend.store_run(run)
        feedback.save_many(
            Feedback(
                pk=f"item/{number} ü", run_id=str(run.id), author=f"user {number % 3}", topics=["speed", "tone"],
                stars=number % 5 + 1, mood=Mood.GOOD, comment=f"comment {number}", raw={"number": number},
            )
            for number in range(60)
        )  # fmt: skip
        yield backend


@pytest.fixture
def client(backend: RedisBackend) -> TestClient:
    return TestClient(create_app(backend), base_url=BASE, follow_redirects=False)


def rows(page: Any) -> list[str]:
    assert page.status_code == 200, page.text
    return re.findall(r'data-row="([^"]+)"', page.text)


def test_models_are_named_with_their_documents(client: TestClient) -> None:
    page = client.get("/models").text
    assert "Feedback" in page
    assert ">60<" in page
    assert 'href="/models"' in client.get("/runs").text


def test_documents_are_filtered_sorted_and_paged(client: TestClient) -> None:
    page = client.get("/models/feedback?filter=stars+%3E%3D+4&order=stars&limit=25")
    first = rows(page)
    assert len(first) == 24
    assert rows(client.get('/models/feedback?filter=author+%3D+"user+1"&columns=author,stars&limit=100'))
    page = client.get("/models/feedback?limit=25")
    (after,) = re.findall(r'rel="next" href="([^"]+)"', page.text)
    second = rows(client.get(unescape(after)))
    assert len(set(rows(page)) | set(second)) == 50
    error = client.get("/models/feedback?filter=starz+%3E+3")
    assert error.status_code == 400
    assert "starz" in error.text
    assert "No runs" not in client.get("/models/feedback?filter=stars+%3E+9").text


def test_a_document_shows_all_of_its_fields(client: TestClient, backend: RedisBackend) -> None:
    page = client.get("/models/feedback").text
    links = [unescape(link) for link in re.findall(r'class="open" href="([^"]+)"', page)]
    item = client.get(links[0]).text
    for text in ("author", "topics", "speed", "comment 59", "&#34;number&#34;: 59", "good"):
        assert text in item, text
    run_id = backend.find_runs()[0].run_id
    assert f'href="/runs/{run_id}"' in item
    raw = client.get(links[0].replace("/item?", "/raw.json?"))
    assert json.loads(raw.text)["comment"] == "comment 59"
    assert client.get("/models/feedback/item?id=none").status_code == 404


def test_values_are_completed_counted_and_exported(client: TestClient, backend: RedisBackend) -> None:
    names = [column["name"] for column in client.get("/models/feedback/complete.json").json()]
    assert {"pk", "author", "stars"} <= set(names)
    assert client.get("/models/feedback/complete.json?column=author").json() == ["user 0", "user 1", "user 2"]
    assert client.get("/models/feedback/complete.json?column=mood").json() == ["good", "bad"]
    (stored,) = re.findall(r'data-stored="([^"]+)"', client.get("/models/feedback").text)
    backend.collection(Feedback).save(Feedback(author="new", topics=[], comment=""))
    assert client.get("/models/feedback/state.json", params={"since": stored}).json() == {"new": 1}
    assert client.get("/models/feedback/state.json").json() == {"total": 61}
    lines = client.get("/models/feedback/export?columns=author,stars&order=stars&filter=stars+%3C+3").text.splitlines()
    assert lines[0] == "author,stars"
    assert len(lines) == 25


def test_a_model_that_there_is_not_is_named(client: TestClient) -> None:
    for path in ("", "/item", "/raw.json", "/export", "/state.json", "/complete.json"):
        answer = client.get(f"/models/nothing{path}")
        assert answer.status_code == 404
        assert "feedback" in answer.text
    with RedisBackend.embedded() as without:
        page = TestClient(create_app(without), base_url=BASE)
        assert 'href="/models"' not in page.get("/runs").text
        assert "--models" in page.get("/models").text
