"""Document types: what they are to redis-om, to a user, and to the store."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

import pytest
from redis_om import JsonModel
from redis_om.model.model import model_registry

from relay_models.columns.column import Column
from relay_models.documents import (
    DOCUMENTS,
    Accumulators,
    Keys,
    Observations,
    Plan,
    Run,
    Stability,
    Trie,
    create_index_command,
    decode_artifact,
    encode_artifact,
    encode_run,
    index_columns,
    merge_run,
)
from relay_models.errors import InvalidRecordError, UnsupportedMethodError
from relay_models.records import (
    AccumulatorState,
    AnnotatedLlmResponse,
    CallRecord,
    ExecutionPlan,
    MetadataEnvelope,
    PredictionTrieNode,
    PromptIR,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
    from_json,
    to_json,
)

BEGAN = datetime(2026, 11, 23, 11, 19, 8, 736656, tzinfo=UTC)


def a_run(**fields: Any) -> RunRecord:
    response = {
        "finish_reason": "tool_use",
        "usage": {"cache_read_tokens": 5, "cost": {"total": 0.25, "source": "model_pricing"}},
    }
    calls = [
        CallRecord(
            kind="llm", name="openai", model_name="m2", started_at=BEGAN, ended_at=BEGAN, prompt_tokens=3,
            total_tokens=7,
            annotated_response=AnnotatedLlmResponse.model_validate(response),
        ),
        CallRecord(kind="tool", name="z", started_at=BEGAN),
        CallRecord(kind="tool", name="a", started_at=BEGAN, ended_at=BEGAN),
        CallRecord(kind="llm", name="openai", model_name="m1", started_at=BEGAN, ended_at=BEGAN),
    ]  # fmt: skip
    return RunRecord(
        **{"agent_id": "a\0\u2400", "calls": calls, "started_at": "2026-11-23T11:19:08.736656086Z", **fields}
    )


def test_columns_of_a_run() -> None:
    record = a_run(ended_at="2026-11-23T11:19:10.736656085Z")
    assert Run.column_values(record) == {
        "agent_id": "a\0\u2400", "run_id": str(record.id), "status": "completed",
        "started_at": 1795432748736656, "ended_at": 1795432750736656, "duration": 1999999,
        "calls": 4, "llm_calls": 2, "tool_calls": 2, "unfinished_calls": 1,
        "providers": ["openai"], "models": ["m1", "m2"], "tools": ["a", "z"], "finish_reasons": ["tool_use"],
        "prompt_tokens": 3, "total_tokens": 7, "cache_read_tokens": 5, "cost": 0.25,
        # Fewer prompt tokens than cached ones: they do not include the cache.
        "input_tokens": 8, "cached_input_tokens": 5,
    }  # fmt: skip


def test_a_running_run_has_no_end() -> None:
    run = Run.of(a_run(calls=[]))
    assert (run.status, run.ended_at, run.duration, run.models, run.cost, run.prompt_tokens) == (
        "running", None, None, [], None, None,
    )  # fmt: skip


def test_what_a_user_reads() -> None:
    record = a_run(ended_at=BEGAN + timedelta(seconds=2))
    run = Run.of(record)
    assert run.started_at == BEGAN
    assert run.duration == timedelta(seconds=1, microseconds=999999)
    assert run.record is run.record
    assert run.record == record
    assert run.pk == f"a\0\u2400:{record.id}"
    again = Run(**run.stored_values())
    assert again.to_dict() == run.to_dict()
    assert again.pk == run.pk
    assert run < Run.of(a_run(agent_id="b"))


def test_the_stored_document() -> None:
    record = a_run()
    document = json.loads(encode_run(record, 5))
    assert document["agent_id"] == "a\u24000\u2400\u2400"
    assert document["stored_at"] == document["updated_at"] == 5
    assert "ended_at" not in document
    assert "text" not in document
    assert from_json(RunRecord, document["record"]) == record
    assert document["record"].encode() == to_json(record)
    row = json.loads(document["row"])
    # It ends with the last value that there is.
    assert row[-1] is not None
    assert dict(zip_longest(Run.row_columns, row)) == {
        name: Run.column_values(record).get(name) for name in Run.row_columns
    }


def test_the_patch_takes_away_what_is_gone() -> None:
    patch = json.loads(merge_run(a_run(calls=[]), 9))
    assert "stored_at" not in patch
    assert patch["updated_at"] == 9
    for name in ("ended_at", "duration", "models", "cost", "text"):
        assert patch[name] is None


def test_words_are_stored_on_request() -> None:
    request = {"messages": [{"role": "user", "content": "Rate limit: naïve"}, {"role": "assistant", "content": "数据"}]}
    call = CallRecord.model_validate(
        {"kind": "llm", "name": "x", "started_at": "2026-01-01T00:00:00Z", "annotated_request": request}
    )
    document = json.loads(encode_run(RunRecord(agent_id="a", calls=[call]), 1, text=True))
    assert document["text"] == "rate limit naive __ _6570_ _636e_"


@pytest.mark.parametrize("record", [None, 5, "x", {"agent_id": "a"}])
def test_what_is_no_run(record: Any) -> None:
    with pytest.raises(InvalidRecordError, match="RunRecord"):
        encode_run(record, 1)


def test_texts_that_cannot_be_stored() -> None:
    with pytest.raises(InvalidRecordError):
        encode_run(RunRecord(agent_id="\ud800"), 1)


ARTIFACTS: list[tuple[str, type[Any], Any, dict[str, Any]]] = [
    (
        "plan", Plan,
        ExecutionPlan.model_validate(
            {"agent_id": "a", "parallel_groups": [{"group_id": "g", "tool_names": ["t", "s"]}],
             "metadata_template": MetadataEnvelope(agent_id="a")}),
        {"groups": 1, "tools": ["s", "t"]},
    ),
    (
        "trie", Trie,
        TrieEnvelope(workflow_name="w", generated_at=BEGAN,
                     root=PredictionTrieNode(name="r", children={"c": PredictionTrieNode(name="c")})),
        {"workflow_name": "w", "nodes": 2, "generated_at": BEGAN},
    ),
    ("accumulators", Accumulators, AccumulatorState(), {"nodes": 0}),
    ("observations", Observations, [PromptIR(blocks=[], created_at=BEGAN)], {"prompts": 1, "latest_at": BEGAN}),
    (
        "stability", Stability, StabilityAnalysisResult(scores=[], stable_prefix_length=2, total_observations=3),
        {"blocks": 0, "stable_prefix_length": 2, "total_observations": 3},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "document", "record", "columns"), ARTIFACTS)
def test_artefacts(kind: str, document: type[Any], record: Any, columns: dict[str, Any]) -> None:
    stored = json.loads(encode_artifact(kind, "a\0", record, 7))
    assert stored["agent_id"] == "a\u24000"
    assert stored["updated_at"] == 7
    assert decode_artifact(kind, stored["record"]) == record
    row = document.from_stored(dict(zip_longest(document.row_columns, json.loads(stored["row"]))), stored["record"])
    assert row.record == record
    assert row.agent_id == "a\0"
    assert {name: getattr(row, name) for name in columns} == columns
    with pytest.raises(InvalidRecordError, match=kind):
        encode_artifact(kind, "a", object(), 7)
    with pytest.raises(InvalidRecordError, match="agent id"):
        encode_artifact(kind, 5, record, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_schemas(kind: str) -> None:
    document = DOCUMENTS[kind]
    assert issubclass(document, JsonModel)
    assert f"{document.__module__}.{document.__qualname__}" not in model_registry
    for name, column in document.columns().items():
        assert isinstance(getattr(document, name), Column)
        assert column.about.endswith("."), f"{column!r} says what it is in a sentence"
        assert document.model_fields[name].description == column.about
    command = create_index_command(kind, Keys("p {*}\n"), text=True)
    assert command[:7] == [
        "FT.CREATE",
        f"p {{*}}\n@{kind}:idx:v3{'t' if kind == 'run' else ''}",
        "ON",
        "JSON",
        "PREFIX",
        1,
        f"p {{*}}\n@{kind}:".encode(),
    ]
    assert {command[place + 1] for place, word in enumerate(command) if word == "AS"} == index_columns(kind, text=True)
    assert "agent_id" in index_columns(kind)
    assert not {"text", "text_words"} & index_columns(kind)


METHODS = [
    "save", "add", "get", "update", "delete", "delete_many", "all_pks", "expire", "db", "from_redis", "key", "make_key",
    "make_primary_key", "redisearch_schema", "check_datetime_schema_compatibility",
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_what_would_lose_data_is_blocked(method: str) -> None:
    run = Run.of(a_run())
    for owner in (Run, run, Plan):
        with pytest.raises(UnsupportedMethodError, match="use "):
            getattr(owner, method)("x")
    with pytest.raises(UnsupportedMethodError, match="RedisBackend"):
        Run._meta.database.execute_command("PING")
    run.check()


NOTHING_DIALS = """
import socket
def refuse(*args, **kwargs): raise SystemExit("something dials")
socket.socket.connect = refuse
socket.create_connection = refuse
from relay_models.documents import Run
from relay_models.records import RunRecord
run = Run.of(RunRecord(agent_id="a"))
Run(**run.stored_values())
str(Run.find(Run.agent_id == "a"))
print("quiet")
"""


def test_nothing_dials() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NOTHING_DIALS], capture_output=True, text=True, check=False
    )
    assert done.stdout == "quiet\n", done.stderr


def extended(**run: Any) -> RunRecord:
    """A run with extensions of every kind."""
    calls = [
        {"kind": "llm", "name": "a", "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:01Z",
         "annotated_response": {
             "usage": {"prompt_tokens": 9, "completion_tokens": 7, "cache_read_tokens": 100, "cache_write_tokens": 50},
             "api_specific": {"api": "anthropic_messages"}},
         "relay_models": {"status": "completed", "time_to_first_token_ms": 12.5}},
        {"kind": "llm", "name": "g", "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:01Z",
         "annotated_response": {
             "usage": {"prompt_tokens": 150, "completion_tokens": 4, "cache_read_tokens": 30},
             "api_specific": {"api": "gemini_generate_content", "thoughts_tokens": 6}},
         "relay_models": {"status": "completed", "time_to_first_token_ms": 99.0}},
        {"kind": "tool", "name": "t", "started_at": "2026-01-01T00:00:00Z",
         "relay_models": {"status": "failed", "error": {"type": "TimeoutError", "message": "late"}, "input": {"q": 1}}},
        {"kind": "tool", "name": "u", "started_at": "2026-01-01T00:00:00Z",
         "relay_models": {"status": "failed", "error": {"category": "internal_error"}}},
    ]  # fmt: skip
    value = {
        "id": "01a20829-3ca5-72a0-ae86-fbc312ec684a", "agent_id": "a", "calls": calls,
        "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:02Z", "relay_models": run,
    }  # fmt: skip
    return RunRecord.model_validate(value)


PARENT, ROOT = "01a20829-3ca5-72a0-ae86-fbc312ec684b", "01a20829-3ca5-72a0-ae86-fbc312ec684c"


def test_columns_of_what_the_runtime_has_no_field_for() -> None:
    record = extended(
        status="failed",
        error={"type": "ValueError"},
        session_id="s",
        user_id="u",
        parent_run_id=PARENT,
        root_run_id=ROOT,
    )
    values = Run.column_values(record)
    expected = {
        "status": "failed", "failed_calls": 2, "error_types": ["TimeoutError", "ValueError", "internal_error"],
        "session_id": "s", "user_id": "u", "parent_run_id": PARENT, "root_run_id": ROOT,
        "time_to_first_token": 12_500, "input_tokens": 159 + 150, "cached_input_tokens": 130, "cache_write_tokens": 50,
        "output_tokens": 7 + 4 + 6, "reasoning_tokens": 6,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected
    assert Run.of(record).time_to_first_token == timedelta(microseconds=12_500)


def test_columns_are_the_same_where_the_calls_are_still_text() -> None:
    record = extended(status="failed")
    assert Run.column_values(from_json(RunRecord, to_json(record))) == Run.column_values(record)


@pytest.mark.parametrize(
    ("extensions", "ended", "status"),
    [
        ({}, True, "completed"),
        ({"status": "completed"}, True, "completed"),
        ({"status": "running"}, False, "running"),
        ({"status": "failed"}, False, "failed"),
        ({"status": "cancelled"}, True, "completed"),  # a word of a later release
    ],
)
def test_the_status_of_a_run(extensions: dict[str, Any], ended: bool, status: str) -> None:
    record = extended(**extensions)
    if not ended:
        record.ended_at = None
    assert Run.column_values(record)["status"] == status


def test_no_failures_are_known_of_a_run_without_extensions() -> None:
    assert "failed_calls" not in Run.column_values(a_run())
    assert "error_types" not in Run.column_values(a_run())


def test_an_estimated_cost_is_stored_beside_the_record() -> None:
    stored = json.loads(encode_run(extended(), 1, estimated_cost=0.1 + 0.2))
    assert stored["estimated_cost"] == 0.3
    assert "cost" not in stored
    assert json.loads(merge_run(extended(), 1))["estimated_cost"] is None
