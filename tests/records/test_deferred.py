"""Runs whose calls, and calls whose requests and responses, stay text until they are touched: nobody can tell."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import TypeAdapter, ValidationError

from relay_models.documents import Run
from relay_models.errors import InvalidRecordError
from relay_models.records import (
    AnnotatedLlmRequest,
    AnnotatedLlmResponse,
    CallRecord,
    MetadataEnvelope,
    RunRecord,
    from_json,
    to_json,
)
from relay_models.records.deferred import deferred_text
from relay_models.records.views import viewing
from tests.records import strategies
from tests.records.test_round_trip import exactly

CALL = {
    "kind": "llm",
    "name": "openai",
    "started_at": "2026-11-23T21:11:49Z",
    "annotated_request": {"messages": [{"role": "user", "content": "NaN?", "x": 1}], "model": "m", "zzz": {"a": 1}},
    "annotated_response": {"finish_reason": "complete", "usage": {"total_tokens": 3}},
}
RUN = {
    "id": "01a20a40-32e8-77a0-89d5-d5001f7713b4",
    "agent_id": "a",
    "started_at": "2026-11-23T21:11:49Z",
    "calls": [CALL, {"kind": "tool", "name": "t", "started_at": "2026-11-23T21:11:49Z", "annotated_request": None}],
    "later": [1],
}
TEXT = json.dumps(RUN)


WHOLE = TypeAdapter(RunRecord)
"""Reads everything at once, as pydantic does by itself."""


def call(text: str = TEXT) -> CallRecord:
    """A call that nobody has touched."""
    found = from_json(RunRecord, text).calls[0]
    assert deferred_text(found) is not None
    return found


def request(text: str = TEXT) -> AnnotatedLlmRequest:
    """A request that nobody has touched, of a call that was."""
    found = call(text).annotated_request
    assert deferred_text(found) is not None
    return found  # type: ignore[return-value]


@settings(max_examples=80)
@given(strategies.WIRE[RunRecord])
def test_reads_and_writes_what_a_whole_reading_does(value: Any) -> None:
    text = json.dumps(value)
    whole = WHOLE.validate_json(text)
    for written in (to_json(from_json(RunRecord, text)), RunRecord.model_validate_json(text).model_dump_json()):
        assert exactly(json.loads(written)) == exactly(value)
    looked_at = from_json(RunRecord, text.encode())
    assert [each.kind for each in looked_at.calls] == [each["kind"] for each in value["calls"]]
    assert exactly(json.loads(to_json(looked_at))) == exactly(value)
    assert from_json(RunRecord, text) == whole
    assert whole == from_json(RunRecord, text)
    assert from_json(RunRecord, text).model_dump(mode="json") == value
    assert TypeAdapter(list[RunRecord]).dump_python([looked_at], exclude_unset=True, mode="json") == [value]


@settings(max_examples=80)
@given(strategies.WIRE[RunRecord])
def test_has_the_columns_and_texts_of_a_whole_reading(value: Any) -> None:
    text = json.dumps(value)
    whole = WHOLE.validate_json(text)
    assert Run.column_values(from_json(RunRecord, text)) == Run.column_values(whole)
    assert from_json(RunRecord, text).texts == whole.texts


def test_every_run_of_the_capture(capture: list[dict[str, Any]]) -> None:
    for line in capture:
        if line["key"].startswith("nemo_relay:runs:"):
            run, whole = from_json(RunRecord, line["value"]), WHOLE.validate_json(line["value"])
            assert all(deferred_text(each) is not None for each in run.calls)
            assert Run.column_values(run) == Run.column_values(whole)
            assert run.texts == whole.texts
            assert to_json(run) == line["value"].encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_written_is_one_line(end: str) -> None:
    text = json.dumps(RUN, indent=2).replace("\n", end)
    for data in (text, text.encode()):
        run = from_json(RunRecord, data)
        assert deferred_text(run.calls[0]) is not None
        written = to_json(run)
        assert json.loads(written) == RUN
        assert len(written) == len(json.dumps(RUN, separators=(",", ":")))


ODD = strategies.json_values | strategies.timestamps() | st.sampled_from(["2026-11-23T21:11:49+0530", 2**63, 2**64, -1])


DAMAGED: dict[Any, st.SearchStrategy[Any]] = {
    RunRecord: strategies.runs,
    CallRecord: strategies.calls,
    AnnotatedLlmRequest: strategies.requests,
    AnnotatedLlmResponse: strategies.responses,
    MetadataEnvelope: strategies.metadata_envelopes,
}


@st.composite
def damaged(draw: st.DrawFn, kind: type) -> Any:
    """A value of a type with one part of it replaced by another, or left out."""
    value = draw(DAMAGED[kind])  # a new one each time, which may be changed
    places: list[tuple[Any, Any]] = []

    def walk(inside: Any) -> None:
        for name in range(len(inside)) if isinstance(inside, list) else list(inside):
            places.append((inside, name))
            if isinstance(inside[name], dict | list):
                walk(inside[name])

    walk(value)
    if places:
        inside, name = draw(st.sampled_from(places))
        if draw(st.booleans()):
            inside[name] = draw(ODD)
        else:
            del inside[name]
    return value


@pytest.mark.parametrize("kind", list(DAMAGED))
@settings(max_examples=300)
@given(st.data())
def test_what_a_view_takes_is_a_record(kind: type, data: st.DataObject) -> None:
    text = json.dumps(data.draw(damaged(kind)))
    try:
        viewing(kind)(text.encode())
    except msgspec.ValidationError:
        return
    TypeAdapter(kind).validate_json(text)


@settings(max_examples=300)
@given(damaged(RunRecord))
def test_what_is_no_run_is_refused_as_a_whole_reading_does(value: Any) -> None:
    text = json.dumps(value)
    try:
        WHOLE.validate_json(text)
    except ValidationError as error:
        path = ".".join(map(str, error.errors()[0]["loc"]))
    else:
        from_json(RunRecord, text)
        return
    with pytest.raises(InvalidRecordError) as caught:
        from_json(RunRecord, text)
    assert caught.value.path == path


def test_a_usual_run_is_not_read_whole() -> None:
    """The views are strict, but not so strict that they would refuse what NeMo Relay writes."""
    assert deferred_text(from_json(RunRecord, TEXT).calls[1]) is not None
    unusual = TEXT.replace("21:11:49Z", "23:59:60Z").replace("2026-11-23", "2016-12-31")
    assert deferred_text(from_json(RunRecord, unusual).calls[0]) is None


@pytest.mark.parametrize(
    "twin",
    [
        copy.copy,
        copy.deepcopy,
        lambda it: pickle.loads(pickle.dumps(it)),
        lambda it: it.model_copy(),
        lambda it: it.model_copy(deep=True),
        AnnotatedLlmRequest.model_validate,
        lambda it: CallRecord(kind="llm", name="n", annotated_request=it).annotated_request,
    ],
    ids=["copy", "deepcopy", "pickle", "model_copy", "model_copy deep", "model_validate", "another call"],
)
def test_copies_are_ordinary(twin: Callable[[Any], Any]) -> None:
    made = twin(request())
    assert made == AnnotatedLlmRequest.model_validate(CALL["annotated_request"])
    assert type(made) is AnnotatedLlmRequest


@pytest.mark.parametrize(
    "touch",
    [
        lambda it: it.messages,
        lambda it: it.zzz,
        repr,
        str,
        dict,
        lambda it: it.model_dump(),
        lambda it: it.model_dump_json(),
        lambda it: TypeAdapter(AnnotatedLlmRequest).dump_json(it),
        lambda it: it == 1,
        lambda it: setattr(it, "model", "n"),
        lambda it: delattr(it, "model"),
        lambda it: hasattr(it, "nothing"),
    ],
)
def test_becomes_ordinary_when_touched(touch: Callable[[Any], Any]) -> None:
    touched, whole = request(), AnnotatedLlmRequest.model_validate(CALL["annotated_request"])
    assert deferred_text(touched) is not None
    assert isinstance(request(), AnnotatedLlmRequest)
    assert touch(touched) == touch(whole)
    assert deferred_text(touched) is None
    assert touched == whole


def test_a_change_is_written() -> None:
    run = from_json(RunRecord, TEXT)
    run.calls[0].annotated_request.messages[0].content = "changed"  # type: ignore[union-attr]
    expected = json.loads(TEXT)
    expected["calls"][0]["annotated_request"]["messages"][0]["content"] = "changed"
    assert json.loads(to_json(run)) == expected
    run.calls[0].annotated_response = None
    del expected["calls"][0]["annotated_response"]
    assert json.loads(to_json(run)) == expected


def test_calls_can_move_between_runs() -> None:
    other = RunRecord(agent_id="b", calls=from_json(RunRecord, TEXT).calls)
    assert json.loads(to_json(other))["calls"][0] == CALL
    assert json.loads(TypeAdapter(CallRecord).dump_json(other.calls[0], exclude_unset=True)) == CALL


def test_calls_can_be_added_and_taken_out() -> None:
    run = from_json(RunRecord, TEXT)
    run.calls.append(CallRecord(kind="tool", name="later", started_at="2026-11-23T21:11:50Z"))
    assert [each["name"] for each in json.loads(to_json(run))["calls"]] == ["openai", "t", "later"]
    del run.calls[:2]
    assert [each["name"] for each in json.loads(to_json(run))["calls"]] == ["later"]
    run.calls.clear()
    assert json.loads(to_json(run))["calls"] == []


def test_nesting_that_only_an_untouched_call_can_have() -> None:
    """The text is JSON, so it is kept; pydantic reads no more than some hundred levels."""
    deep = TEXT.replace('"a": 1', f'"a": {"[" * 400}{"]" * 400}')
    run = from_json(RunRecord, deep)
    assert json.loads(to_json(run)) == json.loads(deep)
    assert run.calls[0].kind == "llm"
    with pytest.raises(InvalidRecordError, match="recursion"):
        print(run.calls[0].annotated_request.model)  # type: ignore[union-attr]
    assert "cannot be read" in repr(run)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (TEXT[:-5], ""),
        (TEXT.replace('"calls": [', '"calls": 5, "was": ['), "calls"),
        (TEXT.replace('"kind": "tool", ', ""), "calls.1.kind"),
        (TEXT.replace('"annotated_request": null', '"annotated_request": 5'), "calls.1.annotated_request"),
        (TEXT.replace('"messages": [', '"messages": 5, "was": ['), "calls.0.annotated_request.messages"),
        (TEXT.replace('"total_tokens": 3', '"total_tokens": "x"'), "calls.0.annotated_response.usage.total_tokens"),
        (
            TEXT.replace(
                '"openai", "started_at": "2026-11-23T21:11:49Z', '"x", "started_at": "2026-11-23T21:11:49+0530'
            ),
            "calls.0.started_at",
        ),
        (TEXT.replace('"a": 1', '"a": NaN'), "calls.0.annotated_request.zzz.a"),
        (TEXT.replace('"a": 1', '"a": "\\ud800"'), ""),
        (TEXT.encode().replace(b'"a": 1', b'"a": "\xff"'), ""),
        ("[]", ""),
        ("", ""),
    ],
)
def test_what_is_no_run_is_said_at_once(text: str | bytes, path: str) -> None:
    with pytest.raises(InvalidRecordError) as caught:
        from_json(RunRecord, text)
    assert caught.value.path == path


def test_a_number_beyond_a_double_is_no_json_value() -> None:
    """The text itself is JSON, so it is kept; a value made of it would be infinite."""
    text = TEXT.replace('"a": 1', '"a": 1e999')
    assert b"1e999" in to_json(from_json(RunRecord, text))


def test_threads_see_one_object() -> None:
    for _ in range(50):
        shared, seen = request(), []
        start = threading.Barrier(4)

        def look(it: Any = shared, start: threading.Barrier = start, seen: list[Any] = seen) -> None:
            start.wait()
            seen.append(it.messages)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(messages) for messages in seen}) == 1
