"""JSON that Python writes and other readers refuse is kept as far as it can be, and what was replaced is named."""

from __future__ import annotations

import json

import pytest

from relay_models.errors import InvalidRecordError
from relay_models.records import to_json
from relay_models.records.mending import mend_json, read_run

CALL = {"kind": "llm", "name": "openai", "started_at": "2026-01-01T00:00:00Z"}
RUN = {"id": "01a20a40-32e8-77a0-89d5-d5001f7713b4", "agent_id": "a", "started_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("text", "value", "note"),
    [
        ('{"a": [NaN]}', {"a": ["NaN"]}, "a.0 is NaN"),
        ('{"a": -Infinity}', {"a": "-Infinity"}, "a is -Infinity"),
        ('{"a": 1e400}', {"a": "1e400"}, "a is 1e400"),
        (r'{"a": "cut \ud83d"}', {"a": "cut \ufffd"}, "a has half of a surrogate pair"),
        (r'{"\udc00": 1}', {"\ufffd": 1}, "has half of a surrogate pair"),
    ],
)
def test_what_cannot_be_kept_is_replaced_and_named(text: str, value: object, note: str) -> None:
    mended, notes = mend_json(text)
    assert json.loads(mended) == value
    assert len(notes) == 1
    assert note in notes[0]


def test_what_can_be_kept_is() -> None:
    text = r'{"a": "\ud83d\ude00", "b": 18446744073709551615, "c": 1.0, "d": null, "NaN": "NaN"}'
    mended, notes = mend_json(text)
    assert (json.loads(mended), notes) == (json.loads(text), [])


def test_a_run_with_such_a_prompt() -> None:
    call = {**CALL, "annotated_request": {"messages": [{"role": "user", "content": "\ud83d"}]}}
    run, data, notes = read_run(json.dumps({**RUN, "calls": [call]}))
    assert run.calls[0].annotated_request is not None
    assert run.calls[0].annotated_request.messages[0].text == "\ufffd"
    assert json.loads(data) == json.loads(to_json(run))
    assert notes == ["calls.0.annotated_request.messages.0.content has half of a surrogate pair, which is now U+FFFD"]
    run, _, notes = read_run(json.dumps({**RUN, "calls": [{**CALL, "annotated_response": float("nan")}]}))
    assert json.loads(to_json(run))["calls"][0]["annotated_response"] == "NaN"
    assert [note.split()[0] for note in notes] == ["calls.0.annotated_response"] * 2


@pytest.mark.parametrize("text", ["{", "[NaN", "5", json.dumps({**RUN, "calls": float("nan")})])
def test_what_is_no_run_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecordError):
        read_run(text)
