"""Document types: what they are to redis-om, to a user, and to the store."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
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
    assert dict(zip(Run.row_columns, json.loads(document["row"]), strict=True)) == {
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
    row = document.from_stored(
        dict(zip(document.row_columns, json.loads(stored["row"]), strict=True)), stored["record"]
    )
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
        f"p {{*}}\n@{kind}:idx:v2{'t' if kind == 'run' else ''}",
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
