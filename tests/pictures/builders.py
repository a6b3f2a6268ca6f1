"""Making runs for pictures: calls given as milliseconds from the beginning of the run."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from relay_models.records import RunRecord

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def moment(ms: float) -> str:
    """An instant `ms` after the beginning, as the wire has it."""
    return (BEGIN + timedelta(milliseconds=ms)).isoformat().replace("+00:00", "Z")


def call(kind: str, name: str, start: float, end: float | None, **more: Any) -> dict[str, Any]:
    """A call as JSON has it."""
    ended = {} if end is None else {"ended_at": moment(end)}
    return {"kind": kind, "name": name, "started_at": moment(start), **ended, **more}


def llm(
    name: str, start: float, end: float | None, tokens: tuple[int, int] | None = (10, 5), **more: Any
) -> dict[str, Any]:
    """An LLM call that was answered, unless `tokens` is None."""
    if tokens is not None and end is not None:
        more = {"prompt_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)} | more
    return call("llm", name, start, end, **more)


def tool(name: str, start: float, end: float | None) -> dict[str, Any]:
    """A tool call."""
    return call("tool", name, start, end)


def run(*calls: dict[str, Any], end: float | None = 1000, agent: str = "planner") -> RunRecord:
    """A run of these calls."""
    value = {"id": "01a20829-3ca5-72a0-ae86-fbc312ec684a", "agent_id": agent, "calls": list(calls)}
    value["started_at"] = moment(0)
    if end is not None:
        value["ended_at"] = moment(end)
    return RunRecord.model_validate_json(json.dumps(value))


def many(count: int, seed: int = 1) -> RunRecord:
    """A run of `count` calls with parallel tools and long names in several scripts."""
    chance = random.Random(seed)
    names = [
        "search",
        "数据库查询_工具",
        "a_very_long_tool_name_that_goes_on_and_on",
        "отправить_письмо",
        "ابحث",
        "🔧 fix",
    ]
    calls: list[dict[str, Any]] = []
    now = 0.0
    while len(calls) < count:
        took = chance.uniform(5, 400)
        calls.append(
            llm(chance.choice(["openai", "anthropic"]), now, now + took, model_name="meta/llama-3.3-70b-instruct")
        )
        now += took + 1
        ends = [now]
        for _ in range(min(chance.randint(0, 3), count - len(calls))):
            start = now + chance.uniform(0, 2)
            ends.append(start + chance.choice([0, chance.uniform(1, 300)]))
            calls.append(tool(chance.choice(names), start, ends[-1]))
        now = max(ends) + 1
    return run(*calls, end=now)


def example() -> RunRecord:
    """A run with one call of each sort."""
    return run(
        llm("openai", 0, 400, (1200, 34), model_name="gpt-4.1"),
        llm("anthropic", 400, 600, None),
        tool("search", 650, 900),
        tool("fetch", 660, 1000),
        tool("instant", 1100, 1100),
        llm("last", 1200, None),
        end=None,
    )
