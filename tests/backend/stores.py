"""Where the tests of the backend keep their stores: embedded engines, and a real server when there is one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from relay_models.records import RunRecord

# Prefixes and agents that a naive key, query or pattern would mix up.
HOSTILE = [
    "a",
    "a:b",
    "a::model=x::seed=1",
    "a|b",
    " a",
    "a ",
    "a b",
    "{a}",
    "a{b",
    "*",
    "a*",
    "a?",
    "[a]",
    'quo"te',
    "quo'te",
    "back\\slash",
    "back\\",
    "line\nbreak",
    "tab\tand\rreturn",
    "@run",
    "$v",
    "-",
    "%a%",
    "nul\0l",
    "␀",
    "␀0",
    "é",
    "e\u0301",
    "数据-агент",
    "\u200bzero",
    "🦜",
    "A",
    "",
]


def make_run(
    agent_id: str, number: int = 0, *, running: bool = False, run_id: UUID | None = None, **more: Any
) -> RunRecord:
    """A small run that began `number` seconds after a fixed moment."""
    start = datetime(2026, 11, 23, 10, 0, tzinfo=UTC) + timedelta(seconds=number)
    value: dict[str, Any] = {
        "id": str(run_id or uuid4()),
        "agent_id": agent_id,
        "calls": [
            {
                "kind": "llm",
                "name": "openai",
                "started_at": f"{start:%Y-%m-%dT%H:%M:%S}.123456789Z",
                "model_name": f"model-{number % 3}",
                "prompt_tokens": number,
                "output_tokens": 1,
            }
        ],
        "started_at": f"{start:%Y-%m-%dT%H:%M:%S}.123456789Z",
        "of_a_later_release": {"number": number},
        **more,
    }
    if not running:
        value["ended_at"] = f"{start + timedelta(seconds=number % 7):%Y-%m-%dT%H:%M:%S}.987654321Z"
    return RunRecord.model_validate_json(json.dumps(value))


def as_value(record: Any) -> Any:
    """A record, or a list of them, as a JSON value."""
    if isinstance(record, list):
        return [as_value(each) for each in record]
    return json.loads(record.model_dump_json())
