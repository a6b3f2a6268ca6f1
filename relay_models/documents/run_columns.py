"""`run_columns`: the columns of a run, computed from its record."""

from __future__ import annotations

import math
from typing import Any

from relay_models.columns.values import rounded
from relay_models.columns.words import words_of, words_text
from relay_models.records import CallRecord, CostEstimate, RunRecord
from relay_models.records.run import call_texts, call_views, calls_text, single_cost, sum_costs
from relay_models.records.views import viewing

__all__ = ["run_columns", "run_text", "run_words"]

# Reads of calls that are kept as text what columns come from.
_column_views = viewing(
    CallRecord,
    without=("started_at", "metadata_snapshot", "annotated_request", "message", "tool_calls", "api_specific"),
)


def run_columns(record: RunRecord) -> dict[str, Any]:
    """What a run's columns hold, by name, as stored: times and durations in microseconds.

    A column without a value is left out: the end of a running run, tokens that no call reports, no models.
    """
    started = record.started_at.nanoseconds
    text = calls_text(record)
    calls = record.calls if text is None else _column_views(text)
    llm = tool = unfinished = 0
    prompt = output = total = cached = None
    providers: set[str] = set()
    models: set[str] = set()
    tools: set[str] = set()
    reasons: set[str] = set()
    costs: list[CostEstimate] = []
    # Each attribute of each call is read once: this is a good part of what storing a run costs.
    for call in calls:
        kind = call.kind
        if kind == "llm":
            llm += 1
            providers.add(call.name)
        elif kind == "tool":
            tool += 1
            tools.add(call.name)
        if call.ended_at is None:
            unfinished += 1
        if (model := call.model_name) is not None:
            models.add(model)
        if (tokens := call.prompt_tokens) is not None:
            prompt = (prompt or 0) + tokens
        if (tokens := call.output_tokens) is not None:
            output = (output or 0) + tokens
        if (tokens := call.total_tokens) is not None:
            total = (total or 0) + tokens
        if (response := call.annotated_response) is not None:
            if (reason := response.finish_reason_text) is not None:
                reasons.add(reason)
            if (usage := response.usage) is not None:
                if (tokens := usage.cache_read_tokens) is not None:
                    cached = (cached or 0) + tokens
                if (cost := usage.cost) is not None:
                    costs.append(cost)
    columns: dict[str, Any] = {
        "agent_id": record.agent_id,
        "run_id": str(record.id),
        "status": "running" if record.ended_at is None else "completed",
        "started_at": started // 1000,
    }
    if record.ended_at is not None:
        ended = record.ended_at.nanoseconds
        columns["ended_at"] = ended // 1000
        columns["duration"] = (ended - started) // 1000
    columns["calls"] = len(calls)
    columns["llm_calls"] = llm
    columns["tool_calls"] = tool
    columns["unfinished_calls"] = unfinished
    for name, texts in (("providers", providers), ("models", models), ("tools", tools), ("finish_reasons", reasons)):
        if texts:
            columns[name] = sorted(texts)
    for name, number in (
        ("prompt_tokens", prompt),
        ("output_tokens", output),
        ("total_tokens", total),
        ("cache_read_tokens", cached),
    ):
        if number is not None:
            columns[name] = number
    known = single_cost(sum_costs(costs))
    if known is not None and math.isfinite(known):
        columns["cost"] = rounded(known)
    return columns


def run_text(record: RunRecord) -> str:
    """The words of all prompts and answers, as the index gets them."""
    return words_text(_texts(record))


def run_words(record: RunRecord) -> list[str]:
    """The same as a list, for plain Python."""
    words: list[str] = []
    for text in _texts(record):
        more = words_of(text)
        if more and words:
            words.append("__")
        words.extend(more)
    return words


def _texts(record: RunRecord) -> list[str]:
    text = calls_text(record)
    return record.texts if text is None else call_texts(call_views(text))
