"""OpenTelemetry spans in and out, in both conventions, as JSON and as protobuf."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from relay_models.errors import InvalidRecordError
from relay_models.records import CallExtensions, CallRecord, ErrorInfo, RunExtensions, RunRecord
from relay_models.records.tokens import TokenCounts, count_tokens
from relay_models.trajectories import Convention, from_protobuf, read_runs, to_otlp, to_protobuf
from relay_models.trajectories.otlp import SpanReader
from tests.records.strategies import records
from tests.trajectories.events import nested

DATA = Path(__file__).parent / "data"
OUTER = UUID("01a22875-2daa-7870-8086-6062db2e7968")


def runs_of(*requests: dict[str, Any]) -> list[RunRecord]:
    return [result.run for result in read_runs([json.dumps(request) for request in requests]) if result.run]


def ext(record: Any) -> Any:
    assert record.ext is not None
    return record.ext


def spans_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    spans: list[dict[str, Any]] = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return spans


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


@pytest.mark.parametrize("kind", ["gen_ai", "openinference", "full"])
def test_real_files(kind: str) -> None:
    (result,) = read_runs(DATA / f"relay_0.11.0rc3.otel_{kind}.jsonl")
    run = result.run
    assert run is not None
    assert (run.id, run.agent_id, ext(run).session_id, ext(run).source) == (OUTER, "outer", "s1", "otlp")
    assert ext(run).user_id == (None if kind == "gen_ai" else "u1")
    assert run.started_at.text == "2026-11-29T17:58:17.770312169Z"
    assert [(call.kind, call.name) for call in run.calls] == [
        ("llm", "openai"),
        ("llm", "anthropic"),
        ("tool", "search"),
        ("tool", "bad"),
    ]
    openai, anthropic, search, bad = run.calls
    reasoning = 7 if kind == "full" else None
    assert count_tokens(openai) == TokenCounts(1000, 512, None, 20, reasoning)
    assert count_tokens(anthropic) == TokenCounts(159, 100, 50, 4, None)
    assert anthropic.model_name == "claude-sonnet-4"
    assert (openai.cost and openai.cost.total) == (None if kind == "gen_ai" else 0.0123)
    assert (ext(search).tool_call_id, ext(search).input, ext(search).output) == ("c9", {"q": 1}, {"echo": {"q": 1}})
    assert ext(bad).status == "failed"
    assert ext(bad).error == ErrorInfo(
        type="RuntimeError", message="internal error: RuntimeError: x", category="internal_error"
    )
    assert ext(run).status == "completed"
    if kind != "full":
        assert openai.annotated_response is not None
        assert openai.annotated_response.text == "ok"
        assert openai.annotated_response.tool_calls is not None
        assert openai.annotated_response.tool_calls[0].arguments == "{bad"
        assert (openai.finish_reason, anthropic.finish_reason) == ("content_filter", "pause_turn")
        assert openai.annotated_request is not None
        assert openai.annotated_request.messages[0].text == "dev"


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("name", ["relay_0.11.0rc3.atof.jsonl", "relay_0.11.0rc3.redis_rich.jsonl"])
def test_what_is_written_is_read_again(convention: Convention, name: str) -> None:
    runs = [result.run for result in read_runs(DATA / name) if result.run]
    request = to_otlp(runs, convention)
    again = {run.id: run for run in runs_of(request)}
    assert again.keys() == {run.id for run in runs}
    for run in runs:
        read = again[run.id]
        assert (read.agent_id, read.started_at, read.ended_at) == (run.agent_id, run.started_at, run.ended_at)
        assert [call.name for call in read.calls] == [call.name for call in run.calls]
        for ours, theirs in zip(run.calls, read.calls, strict=True):
            assert (theirs.started_at, theirs.ended_at) == (ours.started_at, ours.ended_at)
            assert count_tokens(theirs) == count_tokens(ours)
            assert (theirs.model_name, theirs.finish_reason) == (ours.model_name, ours.finish_reason)
            assert (theirs.cost and theirs.cost.total) == (ours.cost and ours.cost.total)
            if ours.ext is not None:
                told = ext(theirs)
                assert (told.status, told.error, told.tool_call_id) == (
                    ours.ext.status,
                    ours.ext.error,
                    ours.ext.tool_call_id,
                )
                assert (told.input, told.output) == (ours.ext.input, ours.ext.output)


@pytest.mark.parametrize("convention", Convention)
def test_nested_runs_share_a_trace(convention: Convention) -> None:
    inner, outer = (result.run for result in read_runs(nested().lines))
    assert inner is not None
    assert outer is not None
    request = to_otlp([inner, outer], convention)
    spans = {
        span["name"].removeprefix("invoke_agent ").removeprefix("execute_tool "): span for span in spans_of(request)
    }
    assert {span["traceId"] for span in spans.values()} == {outer.id.hex}
    assert spans["inner"]["parentSpanId"] == spans["delegate"]["spanId"]
    assert spans["delegate"]["parentSpanId"] == spans["outer"]["spanId"]
    assert spans["outer"]["parentSpanId"] == ""
    assert spans["search"]["status"] == {"code": 2, "message": "internal error: RuntimeError: x"}
    again = {run.agent_id: run for run in runs_of(request)}
    assert (ext(again["inner"]).parent_run_id, ext(again["inner"]).parent_call) == (outer.id, 1)
    assert ext(again["inner"]).session_id == "s1"


def test_required_attributes_are_there() -> None:
    runs = [result.run for result in read_runs(DATA / "relay_0.11.0rc3.redis_rich.jsonl") if result.run]
    for span in spans_of(to_otlp(runs)):
        found = attributes(span)
        operation = found["gen_ai.operation.name"]
        assert span["name"].startswith(operation)
        assert span["kind"] == (3 if operation == "chat" else 1)
        if operation == "chat":
            assert found["gen_ai.provider.name"]
            for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
                assert all(
                    item["role"] and isinstance(item["parts"], list) for item in json.loads(found.get(name, "[]"))
                )


@pytest.mark.parametrize("convention", Convention)
def test_protobuf(convention: Convention) -> None:
    runs = [result.run for result in read_runs(DATA / "relay_0.11.0rc3.atof.jsonl") if result.run]
    request = to_otlp(runs, convention)
    data = to_protobuf(request)
    message = ExportTraceServiceRequest.FromString(data)
    (span, *_) = message.resource_spans[0].scope_spans[0].spans
    assert span.trace_id.hex() == spans_of(request)[0]["traceId"]
    assert runs_of(from_protobuf(data)) == runs_of(request)
    with pytest.raises(InvalidRecordError, match="OTLP"):
        from_protobuf(b"\x0a\xff\xff")
    with pytest.raises(InvalidRecordError, match="OTLP"):
        to_protobuf({"resourceSpans": 5})


def test_real_spans_are_valid_protobuf() -> None:
    for kind in ("gen_ai", "openinference", "full"):
        request = json.loads((DATA / f"relay_0.11.0rc3.otel_{kind}.jsonl").read_text())
        assert runs_of(from_protobuf(to_protobuf(request))) == runs_of(request)


def test_a_trace_may_come_in_pieces_and_in_any_order() -> None:
    request = json.loads((DATA / "relay_0.11.0rc3.otel_gen_ai.jsonl").read_text())
    spans = spans_of(request)
    random.Random(4).shuffle(spans)
    pieces = [{"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]} for span in spans]
    assert runs_of(*pieces) == runs_of(request)


def test_calls_without_an_agent_are_one_run_of_the_service() -> None:
    request = json.loads((DATA / "relay_0.11.0rc3.otel_gen_ai.jsonl").read_text())
    *calls, _agent = spans_of(request)
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    (run,) = runs_of({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": calls}]}]})
    assert (run.agent_id, len(run.calls)) == ("shop", 4)
    assert run.id.version == 5
    assert run.ended_at == run.calls[-1].ended_at


def made_span(name: str, parent: str, operation: str, at: int = 5) -> dict[str, Any]:
    return {
        "traceId": "1" * 32,
        "spanId": name * 16,
        "parentSpanId": parent * 16,
        "name": name,
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": "9000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": operation}}],
    }


def request_of(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def test_spans_that_are_above_themselves() -> None:
    spans = [made_span("a", "b", "invoke_agent"), made_span("b", "a", "invoke_agent"), made_span("c", "c", "chat")]
    runs = runs_of(request_of(*spans, made_span("d", "a", "chat")))
    assert sorted((run.agent_id, len(run.calls)) for run in runs) == [("a", 1), ("b", 0), ("c", 1)]


def test_a_long_trace_whose_root_comes_first() -> None:
    calls = [made_span("b", "a", "chat", number) | {"spanId": f"{number:016x}"} for number in range(1, 300)]
    (run,) = runs_of(*(request_of(span) for span in [made_span("a", "", "invoke_agent", 1), *calls]))
    assert len(run.calls) == 299


def test_a_request_around_calls_tells_whether_they_succeeded() -> None:
    top = made_span("e", "", "") | {"attributes": [], "name": "POST /chat", "status": {"code": 2, "message": "boom"}}
    (run,) = runs_of(request_of(top, made_span("f", "e", "chat")))
    assert (ext(run).status, ext(run).error.message, run.agent_id) == ("failed", "boom", "POST /chat")


def test_calls_in_parallel_of_two_libraries_are_two_calls() -> None:
    """The one's time is within the other's, and the model is the same: no sign of being the same call."""
    model = {"key": "gen_ai.request.model", "value": {"stringValue": "m"}}
    one, other = made_span("b", "a", "chat", 10), made_span("c", "a", "chat", 20) | {"endTimeUnixNano": "8000"}
    for span in (one, other):
        span["attributes"].append(model)
    scopes = [{"scope": {"name": name}, "spans": [span]} for name, span in (("x", one), ("y", other))]
    (run,) = runs_of({"resourceSpans": [{"scopeSpans": [*scopes, {"spans": [made_span("a", "", "invoke_agent")]}]}]})
    assert len(run.calls) == 2


def test_held_spans_are_bounded() -> None:
    reader = SpanReader(max_open_bytes=1000)
    found = []
    for number in range(50):
        span = {"traceId": f"{number + 1:032x}", "spanId": f"{1:016x}", "parentSpanId": f"{2:016x}", "name": "x"}
        span |= {"startTimeUnixNano": "1795975097770312169", "endTimeUnixNano": "1795975097770312170"}
        span["attributes"] = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]  # type: ignore[assignment]
        found += reader.add({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}, 100)
    assert len(found) == 40
    assert len([*found, *reader.finish()]) == 50


def test_an_anthropic_writer_that_excludes_the_cache() -> None:
    told = {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.cache_read.input_tokens": 100}
    attributes = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]
    attributes += [{"key": key, "value": {"intValue": str(value)}} for key, value in told.items()]
    span = {
        "traceId": "1" * 32,
        "spanId": "2" * 16,
        "startTimeUnixNano": 5,
        "endTimeUnixNano": 6,
        "attributes": attributes,
    }
    (run,) = runs_of({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    assert count_tokens(run.calls[0]).input_tokens == 109


def test_a_span_that_cannot_be_read_is_named() -> None:
    request = json.loads((DATA / "relay_0.11.0rc3.otel_gen_ai.jsonl").read_text())
    spans_of(request)[0]["traceId"] = "zz"
    spans_of(request)[1]["attributes"] = {"a": 1}
    results = list(read_runs([json.dumps(request)]))
    assert [result.error is None for result in results] == [False, False, True]
    assert "'zz' is no id of 16 bytes" in str(results[0].error)
    assert results[2].run is not None
    assert len(results[2].run.calls) == 2


def test_failures_without_details() -> None:
    tool = CallRecord(kind="tool", name="t", ext=CallExtensions(status="failed"))
    run = RunRecord(agent_id="a", calls=[tool], ext=RunExtensions(status="failed", error=ErrorInfo(type="E")))
    for convention in Convention:
        (again,) = runs_of(to_otlp([run], convention))
        assert (ext(again).status, ext(again).error.type) == ("failed", "E")
        assert ext(again.calls[0]).status == "failed"


@given(records(RunRecord), st.sampled_from(Convention))
def test_any_run_can_be_written(run: RunRecord, convention: Convention) -> None:
    request = to_otlp([run], convention)
    json.dumps(request, allow_nan=False)
    assert len(spans_of(request)) == 1 + len(run.calls)
    for result in read_runs([json.dumps(request)]):
        assert result.run is None or result.run.id == run.id
