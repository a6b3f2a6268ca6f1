"""What an agent was asked and what it answered is kept in its run, in every format that tells it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_models.records import RunExtensions, RunRecord
from relay_models.records.redact import Redactor
from relay_models.trajectories import Convention, read_runs, to_atif, to_otlp
from tests.trajectories.atif_models import check_atif
from tests.trajectories.test_libraries import runs_of

ASKED, ANSWERED = {"question": "where?", "api_key": "k"}, "in the shelf"


def ext(run: RunRecord) -> RunExtensions:
    assert run.ext is not None
    return run.ext


def read(document: Any) -> RunRecord:
    (result,) = read_runs([json.dumps(document)])
    assert result.run is not None, result.error
    return result.run


def span(name: str, attributes: dict[str, Any], events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    def encoded(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"key": key, "value": {"stringValue": value if isinstance(value, str) else json.dumps(value)}}
            for key, value in values.items()
        ]

    value = {"traceId": "a" * 32, "spanId": "b" * 16, "name": name, "attributes": encoded(attributes)}
    value |= {"startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    value["events"] = [{**event, "attributes": encoded(event["attributes"])} for event in events or ()]
    return {"resourceSpans": [{"scopeSpans": [{"spans": [value]}]}]}


def test_events_of_the_runtime() -> None:
    scope = {"kind": "scope", "category": "agent", "uuid": "01a22872-4835-77c1-960e-30cc2b2420e1", "name": "a"}
    lines = [
        {**scope, "scope_category": "start", "timestamp": "2026-01-01T00:00:00Z", "data": ASKED},
        {**scope, "scope_category": "end", "timestamp": "2026-01-01T00:00:01Z", "data": {"text": ANSWERED}},
    ]
    (result,) = read_runs(map(json.dumps, lines))
    assert result.run is not None
    assert (ext(result.run).input, ext(result.run).output) == (ASKED, {"text": ANSWERED})


@pytest.mark.parametrize(
    ("attributes", "asked", "answered"),
    [
        ({"openinference.span.kind": "AGENT", "input.value": ASKED, "output.value": ANSWERED}, ASKED, ANSWERED),
        (
            {"traceloop.span.kind": "workflow", "traceloop.entity.input": ASKED, "traceloop.entity.output": ["x"]},
            ASKED,
            ["x"],
        ),
        (
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}],
                "gen_ai.output.messages": [{"role": "assistant", "parts": []}],
            },
            [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}],
            [{"role": "assistant", "parts": []}],
        ),
        ({"mlflow.spanType": "AGENT", "mlflow.spanInputs": ASKED}, ASKED, None),
        ({"gen_ai.operation.name": "invoke_agent"}, None, None),
    ],
)
def test_attributes_of_agents(attributes: dict[str, Any], asked: Any, answered: Any) -> None:
    run = read(span("agent", attributes))
    assert (ext(run).input, ext(run).output) == (asked, answered)


def test_events_of_an_agents_span() -> None:
    events = [
        {"name": "gen_ai.user.message", "attributes": {"content": "hi"}},
        {"name": "gen_ai.choice", "attributes": {"message": "hello", "finish_reason": "stop"}},
    ]
    run = read(span("agent", {"gen_ai.operation.name": "invoke_agent"}, events))
    assert ext(run).input == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    assert ext(run).output[0]["parts"] == [{"type": "text", "content": "hello"}]


@pytest.mark.parametrize(
    ("name", "asked", "answered"),
    [("vercel_ai_5", {"system": "be brief", "prompt": "weather?"}, "Hello"), ("langfuse_5", {"q": 1}, "done")],
)
def test_libraries(name: str, asked: Any, answered: Any) -> None:
    run = runs_of(name)[0]
    assert (ext(run).input, ext(run).output) == (asked, answered)


def a_run() -> RunRecord:
    return RunRecord(
        agent_id="a",
        started_at="2026-01-01T00:00:00Z",
        ended_at="2026-01-01T00:00:01Z",
        ext=RunExtensions(status="completed", input=ASKED, output=ANSWERED),
    )


def test_every_format_has_it() -> None:
    run = a_run()
    for convention in Convention:
        again = read(to_otlp([run], convention))
        assert (ext(again).input, ext(again).output) == (ASKED, ANSWERED)
    for exact in (True, False):
        document = to_atif(run, exact=exact)
        check_atif(document)
        assert (ext(read(document)).input, ext(read(document)).output) == (ASKED, ANSWERED)


def test_it_is_redacted_and_cut() -> None:
    run = a_run()
    redacted = Redactor("$..api_key")(run)
    assert redacted is not None
    assert ext(redacted).input == {"question": "where?", "api_key": "[redacted]"}
    run.ext = ext(run).model_copy(update={"output": "x" * 1000})
    by_length, by_size = Redactor(max_text_length=100)(run), Redactor(max_call_bytes=700)(run)
    assert by_length is not None
    assert by_size is not None
    assert ext(by_length).output.startswith("x" * 100 + "…")
    assert [(mark.path, mark.size, mark.kept) for mark in ext(by_length).cut or ()] == [
        ("relay_models.output", 1000, 100)
    ]
    assert (ext(by_size).input, ext(by_size).output) == (ASKED, None)
    assert [mark.path for mark in ext(by_size).cut or ()] == ["relay_models.output"]
