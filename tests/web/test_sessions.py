"""Sessions, the tree of nested runs, and scores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from relay_models import RunRecord
from relay_models.records import Timestamp
from relay_models.sync import RedisBackend
from relay_models.views import session_page
from relay_models.web import create_app
from tests.web.conftest import BASE


def run_of(session: str | None, minute: int, **ext: object) -> RunRecord:
    began = Timestamp(f"2026-11-23T{10 + minute // 60}:{minute % 60:02}:00Z")
    ended = Timestamp(f"2026-11-23T{10 + minute // 60}:{minute % 60:02}:30Z")
    known = {"session_id": session, **ext}
    kept = {name: value for name, value in known.items() if value is not None}
    return RunRecord(agent_id=f"agent {minute % 2}", started_at=began, ended_at=ended, ext=kept)


@pytest.fixture
def backend() -> Iterator[RedisBackend]:
    with RedisBackend.embedded() as backend:
        # Sessions overlap, some begin in the same instant, and some go on after others began.
        backend.store_runs(run_of(f"s{minute % 7}", minute, user_id="ana") for minute in range(100))
        backend.store_runs(run_of(f"same {number}", 120) for number in range(5))
        backend.store_run(run_of("fails", 150, status="failed"))
        backend.store_run(run_of(None, 170))
        yield backend


@pytest.mark.parametrize("limit", [1, 2, 4, 50])
def test_every_session_is_on_one_page(backend: RedisBackend, limit: int) -> None:
    found = []
    page = session_page(backend, None, limit=limit)
    found += page.sessions
    while page.before is not None:
        assert len(page.sessions) >= limit
        page = session_page(backend, None, limit=limit, before=page.before)
        found += page.sessions
    names = [each.session_id for each in found]
    assert sorted(names) == sorted([*(f"s{k}" for k in range(7)), *(f"same {k}" for k in range(5)), "fails"])
    times = [each.last_started_at for each in found]
    assert times == sorted(times, reverse=True)
    counts = {row["session_id"]: row["count"] for row in backend.aggregate_runs(by="session_id")}
    assert {each.session_id: each.runs for each in found}.items() <= counts.items()
    assert next(each for each in found if each.session_id == "fails").failed_runs == 1


def test_sessions_are_shown_and_lead_to_their_runs(backend: RedisBackend) -> None:
    client = TestClient(create_app(backend), base_url=BASE)
    page = client.get("/sessions").text
    links = [unescape(link) for link in re.findall(r'class="open" href="([^"]+)"', page)]
    assert len(links) == 13
    assert client.get(links[-1]).text.count("data-row=") == 14
    assert ">fails<" in client.get("/sessions?filter=status+%3D+failed").text
    assert client.get("/sessions?filter=nonsense").status_code == 400
    assert client.get("/sessions?before=nonsense").status_code == 400
    assert "No session has runs that match" in client.get("/sessions?filter=agent+%3D+nobody").text


def test_nested_runs_are_a_tree(empty: RedisBackend) -> None:
    root, child, grandchild, other = (RunRecord(agent_id=name) for name in ("root", "child", "grandchild", "other"))
    child.ext = {"parent_run_id": root.id, "root_run_id": root.id}
    grandchild.ext = {"parent_run_id": child.id, "root_run_id": root.id}
    lost = RunRecord(agent_id="lost", ext={"parent_run_id": uuid4(), "root_run_id": root.id})
    # Two runs that name each other as their parents are shown all the same.
    one, two = RunRecord(agent_id="one"), RunRecord(agent_id="two")
    one.ext = {"parent_run_id": two.id, "root_run_id": root.id}
    two.ext = {"parent_run_id": one.id, "root_run_id": root.id}
    empty.store_runs([root, child, grandchild, other, lost, one, two])
    client = TestClient(create_app(empty), base_url=BASE)
    for run in (root, child, grandchild):
        page = client.get(f"/runs/{run.id}").text
        depths = {name: int(depth) for depth, name in re.findall(r'class="depth depth-(\d)">(\w+)', page)}
        assert depths["root"] == 0
        assert depths["child"] == 1
        assert depths["grandchild"] == 2
        assert depths["lost"] == 0
        assert sorted(depths) == ["child", "grandchild", "lost", "one", "root", "two"]
    assert "Nested runs" not in client.get(f"/runs/{other.id}").text


def test_scores_are_set_shown_and_taken_away(empty: RedisBackend) -> None:
    client = TestClient(create_app(empty), base_url=BASE, follow_redirects=False)
    run = RunRecord(agent_id="planner")
    empty.store_run(run)
    (token,) = set(re.findall(r'name="token" value="([^"]+)"', client.get(f"/runs/{run.id}").text))
    form = {"token": token, "agent": "planner", "score_name": "to the <point>", "score_value": "0.75", "by": "ana"}
    assert client.post(f"/runs/{run.id}/label", data=form).status_code == 303
    page = client.get(f"/runs/{run.id}").text
    assert "to the &lt;point&gt; <b>0.75</b>" in page
    assert "human ana" in page
    assert empty.count_runs('score."to the <point>" = 0.75') == 1
    for wrong in ({"score_value": "much"}, {"score_value": ""}, {"score_name": ""}, {"score_value": "inf"}):
        answer = client.post(f"/runs/{run.id}/label", data={**form, **wrong})
        assert answer.status_code == 400, wrong
    tag = {"token": token, "agent": "planner", "tags": "a, b"}
    assert client.post(f"/runs/{run.id}/label", data=tag).status_code == 303
    gone = {"token": token, "agent": "planner", "tag": "a", "score": "to the <point>"}
    assert client.post(f"/runs/{run.id}/label", data=gone).status_code == 303
    assert empty.find_runs()[0].tags == ["b"]
    assert empty.find_runs()[0].scores == {}
    shown = TestClient(create_app(empty, read_only=True), base_url=BASE).get(f"/runs/{run.id}").text
    assert ">b</a>" in shown
    assert 'method="post"' not in shown
