"""What is stored keeps its meaning for earlier and later releases: positions in a row, names and types in the index."""

from __future__ import annotations

import json

import pytest

from relay_models.columns.kind import Kind
from relay_models.documents import DOCUMENTS, Run, encode_run
from relay_models.errors import CorruptDocumentError
from relay_models.query.rows import row_reader
from relay_models.records import RunRecord

RELEASED: dict[str, tuple[str, ...]] = {
    "run": (
        "agent_id:text", "run_id:text", "status:text", "started_at:time", "ended_at:time", "duration:duration",
        "calls:count", "llm_calls:count", "tool_calls:count", "unfinished_calls:count", "providers:texts",
        "models:texts", "tools:texts", "finish_reasons:texts", "prompt_tokens:count", "output_tokens:count",
        "total_tokens:count", "cache_read_tokens:count", "cost:number",
        # Layout 2.
        "failed_calls:count", "error_types:texts", "session_id:text", "user_id:text", "parent_run_id:text",
        "root_run_id:text", "time_to_first_token:duration", "input_tokens:count", "cached_input_tokens:count",
        "cache_write_tokens:count", "reasoning_tokens:count", "estimated_cost:number",
        "trace_id:text",
    ),
    "plan": ("agent_id:text", "groups:count", "tools:texts"),
    "trie": ("agent_id:text", "workflow_name:text", "generated_at:time", "nodes:count"),
    "accumulators": ("agent_id:text", "nodes:count"),
    "observations": ("agent_id:text", "prompts:count", "latest_at:time"),
    "stability": ("agent_id:text", "blocks:count", "stable_prefix_length:count", "total_observations:count"),
}  # fmt: skip
"""Columns of each kind's ``row`` by their positions, as released: never change a line, only add at the end."""


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_positions_in_a_row_are_kept_forever(kind: str) -> None:
    columns = DOCUMENTS[kind].columns()
    now = tuple(f"{name}:{columns[name].kind}" for name in DOCUMENTS[kind].row_columns)
    released = RELEASED[kind]
    assert now[: len(released)] == released, "stored documents have these columns at these positions"
    for added in DOCUMENTS[kind].row_columns[len(released) :]:
        assert columns[added].nullable, f"{added}: documents of an earlier release have no value for it"
    assert len(now) == len(released), "add the columns of the new layout to RELEASED, and raise LAYOUT_VERSION"


def test_a_document_of_a_later_release_is_read() -> None:
    record = RunRecord(agent_id="a")
    row = json.loads(json.loads(encode_run(record, 1))["row"])
    row += [None] * (len(Run.row_columns) - len(row))
    reader = row_reader(Run, False)
    later = reader.decode({b"__key": b"k", b"$.row": json.dumps([*row, "more", [1]]).encode()})
    assert later.to_dict() == Run.of(record).to_dict()


def test_a_document_of_an_earlier_release_is_read() -> None:
    record = RunRecord(agent_id="a")
    row = json.loads(json.loads(encode_run(record, 1))["row"])
    reader = row_reader(Run, False)
    earlier = reader.decode({b"__key": b"k", b"$.row": json.dumps(row[:18]).encode()})
    assert earlier.cost is None
    assert earlier.input_tokens is None
    assert earlier.agent_id == "a"
    with pytest.raises(CorruptDocumentError, match="unfinished_calls"):
        reader.decode({b"__key": b"k", b"$.row": json.dumps(row[:9]).encode()})


def test_what_the_index_can_be_asked_for_follows_from_the_declarations() -> None:
    unread = [name for name, column in Run.columns().items() if name not in Run.row_columns]
    assert unread == ["stored_at", "updated_at", "text", "tags", "notes", "scores"]
    assert Run.columns()["text"].kind is Kind.WORDS
