"""What cannot be understood inside requests and responses is kept as it came, and named; it never refuses a run."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import TypeAdapter, ValidationError

from relay_models.documents import Run
from relay_models.errors import InvalidRecordError
from relay_models.records import (
    AnnotatedLlmRequest,
    AnnotatedLlmResponse,
    CacheWriteTokens,
    CallRecord,
    RunRecord,
    UnknownFinishReason,
    Usage,
    from_json,
    to_json,
)
from tests.records import strategies
from tests.records.test_round_trip import KINDS, exactly

RICH = Path(__file__).parent.parent / "data" / "rich_0.11.0rc3.jsonl.gz"
TIME = "2026-11-23T21:11:49Z"


def run(request: Any = None, response: Any = None) -> dict[str, Any]:
    """A run with one call, as JSON value."""
    call = {"kind": "llm", "name": "openai", "started_at": TIME}
    call |= {} if request is None else {"annotated_request": request}
    call |= {} if response is None else {"annotated_response": response}
    return {"id": "01a20a40-32e8-77a0-89d5-d5001f7713b4", "agent_id": "a", "calls": [call], "started_at": TIME}


def read(request: Any = None, response: Any = None) -> CallRecord:
    """The call of such a run, which is written again as the same JSON value."""
    value = run(request, response)
    record = from_json(RunRecord, json.dumps(value))
    assert exactly(json.loads(to_json(record))) == exactly(value)
    (call,) = record.calls
    assert exactly(json.loads(to_json(record))) == exactly(value)
    assert record.not_understood == [f"calls.0.{path}" for path in call.not_understood]
    return call


def test_every_value_of_a_workload_with_every_kind_of_call() -> None:
    with gzip.open(RICH, "rt", encoding="utf-8") as lines:
        values = [json.loads(line) for line in lines]
    runs = 0
    for line in values:
        kind = KINDS.get(line["key"].split(":")[1])
        if line["type"] != "string" or kind is None:
            continue
        record = from_json(kind, line["value"])
        assert exactly(json.loads(to_json(record))) == exactly(json.loads(line["value"]))
        if isinstance(record, RunRecord):
            runs += 1
            assert record.calls is not None
            assert record.not_understood == []
            assert exactly(json.loads(to_json(record))) == exactly(json.loads(line["value"]))
            assert exactly(record.model_dump(mode="json")) == exactly(json.loads(line["value"]))
    assert runs > 5


def test_shapes_of_later_releases_are_typed() -> None:
    call = read(
        {"messages": [], "nvext": {"agent_hints": {"iat": 0, "latency_sensitivity": 3.0, "osl": 20,
                                                   "prefix_id": "d1", "priority": 2, "total_requests": 10}}},
        {"finish_reason": {"unknown": "pause_turn"},
         "usage": {"uncached_input_tokens": 9, "cache_write_tokens": [{"count": 50, "duration": 300}, {"count": 2}]}},
    )  # fmt: skip
    request, response = call.annotated_request, call.annotated_response
    assert request is not None
    assert response is not None
    assert request.nvext is not None
    assert request.nvext.agent_hints is not None
    assert request.nvext.agent_hints.prefix_id == "d1"
    assert response.finish_reason == UnknownFinishReason(unknown="pause_turn")
    assert call.finish_reason == "pause_turn"
    usage = response.usage
    assert usage is not None
    assert usage.uncached_input_tokens == 9
    assert usage.cache_write_tokens == [CacheWriteTokens(count=50, duration=300), CacheWriteTokens(count=2)]
    assert usage.cache_write_total == 52
    assert Usage(cache_write_tokens=5).cache_write_total == 5
    assert Usage().cache_write_total is None
    assert call.not_understood == []


@pytest.mark.parametrize(
    ("request_", "response", "paths"),
    [
        ({"messages": 5, "model": "m"}, None, ["annotated_request.messages"]),
        ({"messages": [{"role": "user", "content": 5}]}, None, ["annotated_request.messages.0.content"]),
        ({"messages": [{"content": "x"}]}, None, ["annotated_request.messages"]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, None,
         ["annotated_request.messages.0.content.0.text"]),
        ({"params": [], "stream": "yes", "nvext": {"agent_hints": {"iat": "soon"}}}, None,
         ["annotated_request.params", "annotated_request.stream", "annotated_request.nvext.agent_hints.iat"]),
        (None, {"usage": {"total_tokens": "x", "prompt_tokens": 2**64, "completion_tokens": 1}},
         ["annotated_response.usage.total_tokens", "annotated_response.usage.prompt_tokens"]),
        (None, {"usage": 5, "finish_reason": {"later": 1}, "tool_calls": [{"id": 1}]},
         ["annotated_response.usage", "annotated_response.finish_reason", "annotated_response.tool_calls"]),
        (None, {"usage": {"cache_write_tokens": {"ttl": 5}, "cost": {"total": 1.0}}},
         ["annotated_response.usage.cache_write_tokens", "annotated_response.usage.cost"]),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_kept_and_named(request_: Any, response: Any, paths: list[str]) -> None:
    call = read(request_, response)
    assert sorted(call.not_understood) == sorted(paths)
    part: Any = call
    names = paths[0].split(".")
    for name in names[:-1]:
        part = part[int(name)] if isinstance(part, list) else getattr(part, name)
    assert getattr(part, names[-1]) in (None, [])
    assert names[-1] in part.model_extra
    for twin in (pickle.loads(pickle.dumps(call)), copy.deepcopy(call), CallRecord.model_validate(call.model_dump())):
        assert twin == call
        assert twin.not_understood == call.not_understood


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(AnnotatedLlmRequest.model_fields)), strategies.json_values),
       st.dictionaries(st.sampled_from(sorted(AnnotatedLlmResponse.model_fields)), strategies.json_values))  # fmt: skip
def test_no_shape_inside_refuses_a_run(request_: Any, response: Any) -> None:
    value = run(request_, response)
    record = from_json(RunRecord, json.dumps(value))
    assert json.loads(to_json(record)) == value
    assert record.model_dump(mode="json") == value
    assert json.loads(TypeAdapter(list[RunRecord]).dump_json([record])) == [value]
    Run.column_values(record)
    assert json.loads(to_json(record)) == value


@pytest.mark.parametrize("odd", ["all of it", ["x", {"y": 1}], 5, -1.5, True, [], ""])
def test_a_request_and_a_response_that_are_no_objects(odd: Any) -> None:
    call = read(odd, odd)
    assert (call.annotated_request, call.annotated_response) == (None, None)
    assert sorted(call.not_understood) == ["annotated_request", "annotated_response"]
    call.annotated_request = AnnotatedLlmRequest()
    assert call.not_understood == ["annotated_response"]


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("ended_at", "yesterday"),
        ("metadata_snapshot", []),
        ("output_tokens", "12"),
        ("prompt_tokens", -1),
        ("total_tokens", 1.5),
        ("model_name", {"id": "m"}),
        ("tool_call_count", 2**40),
        ("relay_models", "later"),
    ],
)
def test_any_field_of_a_call_that_need_not_be_there(name: str, odd: Any) -> None:
    value = run({"messages": []})
    value["calls"].append({**value["calls"][0], name: odd})
    record = from_json(RunRecord, json.dumps(value))
    assert exactly(json.loads(to_json(record))) == exactly(value)
    assert record.not_understood == [f"calls.1.{name}"]
    assert Run.column_values(record)["calls"] == 2
    assert getattr(record.calls[1], name) is None


def test_columns_of_a_cost_in_parts_and_of_an_api_of_another_shape() -> None:
    cost = {"source": "provider_reported", "input": 0.25, "output": 0.5}
    value = run(
        None, {"usage": {"cost": cost, "prompt_tokens": 3, "cache_read_tokens": 1}, "api_specific": {"api": []}}
    )
    columns = Run.column_values(from_json(RunRecord, json.dumps(value)))
    assert (columns["cost"], columns["input_tokens"]) == (0.75, 3)


@pytest.mark.parametrize("name", ["kind", "name", "started_at"])
def test_what_a_call_is_stored_by_is_asked_for(name: str) -> None:
    value = run(5)
    del value["calls"][0][name]
    with pytest.raises(InvalidRecordError, match=f"this is no valid RunRecord: calls.0.{name}: Field required$"):
        from_json(RunRecord, json.dumps(value))


def test_a_new_value_replaces_what_was_not_understood() -> None:
    call = read(None, {"usage": {"total_tokens": "x", "prompt_tokens": "y"}, "message": 5})
    response = call.annotated_response
    assert response is not None
    assert response.usage is not None
    response.usage.total_tokens = 5
    response.message = "hello"
    del response.usage.prompt_tokens
    assert call.not_understood == []
    assert json.loads(call.model_dump_json())["annotated_response"] == {
        "usage": {"total_tokens": 5}, "message": "hello",
    }  # fmt: skip


def test_a_record_that_is_made_directly_is_strict() -> None:
    with pytest.raises(ValidationError, match="total_tokens"):
        Usage(total_tokens="x")
    with pytest.raises(ValidationError, match="message"):
        AnnotatedLlmResponse.model_validate({"message": 5})
