"""What the pages show and where their links lead."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from html import escape, unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from starlette.testclient import TestClient

from relay_models import CallRecord, Run, RunRecord, SavedQuestion
from relay_models.errors import ConnectionFailedError
from relay_models.sync import RedisBackend
from relay_models.web import create_app
from relay_models.web.question import Question
from tests.web.conftest import BASE

PAGES = ("/runs", "/numbers", "/numbers?filter=all", "/agents", "/agents/agent?id=research-agent", "/compare", "/saved")


def links(page: str, beginning: str) -> list[str]:
    """The addresses of a page's links that begin so."""
    return [unescape(found) for found in re.findall(r'href="([^"]*)"', page) if unescape(found).startswith(beginning)]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.text.count("<h1") == 1


@pytest.mark.parametrize("path", [path for path in PAGES if "/agent?" not in path])
def test_every_page_of_an_empty_store_answers(empty: RedisBackend, path: str) -> None:
    assert TestClient(create_app(empty), base_url="http://localhost").get(path).status_code == 200


def test_the_root_leads_to_the_runs(client: TestClient) -> None:
    assert client.get("/").headers["location"] == "/runs"


def test_runs_are_filtered_sorted_and_cut_as_the_url_says(client: TestClient, store: RedisBackend) -> None:
    page = client.get("/runs?filter=duration+>+20ms&order=-duration&limit=3").text
    expected = [str(run.run_id) for run in store.find_runs("duration > 20ms", order_by="-duration", limit=3)]
    assert re.findall(r'data-row="([^"]+)"', page) == expected
    assert 'value="duration &gt; 20ms"' in page


def test_pages_follow_each_other_by_cursor_and_lose_nothing(client: TestClient, store: RedisBackend) -> None:
    path, seen = "/runs?limit=50&order=duration", []
    while path:
        page = client.get(path).text
        seen += re.findall(r'data-row="([^"]+)"', page)
        following = re.findall(r'rel="next" href="([^"]+)"', page)
        path = unescape(following[0]) if following else ""
    assert len(seen) == len(set(seen)) == store.count_runs()


def test_every_declared_column_can_be_shown(client: TestClient) -> None:
    names = [name for name, column in Run.columns().items() if column.kind != "words"]
    answer = client.get("/runs?columns=" + ",".join(names))
    assert answer.status_code == 200
    for name in names:
        if name != "run_id":
            assert Run.columns()[name].heading.replace("_", " ") in answer.text


def test_a_head_sorts_and_a_second_click_turns_round(client: TestClient) -> None:
    first = client.get("/runs").text
    (by_duration,) = links(first, "/runs?order=-duration")[:1]
    assert "order=duration" in " ".join(links(client.get(by_duration).text, "/runs?"))


def test_a_value_narrows_the_filter(client: TestClient, store: RedisBackend) -> None:
    page = client.get("/runs?filter=duration+>+1ms").text
    narrowed = next(link for link in links(page, "/runs?filter=") if "agent_id" in link)
    assert "duration" in narrowed
    assert client.get(narrowed).status_code == 200


@pytest.mark.parametrize(
    ("filter", "narrowed"),
    [
        ("status = failed", "status = failed"),
        ("llm_calls > 1 and status = failed", "llm_calls > 1 and status = failed"),
        ("(llm_calls > 1 or calls > 2) and status = failed", "(llm_calls > 1 or calls > 2) and status = failed"),
        ("not status = failed", "not status = failed and status = failed"),
        ("calls > 2 or status = failed", "(calls > 2 or status = failed) and status = failed"),
        ('tool = "a or b"', 'tool = "a or b" and status = failed'),
        ('tool = "a and status = failed and b"', 'tool = "a and status = failed and b" and status = failed'),
        ("agent_id = 'it\\'s' and (a = 1)", "agent_id = 'it\\'s' and (a = 1) and status = failed"),
    ],
)
def test_a_condition_is_added_unless_the_filter_demands_it(filter: str, narrowed: str) -> None:
    assert Question(filter).narrowed("status = failed") == narrowed


def test_runs_that_did_not_fail_are_not_counted_as_failed(client: TestClient) -> None:
    page = client.get("/numbers?filter=not+status+=+failed").text
    assert re.search(r"<dt>failed</dt>\s*<dd>0</dd>", page)


@pytest.mark.parametrize(
    ("filter", "said"),
    [("duration > fast", "^^^^"), ("nonsense = 1", "there is no column"), ("duration >", "expected")],
)
def test_a_wrong_filter_is_shown_again_with_its_error(client: TestClient, filter: str, said: str) -> None:
    for path in ("/runs", "/numbers"):
        answer = client.get(f"{path}?filter={quote(filter)}")
        assert answer.status_code == 400
        assert said in unescape(answer.text)
        assert f'value="{filter}"' in unescape(answer.text)


def test_a_wrong_cursor_order_or_column_is_an_error_page(client: TestClient) -> None:
    for path in ("/runs?after=nonsense", "/runs?order=models", "/runs?columns=nonsense", "/runs?limit=0"):
        assert client.get(path).status_code == 400, path


def test_new_runs_are_counted(empty: RedisBackend) -> None:
    client = TestClient(create_app(empty), base_url="http://localhost")
    empty.store_run(RunRecord(agent_id="first"))
    (stored,) = re.findall(r'data-stored="([^"]+)"', client.get("/runs").text)
    assert client.get("/runs/state.json", params={"since": stored}).json() == {"new": 0}
    empty.store_run(RunRecord(agent_id="second"))
    assert client.get("/runs/state.json", params={"since": stored}).json() == {"new": 1}
    assert client.get("/runs/state.json").json() == {"total": 2}
    assert client.get("/runs/state.json", params={"since": stored, "total": "1"}).json() == {"new": 1, "total": 2}
    narrow = {"since": stored, "filter": "agent = first or agent = third"}
    assert client.get("/runs/state.json", params=narrow).json() == {"new": 0}


def test_columns_and_values_are_offered_for_completion(client: TestClient) -> None:
    names = [column["name"] for column in client.get("/runs/complete.json").json()]
    assert names[: len(Run.columns())] == list(Run.columns())
    assert "research-agent" in client.get("/runs/complete.json?column=agent").json()
    assert client.get("/runs/complete.json?column=status").json() == list(Run.columns()["status"].choices)
    assert client.get("/runs/complete.json?column=nonsense").status_code == 400


def test_scores_are_offered_by_name_and_value(empty: RedisBackend) -> None:
    for number in range(5):
        run = RunRecord(agent_id="planner")
        empty.store_run(run)
        empty.runs.label(run, scores={"helpfulness": number / 10, "two words": 1})
    client = TestClient(create_app(empty), base_url="http://localhost")
    offered = {column["name"]: column for column in client.get("/runs/complete.json").json()}
    assert {"score.helpfulness", 'score."two words"'} <= set(offered)
    assert ">=" in offered["score.helpfulness"]["operators"]
    values = client.get("/runs/complete.json", params={"column": "score.helpfulness"}).json()
    assert values == ["0", "0.2", "0.4"]
    assert client.get("/runs/complete.json", params={"column": 'score."two words"'}).json() == ["1"]
    assert client.get("/runs/complete.json", params={"column": "score.unknown"}).json() == []


def test_an_export_has_what_is_shown(client: TestClient, store: RedisBackend) -> None:
    path = "/runs/export?filter=duration+>+20ms&order=-duration&columns=agent_id,duration&format="
    rows = list(csv.DictReader(io.StringIO(client.get(path + "csv").text)))
    assert len(rows) == store.count_runs("duration > 20ms")
    assert list(rows[0]) == ["agent_id", "duration"]
    lines = client.get(path + "jsonl").text.splitlines()
    assert [json.loads(line)["agent_id"] for line in lines] == [row["agent_id"] for row in rows]
    assert client.get(path + "exe").status_code == 400


def test_a_run_shows_its_calls_and_the_same_elsewhere(client: TestClient, store: RedisBackend) -> None:
    run = store.find_runs(order_by="-calls", limit=1)[0]
    page = client.get(f"/runs/{run.run_id}").text
    assert page.count('<details class="call') == run.calls
    assert f"relay-models runs show {run.run_id}" in page
    assert "<svg" in page
    raw = client.get(f"/runs/{run.run_id}/raw.json")
    assert raw.json()["id"] == str(run.run_id)
    for extra in ("zoom=4", "rows=names", "zoom=999&rows=nonsense"):
        assert client.get(f"/runs/{run.run_id}?{extra}").status_code == 200


def test_a_run_is_found_by_the_beginning_of_its_id(client: TestClient, store: RedisBackend) -> None:
    run = store.find_runs(limit=1)[0]
    assert client.get(f"/runs/{str(run.run_id)[:30]}").status_code == 200
    assert client.get("/runs/01a2").status_code == 400
    assert client.get("/runs/zzz").status_code == 404
    assert client.get("/nowhere").status_code == 404


def test_a_prompt_that_repeats_the_last_one_shows_what_is_new(empty: RedisBackend) -> None:
    def call(*texts: str) -> CallRecord:
        request = {"messages": [{"role": "user", "content": text} for text in texts]}
        return CallRecord.model_validate(
            {"kind": "llm", "name": "openai", "started_at": "2026-11-23T10:00:00Z", "annotated_request": request}
        )

    run = RunRecord(agent_id="talker", calls=[call("first question"), call("first question", "second question")])
    empty.store_run(run)
    page = TestClient(create_app(empty), base_url="http://localhost").get(f"/runs/{run.id}").text
    assert page.count("second question") == 1
    assert "1 earlier message, as in the last prompt" in page


def test_a_bar_leads_to_its_runs(client: TestClient, store: RedisBackend) -> None:
    page = client.get("/numbers?filter=duration+>+1ms").text
    bars = links(page, "/runs?filter=")
    assert len(bars) > 10
    for bar in {link for link in bars if "agent_id" in link or "started_at" in link}:
        answer = client.get(bar)
        assert answer.status_code == 200
        assert "data-row=" in answer.text, bar


def test_numbers_are_those_of_an_aggregate(client: TestClient, store: RedisBackend) -> None:
    total = store.aggregate_runs(metrics=["count", "sum(total_tokens)"])[0]
    page = client.get("/numbers?filter=all").text
    assert f"<dd>{total['count']:,}</dd>" in page
    assert f"<dd>{total['sum(total_tokens)']:,}</dd>" in page


def test_two_runs_are_compared_call_by_call(client: TestClient, store: RedisBackend) -> None:
    one, two = (str(run.run_id) for run in store.find_runs(limit=2))
    page = client.get(f"/compare?run={one}&run={two}").text
    assert one in page
    assert two in page
    assert '<details class="call"' in page
    same = client.get(f"/compare?run={one}&run={one}").text
    assert ">differs</span>" not in same
    assert client.get(f"/compare?run={one}").status_code == 200
    assert client.get(f"/compare?run={one}&run={two}&run={one}").status_code == 400
    assert client.get(f"/compare?run={one}&run=ffff").status_code == 404


def test_two_filters_are_compared(client: TestClient) -> None:
    page = client.get("/compare?left=agent+%3D+research-agent&right=all").text
    assert "may be chance: " in page
    assert "failed runs" in page
    assert client.get("/compare?left=agent+%3D&right=all").status_code == 400


def test_an_agent_shows_what_was_learned(client: TestClient) -> None:
    (link,) = [link for link in links(client.get("/agents").text, "/agents/agent") if "research-agent" in link]
    page = client.get(link).text
    assert "Prediction trie of research-agent" in page
    assert "output tokens" in page
    assert "Tools that were seen to run in parallel" in page
    assert "No prompts were compared" not in page


def test_an_agent_is_not_shown_prompts_of_one_whose_name_goes_on(client: TestClient) -> None:
    answer = client.get("/agents/agent?id=research")
    assert answer.status_code == 404
    assert "There is no agent &#39;research&#39;" in answer.text


def test_a_field_says_what_it_takes(client: TestClient) -> None:
    fields = [field for path in PAGES for field in re.findall(r"<input[^>]*pattern=[^>]*>", client.get(path).text)]
    assert fields
    assert all('title="Letters, digits' in field for field in fields), "a browser says no more than 'match the format'"


def test_an_agent_that_only_has_runs_has_a_page(empty: RedisBackend) -> None:
    empty.store_run(RunRecord(agent_id="planner"))
    client = TestClient(create_app(empty), base_url="http://localhost")
    assert "No prompts were compared" in client.get("/agents/agent?id=planner").text


def test_a_column_that_runs_are_not_grouped_by_is_said(client: TestClient) -> None:
    for name in ("nope", "duration", "run_id"):
        answer = client.get(f"/numbers?by={name}")
        assert answer.status_code == 400
        assert f"runs are not grouped by &#39;{name}&#39; here, but by agent_id, " in answer.text


def test_numbers_of_runs_at_the_beginning_of_time(empty: RedisBackend) -> None:
    empty.store_run(RunRecord(agent_id="planner", started_at="0001-01-01T00:00:05Z"))
    assert TestClient(create_app(empty), base_url="http://localhost").get("/numbers").status_code == 200


def test_a_question_is_saved_asked_and_deleted(empty: RedisBackend) -> None:
    client = TestClient(create_app(empty), base_url="http://localhost", follow_redirects=False)
    (token,) = set(re.findall(r'name="token" value="([^"]+)"', client.get("/runs?filter=duration+>+2s").text))
    form = {
        "token": token,
        "name": "slow",
        "filter": "duration > 2s",
        "columns": "agent_id,duration",
        "order": "-duration",
    }
    assert client.post("/saved/save", data=form).headers["location"] == "/saved"
    assert empty.saved.all() == [SavedQuestion("slow", "duration > 2s", ("agent_id", "duration"), "-duration")]
    assert client.get("/runs?saved=slow").headers["location"] == (
        "/runs?filter=duration+%3E+2s&columns=agent_id%2Cduration&order=-duration"
    )
    assert client.get("/runs?saved=unknown").status_code == 404
    assert client.post("/saved/save", data={**form, "filter": "nonsense"}).status_code == 400
    assert client.post("/saved/delete", data={"token": token, "name": "slow"}).status_code == 303
    assert empty.saved.all() == []


def test_a_run_is_labelled(empty: RedisBackend) -> None:
    client = TestClient(create_app(empty), base_url="http://localhost", follow_redirects=False)
    run = RunRecord(agent_id="<b>planner")
    empty.store_run(run)
    (token,) = set(re.findall(r'name="token" value="([^"]+)"', client.get(f"/runs/{run.id}").text))
    form = {"token": token, "agent": "<b>planner", "tags": "golden, <i>x", "note": "<script>1</script>"}
    answer = client.post(f"/runs/{run.id}/label", data=form)
    assert answer.status_code == 303
    assert empty.count_runs("tags = golden") == 1
    page = client.get(answer.headers["location"]).text
    assert "golden" in page
    assert "<script>1" not in page
    assert "<i>x" not in page
    gone = {"token": token, "agent": "<b>planner", "remove_tags": "golden"}
    assert client.post(f"/runs/{run.id}/label", data=gone).status_code == 303
    assert empty.count_runs("tags = golden") == 0
    assert client.post(f"/runs/{run.id}/label", data={"token": token, "agent": "<b>planner"}).status_code == 400
    assert client.post(f"/runs/{run.id}/label", data={**form, "agent": "other"}).status_code == 404
    assert client.post(f"/runs/{run.id}/label", data={**form, "token": "no"}).status_code == 403
    read_only = TestClient(create_app(empty, read_only=True), base_url="http://localhost")
    assert read_only.post(f"/runs/{run.id}/label", data=form).status_code in (404, 405)


def test_a_huge_run_makes_a_page_of_bounded_size(empty: RedisBackend) -> None:
    parts = [{"type": "text", "text": "part"}] * 3_000
    messages = [{"role": "user", "content": "x" * 3_000_000}, {"role": "user", "content": parts}]
    messages += [{"role": "user", "content": "again"}] * 1_000
    call = CallRecord.model_validate(
        {
            "kind": "llm", "name": "openai", "started_at": "2026-11-23T10:00:00Z",
            "annotated_request": {"messages": messages}, "annotated_response": {"message": "y" * 3_000_000},
        }
    )  # fmt: skip
    run = RunRecord(agent_id="huge", calls=[call])
    other = RunRecord(agent_id="long", calls=[CallRecord(kind="tool", name=f"tool {n}") for n in range(2_500)])
    empty.store_runs([run, other])
    client = TestClient(create_app(empty), base_url="http://localhost")
    page = client.get(f"/runs/{run.id}").text
    assert len(page) < 300_000
    assert "more characters are in the raw JSON" in page
    assert "802 messages before these" in page
    assert len(client.get(f"/runs/{run.id}/raw.json").text) > 6_000_000
    page = client.get(f"/runs/{other.id}?calls=301").text
    assert len(page) < 400_000
    assert "301 to 600 of 2,500" in page
    assert "<b>tool 300</b>" in page
    assert "<b>tool 299</b>" not in page
    for first in ("0", "-1", "2501", "x", "9" * 30):
        assert "1 to 300 of 2,500" in client.get(f"/runs/{other.id}?calls={first}").text
    assert len(client.get(f"/compare?run={run.id}&run={other.id}").text) < 400_000


def test_a_timeline_of_some_calls_is_of_their_time(empty: RedisBackend) -> None:
    began = datetime(2026, 11, 23, 10, tzinfo=UTC)
    calls = [
        CallRecord(
            kind="tool", name=f"tool {second % 3}", started_at=began + timedelta(seconds=second),
            ended_at=began + timedelta(seconds=second + 1),
        )
        for second in range(2_500)
    ]  # fmt: skip
    run = RunRecord(agent_id="long", calls=calls, started_at=began, ended_at=began + timedelta(seconds=2_500))
    empty.store_run(run)
    page = TestClient(create_app(empty), base_url=BASE).get(f"/runs/{run.id}?calls=301").text
    assert "the timeline is of those that are listed, 301 to 600" in page
    assert re.search(r">2026-11-23 10:05:00\S* UTC · 5 m 00 s · ", page)


def test_numbers_of_many_runs_say_what_is_left_out(store: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(create_app(store), base_url="http://localhost")
    assert "median duration" in client.get("/numbers?filter=all").text
    monkeypatch.setattr("relay_models.web.numbers.MOST_GROUPED", 10)
    page = client.get("/numbers?filter=all").text
    assert "only their number is shown" in page
    assert f"<dd>{store.count_runs():,}</dd>" in page
    assert "<svg" not in page
    (whole,) = re.findall(r'href="(/numbers\?[^"]*whole=1)"', page)
    assert "<svg" in client.get(whole.replace("&amp;", "&")).text


def test_many_runs_are_compared_when_asked_for(store: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_models.web.overview_pages.MOST_GROUPED", 10)
    client = TestClient(create_app(store), base_url="http://localhost")
    page = client.get("/compare?left=agent+%3D+nobody&right=all").text
    assert f"<dd>{store.count_runs():,} runs</dd>" in page
    assert "duration, median" not in page
    (whole,) = re.findall(r'href="(/compare\?[^"]*whole=1)"', page)
    assert "duration, median" in client.get(unescape(whole)).text


def test_groups_that_are_not_shown_are_said_and_change_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/numbers?filter=all&exact=1&by=models&by=tools"
    assert "with the most runs" not in client.get(path).text
    monkeypatch.setattr("relay_models.web.numbers.MOST_GROUPS", 3)
    few = client.get(path).text
    assert few.count("the 3 with the most runs") == 2
    # Of many runs, the groups that are shown are asked for one by one.
    monkeypatch.setattr("relay_models.web.numbers.MOST_EXACT", 10)
    many = client.get(path).text
    assert _values(many) == _values(few) != []


def test_many_agents_are_paged_by_name(empty: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["", "*", "100%25 %2F", "a", "a/b?c=d&e#f", 'it\'s "quoted"', "tab\tname", "x y", "агент", "👩‍🚀"]
    empty.store_runs([RunRecord(agent_id=name) for name in names])
    monkeypatch.setattr("relay_models.web.overview_pages.MOST_AGENTS", 3)
    client = TestClient(create_app(empty), base_url=BASE)
    url, found = "/agents", []
    while url:
        page = client.get(url).text
        links = [unescape(link) for link in re.findall(r'class="open" href="([^"]+)"', page)]
        assert 0 < len(links) <= 3
        for link in links:
            assert client.get(link).status_code == 200
            found.append(parse_qs(urlsplit(link).query, keep_blank_values=True)["id"][0])
        following = re.findall(r'rel="next" href="([^"]+)"', page)
        url = unescape(following[0]) if following else ""
    assert found == sorted(names)
    assert "There are no more agents" in client.get("/agents?after=👩‍🚀").text


LONG = ("/agents", "/numbers?filter=agent+%3D+planner", "/compare?left=agent+%3D+planner&right=all")
"""Pages of which answers are kept."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list to be set; every answer is taken for one that took long."""
    now = [1000.0]
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", -1)
    monkeypatch.setattr("relay_models.web.kept.time.monotonic", lambda: now[0])
    return now


def _following(page: str) -> str:
    """Where a page without its last answer gets the next one; an empty text where it has it."""
    (found,) = re.findall(r'data-following="([^"]+)"', page) or [""]
    return unescape(found)


def _answer(page: str) -> str:
    return page.partition('id="progress"')[2].partition("</main>")[0]


@pytest.mark.parametrize("path", LONG)
def test_an_answer_that_took_long_is_shown_again_with_its_age(
    empty: RedisBackend, clock: list[float], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(create_app(empty), base_url=BASE)

    def ask_with_a_new_run(path: str) -> str:
        empty.store_run(RunRecord(agent_id="planner"))
        return client.get(path).text

    first = ask_with_a_new_run(path)
    assert " ago" not in first
    clock[0] += 30
    kept = ask_with_a_new_run(path)
    assert "As of 30 s ago" in kept
    assert not _following(kept)
    assert _values(kept) == _values(first)
    # What is asked again, or is older, is there until the newer answer is.
    monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
    (again,) = re.findall(r'href="([^"]+)">Ask again', kept)
    older = ask_with_a_new_run(unescape(again))
    second = client.get(_following(older)).text
    assert _values(older) == _values(first) != _values(second)
    clock[0] += 240
    older = ask_with_a_new_run(path)
    assert "As of 4 min ago" in older
    third = client.get(_following(older)).text
    assert _values(older) == _values(second) != _values(third)
    assert " ago" not in third
    assert not _following(third)
    monkeypatch.setattr("relay_models.web.kept.QUICK", 60)
    clock[0] += 3600
    assert _values(ask_with_a_new_run(path)) != _values(third)


@pytest.mark.parametrize("path", LONG)
def test_no_answer_is_kept_over_a_change_of_labels_or_of_the_day(
    empty: RedisBackend, clock: list[float], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunRecord(agent_id="planner")
    empty.store_run(run)
    client = TestClient(create_app(empty), base_url=BASE, follow_redirects=False)
    (token,) = set(re.findall(r'name="token" value="([^"]+)"', client.get(f"/runs/{run.id}").text))
    client.get(path)
    clock[0] += 1
    assert "As of 1 s ago" in client.get(path).text
    client.post(f"/runs/{run.id}/label", data={"token": token, "agent": "planner", "tags": "golden"})
    clock[0] += 1
    assert " ago" not in client.get(path).text
    clock[0] += 1
    assert "As of 1 s ago" in client.get(path).text

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr("relay_models.web.kept.datetime", Tomorrow)
    assert " ago" not in client.get(path).text


def test_an_older_answer_stays_where_a_newer_one_fails(
    empty: RedisBackend, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.store_run(RunRecord(agent_id="planner"))
    client = TestClient(create_app(empty), base_url=BASE)
    first = client.get("/agents").text

    def fail() -> Any:
        raise ConnectionFailedError("the server is gone")

    monkeypatch.setattr(empty, "agents", fail)
    clock[0] += 600
    page = client.get("/agents")
    assert page.status_code == 200
    assert "As of 10 min ago" in page.text
    assert _values(page.text) == _values(first)
    assert "the server is gone" in page.text


def _values(page: str) -> list[str]:
    """The values of the tables of a page."""
    return re.findall(r"<t[hd][^>]*>(?:<a[^>]*>)?([^<]*)", page)


def test_estimates_are_marked_and_can_be_computed(store: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    works, asked = store.aggregate_runs, []

    def estimating(*arguments: Any, approximate: bool = False, **options: Any) -> Any:
        rows = works(*arguments, **options)
        rows.estimated = ("p95(duration)",) if approximate else ()
        asked.append(approximate)
        return rows

    monkeypatch.setattr(store, "aggregate_runs", estimating)
    client = TestClient(create_app(store), base_url="http://localhost")
    for path, name in (("/numbers?filter=all", "p95 duration"), ("/compare?left=all&right=all", "duration, p95")):
        assert "≈" not in client.get(path).text
        assert not any(asked)
        with monkeypatch.context() as patch:
            for module in ("web.numbers", "views.windows"):
                patch.setattr(f"relay_models.{module}.MOST_EXACT", 10)
            page = client.get(path).text
            assert f"≈ {name}" in page
            (exact,) = re.findall(r'href="([^"]*exact=1)"', page)
            page = client.get(unescape(exact)).text
        assert name in page
        assert "≈" not in page
        asked.clear()


SLOW = (*LONG, "/numbers", "/runs", "/runs?order=agent_id&limit=2", "/sessions", "/sessions?filter=agent+%3D+nobody")


@pytest.mark.parametrize("path", SLOW)
def test_a_page_is_sent_before_its_answer(store: RedisBackend, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    client = TestClient(create_app(store), base_url=BASE)
    whole = client.get(path).text
    assert not _following(whole)
    monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
    page = client.get(path).text
    assert "<h1>" in page
    assert re.search(r'<p id="progress" class="mute" role="status">[^<]+ …</p>', page)
    assert "<td" not in page
    # Without scripts, too.
    following = _following(page)
    assert f'<noscript><meta http-equiv="refresh" content="0; url={escape(following)}"></noscript>' in page
    while following:
        page = client.get(following).text
        following = _following(page)
    assert "noscript" not in page
    assert _answer(page).partition("made in")[0] == _answer(whole).partition("made in")[0]


@pytest.mark.parametrize("quick", [0, 60])
@pytest.mark.parametrize("path", ["/numbers?filter=all", "/agents", "/compare?left=all", "/runs", "/sessions"])
def test_a_page_says_why_it_has_no_answer(
    empty: RedisBackend, monkeypatch: pytest.MonkeyPatch, path: str, quick: int
) -> None:
    empty.store_run(RunRecord(agent_id="planner"))
    client = TestClient(create_app(empty), base_url=BASE)

    def fail(*arguments: Any, **options: Any) -> Any:
        raise ConnectionFailedError("the server is gone")

    for asked in ("aggregate_runs", "count_runs", "agents"):
        monkeypatch.setattr(empty, asked, fail)
    monkeypatch.setattr(type(empty.runs), "find", fail)
    monkeypatch.setattr("relay_models.web.kept.QUICK", quick)
    answer = client.get(path)
    if following := _following(answer.text):
        assert answer.status_code == 200
        answer = client.get(following)
    assert answer.status_code == 503
    assert "<h1>" in answer.text
    assert "the server is gone" in answer.text
    assert not _following(answer.text)


def test_chips_put_a_condition_in_and_take_it_out(client: TestClient) -> None:
    def chip(page: str, name: str) -> tuple[str, bool]:
        found = re.search(rf'<a class="chip" href="([^"]*)" title="[^"]*"( aria-current="true")?>{name}<', page)
        assert found is not None, name
        return unescape(found[1]), bool(found[2])

    page = client.get("/runs?filter=agent+%3D+planner+and+started+%3D+today").text
    assert chip(page, "Today")[1]
    assert not chip(page, "Yesterday")[1]
    # A period takes the place of another, whatever the rest of the filter is.
    assert chip(page, "Yesterday")[0] == f"/runs?{urlencode({'filter': 'agent = planner and started_at = yesterday'})}"
    assert chip(page, "Today")[0] == f"/runs?{urlencode({'filter': 'agent = planner'})}"
    for path in ("/numbers", "/sessions"):
        page = client.get(f"{path}?filter=status+%3D+failed").text
        assert chip(page, "Failed")[1], path
        assert "started_at+%3D+yesterday" in chip(page, "Yesterday")[0], path


@pytest.mark.parametrize(
    ("filter", "condition", "expected"),
    [
        ("", "started_at = today", "started_at = today"),
        ("all", "started_at = today", "started_at = today"),
        ("started_at = today", "started_at = today", ""),
        ("started between -2d and -1d and calls > 1", "started_at = today", "calls > 1 and started_at = today"),
        ("calls between 1 and 5", "started_at = today", "calls between 1 and 5 and started_at = today"),
        ("agent = a or agent = b", "status = failed", "(agent = a or agent = b) and status = failed"),
        ("(agent = a or agent = b) and status = failed", "status = failed", "(agent = a or agent = b)"),
        ("not status = failed", "status = failed", "not status = failed and status = failed"),
        ('agent = "x and started = y"', "started_at = today", 'agent = "x and started = y" and started_at = today'),
    ],
)  # fmt: skip
def test_a_condition_takes_the_place_of_one_on_the_same_column(filter: str, condition: str, expected: str) -> None:
    assert Question(filter).toggled(condition) == expected


def test_a_run_is_compared_with_another_of_its_agent(client: TestClient, store: RedisBackend) -> None:
    run = store.find_runs(limit=1)[0]
    offered = links(client.get(f"/compare?run={run.run_id}").text, "/compare?run=")
    assert offered
    answer = client.get(offered[0])
    assert answer.status_code == 200
    assert '<details class="call"' in answer.text


def test_costs_of_some_runs_are_summed(empty: RedisBackend) -> None:
    cost = {"total": 0.5, "currency": "USD", "source": "provider_reported"}
    for number in range(6):
        usage = {"cost": cost} if number % 2 else {}
        call = CallRecord.model_validate(
            {
                "kind": "llm", "name": "openai", "started_at": "2026-11-23T10:00:00Z",
                "annotated_response": {"usage": usage},
            }
        )  # fmt: skip
        empty.store_run(RunRecord(agent_id=f"agent {number % 3}", calls=[call]))
    client = TestClient(create_app(empty), base_url="http://localhost")
    page = client.get("/numbers?filter=all&by=agent_id").text
    assert "<dt>cost</dt><dd>1.50</dd>" in page
    assert page.count(">0.5000<") >= 3
    assert "cost, mean" in client.get("/compare?left=all&right=agent+%3D+%22agent+1%22").text
