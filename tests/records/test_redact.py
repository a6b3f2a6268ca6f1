"""Secrets and personal data never reach what is stored, and what is cut is marked."""

from __future__ import annotations

import json

import pytest

from relay_models.errors import InvalidConfigurationError, InvalidRecordError
from relay_models.records import CallExtensions, CallRecord, RunExtensions, RunRecord
from relay_models.records.redact import Redactor

SECRET = "sk-123456"


def run(text: str = "hello") -> RunRecord:
    llm = CallRecord(
        kind="llm",
        name="openai",
        annotated_request={"messages": [{"role": "user", "content": text}], "user": "ann@example.org"},
        annotated_response={"message": text},
    )
    tool = CallRecord(
        kind="tool", name="t", ext=CallExtensions(input={"api_key": SECRET, "n": [1, {"api_key": SECRET}]})
    )
    return RunRecord(agent_id="a", calls=[llm, tool], ext=RunExtensions(user_id="ann", metadata={"api_key": 7}))


def test_paths_remove_values_at_any_depth() -> None:
    original = run()
    before = original.model_dump_json()
    redacted = Redactor("$..api_key", "$.calls[*].annotated_request.user")(original)
    assert redacted is not None
    assert SECRET not in redacted.model_dump_json()
    assert original.model_dump_json() == before
    assert redacted.calls[1].ext is not None
    assert redacted.calls[1].ext.input == {"api_key": "[redacted]", "n": [1, {"api_key": "[redacted]"}]}
    assert redacted.ext is not None
    assert redacted.ext.metadata == {"api_key": "[redacted]"}
    assert redacted.ext.redacted == ["$..api_key", "$.calls[*].annotated_request.user"]


def test_objects_and_lists_become_empty() -> None:
    redacted = Redactor("$.calls[*].annotated_request.messages", "$.calls[*].relay_models.input")(run())
    assert redacted is not None
    assert redacted.calls[0].annotated_request is not None
    assert redacted.calls[0].annotated_request.messages == []
    assert redacted.calls[1].ext is not None
    assert redacted.calls[1].ext.input == {}


def test_a_path_without_a_match_changes_nothing() -> None:
    original = run()
    assert Redactor("$.calls[*].relay_models.absent")(original) is original


def test_functions_and_paths_are_applied_in_order() -> None:
    def rename(it: RunRecord) -> RunRecord:
        return it.model_copy(update={"agent_id": "b"})

    redacted = Redactor("$.relay_models.user_id", rename)(run())
    assert redacted is not None
    assert (redacted.agent_id, redacted.ext and redacted.ext.user_id) == ("b", "[redacted]")
    assert Redactor(lambda it: None).apply([run()]) == []


def test_nothing_is_returned_when_redacting_fails() -> None:
    def broken(_: RunRecord) -> RunRecord:
        raise KeyError("x")

    with pytest.raises(KeyError):
        Redactor(broken)(run())
    with pytest.raises(InvalidRecordError, match="started_at"):
        Redactor("$.started_at")(run())


def test_long_texts_are_cut_and_marked() -> None:
    redacted = Redactor(max_text_length=100)(run("é" * 5000))
    assert redacted is not None
    call = redacted.calls[0]
    assert call.annotated_response is not None
    assert call.annotated_response.text == "é" * 100 + "… [cut: 100 of 5000 characters]"
    assert call.ext is not None
    assert [(mark.path, mark.size, mark.kept) for mark in call.ext.cut or ()] == [
        ("annotated_request.messages.0.content", 5000, 100),
        ("annotated_response.message", 5000, 100),
    ]
    assert redacted.calls[1] == run().calls[1].model_copy(update={"started_at": redacted.calls[1].started_at})


def test_large_calls_lose_parts_until_they_fit() -> None:
    large = run()
    large.calls[1].ext = CallExtensions(input={"q": "x" * 300}, output="y" * 9000, status="completed")
    redacted = Redactor(max_call_bytes=1000)(large)
    assert redacted is not None
    ext = redacted.calls[1].ext
    assert ext is not None
    assert (ext.output, ext.input, ext.status) == (None, {"q": "x" * 300}, "completed")
    assert [(mark.path, mark.size, mark.kept) for mark in ext.cut or ()] == [("relay_models.output", 9002, 0)]
    assert len(json.dumps(redacted.calls[1].model_dump(mode="json"))) < 1000


@pytest.mark.parametrize("options", [{"max_text_length": 0}, {"max_call_bytes": 99}])
def test_limits_that_would_cut_names_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidConfigurationError, match="from 100 on"):
        Redactor(**options)


@pytest.mark.parametrize("path", ["$.[", "calls[", ""])
def test_wrong_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidConfigurationError, match="no JSON path"):
        Redactor(path)
