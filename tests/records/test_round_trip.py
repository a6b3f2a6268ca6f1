"""What is read is written again as the same JSON value: the capture, made-up values, unknown fields, odd numbers."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter

from relay_models.errors import InvalidRecordError
from relay_models.records import (
    AccumulatorState,
    CallKind,
    ExecutionPlan,
    PromptIR,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
    from_json,
    to_json,
)
from tests.records import strategies

KINDS: dict[str, Any] = {
    "runs": RunRecord,
    "plan": ExecutionPlan,
    "trie": TrieEnvelope,
    "accumulators": AccumulatorState,
    "acg_observations": list[PromptIR],
    "acg_stability": StabilityAnalysisResult,
}
RUN = {"id": "01a20a40-32e8-77a0-89d5-d5001f7713b4", "agent_id": "a", "calls": [], "started_at": "2026-11-23T21:11:49Z"}


def exactly(value: Any) -> Any:
    """A form in which 1, 1.0 and True differ, and map order does not count."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return (type(value).__name__, repr(value))


def test_every_value_of_the_capture(capture: list[dict[str, Any]]) -> None:
    seen = set()
    for line in capture:
        kind = line["key"].split(":")[1]
        if line["type"] != "string":
            continue
        record = from_json(KINDS[kind], line["value"])
        assert exactly(json.loads(to_json(record))) == exactly(json.loads(line["value"]))
        seen.add(kind)
    assert seen == set(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_made_up_values(kind: Any) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategies.WIRE[kind])
    def check(value: Any) -> None:
        text = json.dumps(value)
        record = from_json(kind, text)
        assert exactly(json.loads(to_json(record))) == exactly(value)
        if not isinstance(record, list):
            assert json.loads(record.model_dump_json()) == value
            assert record.model_dump(mode="json") == value
            assert json.loads(to_json(kind.model_validate(value))) == value
            for twin in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record), record.model_copy(deep=True)):
                assert twin == record
                assert to_json(twin) == to_json(record)

    check()


@pytest.mark.parametrize(
    "value",
    [10**40, -(10**40), 2**64 - 1, 2**53 + 1, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 0.1, 1.0, [], {}, None, ""],
)
def test_any_json_survives_exactly(value: Any) -> None:
    call = {"kind": "llm", "name": "m", "started_at": "2026-11-23T21:11:49Z",
            "annotated_response": {"tool_calls": [{"id": "1", "name": "t", "arguments": value}]},
            "metadata_snapshot": {"run_id": RUN["id"], "agent_id": "a", "parallel_hints": [], "extensions": value},
            "later": {"value": value}}  # fmt: skip
    text = json.dumps(RUN | {"calls": [call]})
    assert exactly(json.loads(to_json(from_json(RunRecord, text)))) == exactly(json.loads(text))


def test_absent_null_and_unknown_fields_are_told_apart() -> None:
    absent = from_json(RunRecord, json.dumps(RUN))
    null = from_json(RunRecord, json.dumps(RUN | {"ended_at": None}))
    assert absent == null
    assert "ended_at" not in json.loads(to_json(absent))
    assert json.loads(to_json(null))["ended_at"] is None
    later = from_json(RunRecord, json.dumps(RUN | {"region": {"name": "eu"}, "models": [1], "model_dump": 2}))
    assert later.region == {"name": "eu"}  # type: ignore[attr-defined]
    assert later.models == []  # what the library computes is not shadowed
    assert later.model_extra == {"region": {"name": "eu"}, "models": [1], "model_dump": 2}


def test_unknown_words_make_no_record_unreadable() -> None:
    call = {"kind": "guardrail", "name": "g", "started_at": "2026-11-23T21:11:49Z"}
    run = from_json(RunRecord, json.dumps(RUN | {"calls": [call]}))
    kind = run.calls[0].kind
    assert kind == "guardrail"
    assert isinstance(kind, CallKind)
    assert not kind.is_known
    assert CallKind.LLM.is_known
    assert list(CallKind) == [CallKind.LLM, CallKind.TOOL]
    assert (run.llm_calls, run.tool_calls, len(run.calls)) == ([], [], 1)
    assert pickle.loads(pickle.dumps(kind)) == kind
    assert {kind: 1}["guardrail"] == 1


@pytest.mark.parametrize("text", ["1e400", "-1e400"])
@pytest.mark.parametrize("field", ["extra", "calls"])
def test_numbers_that_json_cannot_hold_are_refused_by_path(text: str, field: str) -> None:
    call = '{"kind":"llm","name":"m","started_at":"2026-11-23T21:11:49Z","annotated_request":{"deep":[' + text + "]}}"
    value = text if field == "extra" else f"[{call}]"
    known = {key: it for key, it in RUN.items() if key != field}
    record = TypeAdapter(RunRecord).validate_json(json.dumps(known)[:-1] + f', "{field}": {value}}}')
    path = "extra" if field == "extra" else "calls.0.annotated_request.deep.0"
    for dump in (to_json, lambda it: it.model_dump_json()):
        with pytest.raises(InvalidRecordError) as caught:
            dump(record)
        assert caught.value.path == path


def test_texts_that_look_like_odd_numbers_are_texts() -> None:
    run = RunRecord(agent_id="NaN Infinity -Infinity", calls=[])
    assert json.loads(run.model_dump_json())["agent_id"] == "NaN Infinity -Infinity"
    assert json.loads(to_json(run))["agent_id"] == "NaN Infinity -Infinity"


CALL = {"kind": "llm", "name": "m", "started_at": "2026-11-23T21:11:49Z"}


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (RunRecord, RUN | {"started_at": "yesterday"}, "started_at"),
        (RunRecord, RUN | {"started_at": "2026-02-29T00:00:00Z"}, "started_at"),
        (RunRecord, RUN | {"id": "x"}, "id"),
        (RunRecord, {k: v for k, v in RUN.items() if k != "id"}, "id"),
        (RunRecord, {k: v for k, v in RUN.items() if k != "calls"}, "calls"),
        (RunRecord, RUN | {"agent_id": None}, "agent_id"),
        (RunRecord, RUN | {"calls": [CALL, CALL | {"kind": 1}]}, "calls.1.kind"),
        (RunRecord, [], ""),
        (list[PromptIR], [{"ir_id": RUN["id"], "created_at": "2026-11-23T21:11:49Z"}], "0.blocks"),
        (StabilityAnalysisResult, {"scores": [{"span_id": "a", "classification": "stable", "score": 1.5,
                                               "confidence": 0, "observation_count": 1}],
                                   "stable_prefix_length": 0, "total_observations": 1}, "scores.0.score"),
    ],
)  # fmt: skip
def test_bad_values_are_named_by_path(kind: Any, value: Any, path: str) -> None:
    with pytest.raises(InvalidRecordError) as caught:
        from_json(kind, json.dumps(value))
    assert caught.value.path == path
    assert path in str(caught.value)


@pytest.mark.parametrize("key", ["-1", "1.0", "01", " 1", "x", "", "4294967296", "1_0", "９"])
def test_bad_call_indices_are_refused(key: str) -> None:
    node = {"name": "n", "children": {}, "predictions_by_call_index": {key: {}}, "predictions_any_index": None}
    trie = {"version": "1.0", "generated_at": "2026-11-23T21:11:49Z", "workflow_name": "w", "root": node}
    with pytest.raises(InvalidRecordError, match="call index") as caught:
        from_json(TrieEnvelope, json.dumps(trie))
    assert caught.value.path.startswith("root.predictions_by_call_index")


@pytest.mark.parametrize("text", ["", "{", "\x00", b"\xff", '{"id":'])
def test_what_is_no_json_is_said(text: str | bytes) -> None:
    with pytest.raises(InvalidRecordError, match="JSON"):
        from_json(RunRecord, text)


@pytest.mark.parametrize("value", [object(), "\ud800", float("nan"), {"a": [float("inf")]}])
def test_an_object_that_json_cannot_hold_is_refused_by_path(value: Any) -> None:
    run = RunRecord(agent_id="a", odd={"deep": value})
    for dump in (to_json, lambda it: it.model_dump_json(), lambda it: it.model_dump_json(indent=2)):
        with pytest.raises(InvalidRecordError) as caught:
            dump(run)
        assert caught.value.path.startswith("odd.deep")
