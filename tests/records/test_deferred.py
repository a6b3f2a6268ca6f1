"""A run whose requests and responses stay text until they are touched: not to be told from one that was read whole."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter

from relay_models.errors import InvalidRecordError
from relay_models.records import AnnotatedLlmRequest, CallRecord, RunRecord, read_run, to_json
from relay_models.records.deferred import deferred_text
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


def request(text: str = TEXT) -> AnnotatedLlmRequest:
    """A request that nobody has touched."""
    found = read_run(text).calls[0].__dict__["annotated_request"]
    assert deferred_text(found) is not None
    return found  # type: ignore[no-any-return]


@settings(max_examples=80)
@given(strategies.WIRE[RunRecord])
def test_reads_and_writes_what_a_whole_reading_does(value: Any) -> None:
    text = json.dumps(value)
    whole = RunRecord.model_validate_json(text)
    for written in (to_json(read_run(text)), read_run(text.encode()).model_dump_json()):
        assert exactly(json.loads(written)) == exactly(value)
    assert read_run(text) == whole
    assert whole == read_run(text)
    assert read_run(text).model_dump(mode="json") == value
    assert TypeAdapter(list[RunRecord]).dump_python([read_run(text)], exclude_unset=True, mode="json") == [value]
    assert json.loads(to_json(read_run(text, defer_responses=True))) == value


def test_every_run_of_the_capture(capture: list[dict[str, Any]]) -> None:
    for line in capture:
        if line["key"].startswith("nemo_relay:runs:"):
            run = read_run(line["value"])
            assert exactly(json.loads(to_json(run))) == exactly(json.loads(line["value"]))
            assert run.texts == RunRecord.model_validate_json(line["value"]).texts


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
    run = read_run(TEXT)
    run.calls[0].annotated_request.messages[0].content = "changed"  # type: ignore[union-attr]
    expected = json.loads(TEXT)
    expected["calls"][0]["annotated_request"]["messages"][0]["content"] = "changed"
    assert json.loads(to_json(run)) == expected
    run.calls[0].annotated_response = None
    del expected["calls"][0]["annotated_response"]
    assert json.loads(to_json(run)) == expected


def test_calls_can_move_between_runs() -> None:
    other = RunRecord(agent_id="b", calls=read_run(TEXT).calls)
    assert json.loads(to_json(other))["calls"][0] == CALL
    assert json.loads(TypeAdapter(CallRecord).dump_json(other.calls[0], exclude_unset=True)) == CALL


def test_what_is_no_request_is_said_when_it_is_looked_at() -> None:
    text = TEXT.replace('"messages": [', '"messages": 5, "was": [')
    run = read_run(text)
    assert json.loads(to_json(run)) == json.loads(text)
    assert "messages: Input should be a valid array" in repr(run)
    with pytest.raises(InvalidRecordError, match="messages: Input should be a valid array") as caught:
        print(run.calls[0].annotated_request.model)  # type: ignore[union-attr]
    assert caught.value.path == "calls.0.annotated_request.messages"
    assert str(caught.value).startswith("calls.0.annotated_request of run 01a20a40-32e8-77a0-89d5-d5001f7713b4: ")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (TEXT[:-5], ""),
        (TEXT.replace('"calls": [', '"calls": 5, "was": ['), "calls"),
        (TEXT.replace('"kind": "tool", ', ""), "calls.1.kind"),
        (TEXT.replace('"annotated_request": null', '"annotated_request": 5'), "calls.1.annotated_request"),
        (TEXT.replace('"a": 1', '"a": NaN'), "calls.0.annotated_request.zzz.a"),
        (TEXT.replace('"a": 1', '"a": "\\ud800"'), ""),
        (TEXT.encode().replace(b'"a": 1', b'"a": "\xff"'), ""),
        ("[]", ""),
        ("", ""),
    ],
)
def test_what_is_no_run_is_said_at_once(text: str | bytes, path: str) -> None:
    with pytest.raises(InvalidRecordError) as caught:
        read_run(text)
    assert caught.value.path == path


def test_a_number_beyond_a_double_is_no_json_value() -> None:
    """The text itself is JSON, so it is kept; a value made of it would be infinite."""
    text = TEXT.replace('"a": 1', '"a": 1e999')
    assert b"1e999" in to_json(read_run(text))


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
