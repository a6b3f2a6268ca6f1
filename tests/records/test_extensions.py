"""Extensions ride along with a record, and a record without them is NeMo Relay's."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given

from relay_models.documents import Run
from relay_models.records import (
    CallExtensions,
    CallRecord,
    CutMark,
    ErrorInfo,
    RunExtensions,
    RunRecord,
    Status,
    from_json,
    strip_extensions,
    to_json,
)
from tests.records.strategies import records

PARENT = UUID("01a22872-4835-77c1-960e-30cc2b2420e1")


def extended() -> RunRecord:
    failed = CallExtensions(
        status=Status.FAILED,
        error=ErrorInfo(type="TimeoutError", message="no answer"),
        tool_call_id="c1",
        input={"q": 1},
        output=["partial"],
        parent_call=0,
        time_to_first_token_ms=12.5,
        cut=[CutMark(path="output", size=10, kept=3)],
    )
    calls = [CallRecord(kind="llm", name="openai"), CallRecord(kind="tool", name="search", ext=failed)]
    ext = RunExtensions(status="completed", parent_run_id=PARENT, session_id="s", user_id="u", metadata={"k": [1]})
    return RunRecord(agent_id="a", calls=calls, ext=ext)


def test_extensions_are_one_key_of_the_run_and_of_its_calls() -> None:
    run = extended()
    value = json.loads(run.model_dump_json())
    assert value["relay_models"]["parent_run_id"] == str(PARENT)
    assert "relay_models" not in value["calls"][0]
    assert value["calls"][1]["relay_models"]["error"] == {"type": "TimeoutError", "message": "no answer"}
    read = RunRecord.model_validate_json(run.model_dump_json())
    assert read == run
    assert read.ext is not None
    assert read.ext.session_id == "s"
    assert read.calls[1].ext is not None
    assert read.calls[1].ext.status == "failed"
    assert read.calls[0].ext is None


def test_what_a_later_release_adds_is_kept() -> None:
    text = '{"id":"%s","agent_id":"a","calls":[],"started_at":"2026-01-01T00:00:00Z","relay_models":{"x":{"y":1}}}'
    assert json.loads(RunRecord.model_validate_json(text % PARENT).model_dump_json()) == json.loads(text % PARENT)


def test_extensions_are_set_and_removed_by_assignment() -> None:
    run = extended()
    run.ext = None
    run.calls[1].ext = CallExtensions(status="completed")
    value = json.loads(run.model_dump_json())
    assert "relay_models" not in value
    assert value["calls"][1]["relay_models"] == {"status": "completed"}


@given(records(RunRecord))
def test_stripping_leaves_what_the_runtime_wrote(run: RunRecord) -> None:
    before = run.model_dump(mode="json")
    run.ext = RunExtensions(status="failed")
    for call in run.calls:
        call.ext = CallExtensions(input={"a": 1})
    text = run.model_dump_json()
    assert strip_extensions(RunRecord.model_validate_json(text)).model_dump(mode="json") == before
    assert run.model_dump_json() == text


@pytest.mark.parametrize(
    ("odd", "path"),
    [
        ({"status": 1}, "relay_models.status"),
        ({"parent_run_id": "x"}, "relay_models.parent_run_id"),
        ({"metadata": []}, "relay_models.metadata"),
        ({"error": {"message": ["no"]}}, "relay_models.error.message"),
        (5, "relay_models"),
    ],
)
def test_extensions_of_another_shape_are_kept_and_named(odd: object, path: str) -> None:
    call = {"kind": "tool", "name": "t", "started_at": "2026-01-01T00:00:00Z", "relay_models": {"cut": 1}}
    value = {
        "id": str(PARENT),
        "agent_id": "a",
        "calls": [call],
        "started_at": "2026-01-01T00:00:00Z",
        "relay_models": odd,
    }
    run = from_json(RunRecord, json.dumps(value))
    assert json.loads(to_json(run)) == value
    assert sorted(run.not_understood) == ["calls.0.relay_models.cut", path]
    assert Run.column_values(run)["status"] == "running"
