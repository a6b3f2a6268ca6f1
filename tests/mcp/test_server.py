"""The MCP server, asked by the SDK's own client over an embedded store."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from relay_models import CallRecord, Column, Document, Run, RunRecord, SavedQuestion, column
from relay_models.cli.capture import open_capture
from relay_models.cli.import_capture import import_capture
from relay_models.mcp import create_server
from relay_models.query.aggregate.pipeline import FEW_ROWS
from relay_models.records import CallExtensions, ErrorInfo, RunExtensions, Status, Timestamp
from relay_models.sync import RedisBackend


@pytest.fixture(scope="module")
def store(capture_path: Path) -> Iterator[RedisBackend]:
    with RedisBackend.embedded() as backend:
        with open_capture(str(capture_path)) as capture:
            import_capture(backend, capture, "tests")
        backend.saved.save(SavedQuestion("slow", "duration > 20ms", ("agent_id", "duration"), "-duration"))
        yield backend


class Assistant:
    """Connects for every question: a connection belongs to the task that opened it, and fixtures have their own."""

    def __init__(self, store: RedisBackend) -> None:
        self._store = store

    async def call_tool(self, tool: str, arguments: dict[str, Any]) -> Any:
        async with Client(create_server(self._store)) as client:
            return await client.call_tool(tool, arguments)

    async def list_tools(self) -> Any:
        async with Client(create_server(self._store)) as client:
            return await client.list_tools()

    async def list_resources(self) -> Any:
        async with Client(create_server(self._store)) as client:
            return await client.list_resources()

    async def read_resource(self, uri: str) -> Any:
        async with Client(create_server(self._store)) as client:
            return await client.read_resource(uri)


@pytest.fixture
def client(store: RedisBackend) -> Assistant:
    return Assistant(store)


async def ask(client: Any, tool: str, **arguments: Any) -> Any:
    """What a tool answers, read as JSON."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


async def fault(client: Assistant, tool: str, **arguments: Any) -> str:
    """What a tool says is wrong."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    text: str = result.content[0].text
    return text


async def test_tools_say_that_they_only_read(client: Assistant) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"find_runs", "get_run", "aggregate_runs", "compare_runs", "list_columns", "agents"} <= set(tools)
    for tool in tools.values():
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.description


async def test_runs_are_found_page_by_page(client: Assistant, store: RedisBackend) -> None:
    first = await ask(client, "find_runs", filter="duration > 20ms", order_by="-duration", limit=3)
    second = await ask(
        client, "find_runs", filter="duration > 20ms", order_by="-duration", limit=3, after=first["after"]
    )
    expected = [str(run.run_id) for run in store.find_runs("duration > 20ms", order_by="-duration", limit=6)]
    assert [run["run_id"] for run in first["runs"] + second["runs"]] == expected
    assert first["total"] == store.count_runs("duration > 20ms")
    assert isinstance(first["runs"][0]["duration"], float)


async def test_columns_are_chosen_also_by_short_names(client: Assistant) -> None:
    answer = await ask(client, "find_runs", columns=["agent", "tokens"], limit=1)
    assert set(answer["runs"][0]) == {"run_id", "agent_id", "total_tokens"}


async def test_a_saved_question_is_asked_and_narrowed(client: Assistant, store: RedisBackend) -> None:
    answer = await ask(client, "find_runs", saved="slow", filter="agent = research-agent")
    assert answer["total"] == store.count_runs("duration > 20ms and agent = research-agent")
    assert set(answer["runs"][0]) == {"run_id", "agent_id", "duration"}
    assert [each["name"] for each in (await ask(client, "saved_questions"))["saved"]] == ["slow"]


@pytest.mark.parametrize("filter", ["duration > fast", "duration >", "agent ="])
async def test_errors_teach_the_filter_language(client: Assistant, filter: str) -> None:
    said = await fault(client, "find_runs", filter=filter)
    assert "duration > 2s and started = yesterday" in said


@pytest.mark.parametrize(
    ("tool", "arguments", "near"),
    [
        ("find_runs", {"filter": "duraton > 2s"}, "duration"),
        ("find_runs", {"filter": "agent = planner and runid = x"}, "run_id"),
        ("find_runs", {"columns": ["token count"]}, "total_tokens"),
        ("find_runs", {"order_by": "-started_time"}, "started_at"),
        ("aggregate_runs", {"metrics": ["avg(failed)"]}, "failed_calls"),
        ("aggregate_runs", {"by": ["day"]}, "`every`"),
        ("find_runs", {"columns": ["x" * 5_000]}, "list_columns"),
    ],
)
async def test_an_unknown_column_is_told_with_the_nearest(
    client: Assistant, tool: str, arguments: dict[str, Any], near: str
) -> None:
    said = await fault(client, tool, **arguments)
    assert "no column" in said
    assert near in said
    assert "list_columns" in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("find_runs", {"filter": "tool = Search"}),
        ("sessions", {"filter": "tool = Search"}),
        ("aggregate_runs", {"filter": "tool = Search", "by": ["agent"]}),
        ("aggregate_runs", {"filter": "tool = Search", "metrics": ["sum(tokens)"]}),
    ],
)
async def test_an_answer_of_nothing_says_how_texts_are_compared(
    client: Assistant, tool: str, arguments: dict[str, Any]
) -> None:
    assert "with case" in (await ask(client, tool, **arguments))["note"]
    arguments["filter"] = "tool = search"
    assert "with case" not in (await ask(client, tool, **arguments)).get("note", "")


async def test_an_aggregate_of_what_no_run_has_says_so(client: Assistant) -> None:
    answer = await ask(client, "aggregate_runs", by=["agent"], metrics=["count", "sum(cost)"], filter="tool = search")
    assert answer["note"] == "no row has a value of sum(cost)"


async def test_other_mistakes_say_what_to_do(client: Assistant) -> None:
    assert "list_columns" in await fault(client, "aggregate_runs", metrics=["sum(models)"])
    assert "1 to 100" in await fault(client, "find_runs", limit=1000)
    assert "no run" in await fault(client, "get_run", run_id="ffff")
    assert "no column" in await fault(client, "find_runs", columns=["nonsense"])
    assert "no saved question" in await fault(client, "find_runs", saved="unknown")


async def test_mistakes_in_arguments_say_only_what_is_wrong_with_them(client: Assistant, store: RedisBackend) -> None:
    run_id = str(store.find_runs(limit=1)[0].run_id)
    for tool, arguments, said in (
        ("find_runs", {"limit": 0}, "limit is from 1 to 100, not 0"),
        ("find_runs", {"limit": "ten"}, "limit: Input should be a valid integer"),
        ("find_runs", {"after": "nonsense"}, "no cursor"),
        ("find_runs", {"where": "duration > 2s"}, "no argument 'where'; it has filter, columns"),
        ("get_run", {}, "run_id: Field required"),
        ("get_run", {"run_id": run_id, "call": 99}, "the run has calls 1 to"),
        ("sessions", {"before": "yesterday"}, "before is a time such as"),
        ("compare_runs", {"left": run_id, "right": "all"}, "two runs are compared, or two filters"),
        ("agents", {"agent_id": "nobody"}, "there is no agent 'nobody'"),
    ):
        text = await fault(client, tool, **arguments)
        assert said in text, (tool, arguments)
        assert "list_columns" not in text
        assert "errors.pydantic.dev" not in text


async def test_a_list_of_names_may_be_one_text(client: Assistant) -> None:
    answer = await ask(client, "find_runs", columns="agent, duration", limit=1)
    assert set(answer["runs"][0]) == {"run_id", "agent_id", "duration"}
    rows = await ask(client, "aggregate_runs", by="agent_id", metrics="count, p95(duration)")
    assert set(rows["rows"][0]) == {"agent_id", "count", "p95(duration)"}


async def test_schemas_of_tools_allow_no_other_arguments(client: Assistant) -> None:
    for tool in (await client.list_tools()).tools:
        assert tool.input_schema["additionalProperties"] is False, tool.name


async def test_a_run_is_whole_where_it_fits(client: Assistant, store: RedisBackend) -> None:
    run = store.find_runs(order_by="calls", limit=1)[0]
    answer = await ask(client, "get_run", run_id=str(run.run_id), max_characters=100_000)
    assert "cut" not in answer
    assert answer["run"]["id"] == str(run.run_id)
    assert answer["summary"]["agent_id"] == run.agent_id


@pytest.mark.parametrize("most", [1_000, 3_000, 20_000])
async def test_a_large_run_is_cut_and_says_so(most: int) -> None:
    calls = [
        CallRecord(kind="tool", name=f"tool {number}", ext=CallExtensions(input="in" * 5_000, output=["out"] * 3_000))
        for number in range(30)
    ]
    run = RunRecord(agent_id="large", calls=calls)
    with RedisBackend.embedded() as backend:
        backend.store_run(run)
        async with Client(create_server(backend)) as client:
            result = await client.call_tool("get_run", {"run_id": str(run.id), "max_characters": most})
            text = result.content[0].text  # type: ignore[union-attr]
            answer = json.loads(text)
            assert len(text) <= most
            assert answer.get("cut") or "in short" in answer["note"]
            assert answer["summary"]["agent_id"] == "large"
            one = await ask(client, "get_run", run_id=str(run.id), call=30, max_characters=100_000)
            assert one["call"]["name"] == "tool 29"
            assert one["calls"] == 30


async def test_a_short_answer_says_what_the_run_is_and_what_can_be_asked_for() -> None:
    message = {"role": "user", "content": "why " * 2_000}
    error = ErrorInfo(type="DatabaseError", message="no such table")
    calls = [
        CallRecord(kind="llm", name="openai", annotated_request={"messages": [message]}),
        CallRecord(kind="tool", name="sql", ext=CallExtensions(error=error)),
    ]
    run = RunRecord(agent_id="planner", calls=calls * 6)
    run.relay_models = RunExtensions(status=Status("failed"), error=error)
    with RedisBackend.embedded() as backend:
        backend.store_run(run)
        async with Client(create_server(backend)) as client:
            short = await ask(client, "get_run", run_id=str(run.id), max_characters=1_000)
            assert short["summary"]["status"] == "failed"
            assert short["summary"]["failure"] == {"type": "DatabaseError", "message": "no such table"}
            assert short["calls"][0] == {"call": 1, "kind": "llm", "name": "openai", "status": "unfinished"}
            assert "`call` (1 to 12)" in short["note"]
            heads = await ask(client, "get_run", run_id=str(run.id), max_characters=3_000)
            assert len(heads["calls"]) == 12
            assert heads["calls"][11]["error"] == "DatabaseError: no such table"
            for call in (1, 2):
                result = await client.call_tool(
                    "get_run", {"run_id": str(run.id), "max_characters": 1_000, "call": call}
                )
                text = result.content[0].text  # type: ignore[union-attr]
                assert len(text) <= 1_000
                assert ("why why" if call == 1 else "no such table") in text


async def test_a_comparison_with_nothing_says_which_side_that_is(client: Assistant) -> None:
    answer = await ask(client, "compare_runs", left="agent = nobody", right="all")
    assert answer["note"].startswith("left: nothing matches")
    assert "note" not in await ask(client, "compare_runs", left="all", right="all")


async def test_aggregates_are_those_of_the_store(client: Assistant, store: RedisBackend) -> None:
    answer = await ask(client, "aggregate_runs", by=["agent_id"], metrics=["count", "p95(duration)"], order_by="-count")
    rows = store.aggregate_runs(by="agent_id", metrics=["count", "p95(duration)"], order_by="-count")
    assert [row["count"] for row in answer["rows"]] == [row["count"] for row in rows]
    assert "note" in await ask(client, "aggregate_runs", by=["agent_id"], limit=1)


async def test_buckets_are_made_of_the_column_that_is_named(client: Assistant, store: RedisBackend) -> None:
    for name in ("ended_at", "stored_at"):
        answer = await ask(client, "aggregate_runs", every="1h", time=name)
        rows = store.aggregate_runs(every="1h", time=name)
        assert [(row["bucket"], row["count"]) for row in answer["rows"]] == [
            (f"{row['bucket']:%Y-%m-%dT%H:%M:%SZ}", row["count"]) for row in rows
        ]
    assert "every" in await fault(client, "aggregate_runs", time="ended_at")
    assert "duration" in await fault(client, "aggregate_runs", every="1h", time="duration")
    assert "no column" in await fault(client, "aggregate_runs", every="1h", time="finished")


async def test_a_list_of_many_agents_is_cut_and_says_how_to_find_others() -> None:
    with RedisBackend.embedded() as backend:
        backend.store_runs([RunRecord(agent_id=f"agent {number}") for number in range(1_500)])
        answer = await ask(Assistant(backend), "agents")
    assert answer["total"] == 1_500
    assert len(json.dumps(answer)) < 25_000
    assert "aggregate_runs" in answer["note"]


async def test_estimates_are_made_where_they_are_allowed_and_named() -> None:
    with RedisBackend.embedded() as backend:
        # More runs than are read exactly anyway.
        backend.store_runs([RunRecord(agent_id="a") for _ in range(FEW_ROWS + 1)])
        client = Assistant(backend)
        metrics = ["count", "distinct(status)"]
        exact = await ask(client, "aggregate_runs", metrics=metrics)
        allowed = await ask(client, "aggregate_runs", metrics=metrics, approximate=True)
        assert allowed == exact | {"estimated": ["distinct(status)"]}


async def test_runs_and_filters_are_compared(client: Assistant, store: RedisBackend) -> None:
    one, two = (str(run.run_id) for run in store.find_runs(limit=2))
    assert (await ask(client, "compare_runs", left=one, right=two))["calls"]
    numbers = await ask(client, "compare_runs", left="agent = research-agent", right="all")
    assert numbers["numbers"][0]["name"] == "runs"


async def test_columns_and_schemas_are_described(client: Assistant) -> None:
    answer = await ask(client, "list_columns")
    assert [column["name"] for column in answer["columns"]] == list(Run.columns())
    listed = {str(resource.uri) for resource in (await client.list_resources()).resources}
    assert {"schema://filters", "schema://columns"} <= listed
    schema = (await client.read_resource("schema://run")).contents[0].text
    assert json.loads(schema)["title"] == "Run"


async def test_agents_and_what_was_learned(client: Assistant, store: RedisBackend) -> None:
    agents = (await ask(client, "agents"))["agents"]
    assert [agent["agent_id"] for agent in agents] == [agent.agent_id for agent in store.agents()]
    learned = await ask(client, "agents", agent_id="research-agent")
    assert learned["parallel_tools"]
    assert learned["statistics"]


async def test_it_runs_on_standard_input_and_output(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with RedisBackend.embedded(path) as backend:
        backend.store_run(RunRecord(agent_id="kept"))
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "relay_models.cli", "mcp", "--path", str(path)]
    )  # fmt: skip
    async with Client(stdio_client(command)) as client:
        answer = await ask(client, "find_runs", filter="agent = kept")
    assert answer["total"] == 1


@pytest.fixture
def http_url(tmp_path: Path) -> Iterator[str]:
    """The address of a process that serves a store with one run."""
    path = tmp_path / "runs.db"
    with RedisBackend.embedded(path) as backend:
        backend.store_run(RunRecord(agent_id="kept"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "relay_models.cli", "mcp", "--path", str(path), "--http", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def test_it_serves_http_to_this_machine(http_url: str) -> None:
    async with Client(http_url) as client:
        answer = await ask(client, "find_runs", filter="agent = kept")
    assert answer["total"] == 1


def test_http_refuses_the_names_of_other_hosts(http_url: str) -> None:
    request = urllib.request.Request(http_url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    caught.value.close()
    assert caught.value.code in (403, 421)


class State(IntEnum):
    OPEN = 0
    CLOSED = 1


class Review(Document):
    """What a reader said of a run."""

    run_id: Column[str] = column("The run.")
    stars: Column[int] = column("1 to 5.")
    comment: Column[str] = column(text=True)
    state: Column[State] = column(default=State.OPEN)
    topics: Column[set[str]] = column()


async def test_sessions_are_listed_page_by_page() -> None:
    with RedisBackend.embedded() as backend:
        for number in range(5):
            for position in range(number % 2 + 1):
                began = Timestamp(f"2026-11-23T10:{number}{position}:00Z")
                backend.store_run(RunRecord(agent_id="a", started_at=began, ext={"session_id": f"s{number}"}))
        async with Client(create_server(backend)) as client:
            first = await ask(client, "sessions", limit=3)
            second = await ask(client, "sessions", limit=3, before=first["before"])
        assert [(each["session_id"], each["runs"]) for each in first["sessions"] + second["sessions"]] == [
            ("s4", 1), ("s3", 2), ("s2", 1), ("s1", 2), ("s0", 1),
        ]  # fmt: skip
        assert "before" not in second
        assert "2026-11-23T10:00:00Z" in await fault(Assistant(backend), "sessions", before="yesterday")


async def test_documents_of_own_models_are_described_and_found() -> None:
    with RedisBackend.embedded(models=[Review]) as backend:
        reviews = backend.collection(Review)
        reviews.save_many(
            Review(run_id=str(number), stars=number, comment="long " * 10, topics=set("dacb")) for number in range(1, 6)
        )
        async with Client(create_server(backend)) as client:
            assert (await ask(client, "list_columns"))["models"] == ["review"]
            names = [column["name"] for column in (await ask(client, "list_columns", model="review"))["columns"]]
            assert {"pk", "run_id", "stars", "stored_at"} <= set(names)
            columns = (await ask(client, "list_columns", model="review"))["columns"]
            assert [column["members"] for column in columns if "members" in column] == [{"OPEN": 0, "CLOSED": 1}]
            asked: Any = {"model": "review", "filter": "stars >= 3", "order_by": "-stars", "limit": 2}
            answer = await ask(client, "find_documents", **asked)
            assert [row["stars"] for row in answer["documents"]] == [5, 4]
            assert answer["documents"][0]["topics"] == ["a", "b", "c", "d"]
            assert answer["total"] == 3
            more = await ask(client, "find_documents", after=answer["after"], columns=["stars"], **asked)
            assert [set(row) for row in more["documents"]] == [{"pk", "stars"}]
            schema = json.loads((await client.read_resource("schema://review")).contents[0].text)  # type: ignore[union-attr]
            assert "stars" in schema["properties"]
        assert "there are review" in await fault(Assistant(backend), "find_documents", model="nothing")
        said = await fault(Assistant(backend), "find_documents", model="review", filter="stras > 3")
        assert "did you mean 'stars'" in said


async def test_runs_are_labelled_only_where_it_is_allowed(client: Assistant) -> None:
    assert "label_run" not in {tool.name for tool in (await client.list_tools()).tools}
    run = RunRecord(agent_id="planner")
    with RedisBackend.embedded() as backend:
        backend.store_run(run)
        async with Client(create_server(backend, labels=True)) as allowed:
            tool = next(tool for tool in (await allowed.list_tools()).tools if tool.name == "label_run")
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is False
            answer = await ask(
                allowed, "label_run", run_id=str(run.id)[:20], tags=["golden"], scores={"clear": 0.8}, note="good"
            )
            assert answer["tags"] == ["golden"]
            assert answer["scores"] == {"clear": 0.8}
            assert backend.count_runs("tags = golden and score.clear = 0.8 and notes = good") == 1
            found = await ask(allowed, "find_runs", columns=["scores"])
            assert found["runs"][0]["scores"] == {"clear": 0.8}
            gone = await ask(allowed, "label_run", run_id=str(run.id), remove_tags=["golden"], remove_scores=["clear"])
            assert gone["tags"] == []
            for wrong in ({}, {"scores": {"clear": float("inf")}}, {"tags": ["x" * 5000]}):
                result = await allowed.call_tool("label_run", {"run_id": str(run.id), **wrong})
                assert result.is_error, wrong
        origin = backend.find_runs()[0].labels.notes[0].origin
        assert origin.source == "assistant"


async def test_no_answer_and_no_error_is_longer_than_it_may_be() -> None:
    entries = {f"key {number}": number for number in range(20_000)}
    long = {"k" * 5_000 + "1": 1, "k" * 5_000 + "2": 2}
    calls = [CallRecord(kind="tool", name="t", ext=CallExtensions(input=[entries, long]))]
    runs = [RunRecord(agent_id=name * 50_000, calls=calls) for name in "abc"]
    with RedisBackend.embedded() as backend:
        backend.store_runs(runs)
        async with Client(create_server(backend)) as client:
            answer = await ask(client, "get_run", run_id=str(runs[0].id), max_characters=4_000)
            assert answer["run"]["calls"][0]["name"] == "t"
            assert any("of 20,000 entries" in note for note in answer["cut"])
            call = await ask(client, "get_run", run_id=str(runs[0].id), max_characters=4_000, call=1)
            assert len(call["call"]["relay_models"]["input"][1]) == 2
            groups = await ask(client, "aggregate_runs", by=["agent_id"], metrics=["count"])
            assert len(json.dumps(groups)) < 100_000
            assert [row["count"] for row in groups["rows"]] == [1, 1, 1]
            assert groups["cut"]
            for tool, arguments in (
                ("get_run", {"run_id": "x" * 50_000}),
                ("get_run", {"run_id": str(runs[0].id)[:4]}),
                ("agents", {"agent_id": "y" * 50_000}),
            ):
                result = await client.call_tool(tool, arguments)
                assert result.is_error
                assert len(result.content[0].text) < 3_000  # type: ignore[union-attr]


async def test_an_argument_that_is_null_is_not_given(client: Assistant) -> None:
    given = {"filter": None, "columns": None, "order_by": None, "limit": None, "after": None, "saved": None}
    assert await ask(client, "find_runs", **given) == await ask(client, "find_runs")
    assert "run_id" in await fault(client, "get_run", run_id=None)
