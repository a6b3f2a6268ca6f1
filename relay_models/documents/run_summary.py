"""`RunSummary`: what the columns of a run hold, computed from its record in one pass over the calls."""

from __future__ import annotations

import math
from typing import NamedTuple

from relay_models.columns.types import rounded
from relay_models.records import CallRecord, CostEstimate, ErrorInfo, RunExtensions, RunRecord, Status
from relay_models.records.run import calls_text, single_cost, sum_costs
from relay_models.records.tokens import NO_TOKENS, add_tokens, count_tokens
from relay_models.records.views import viewing

__all__ = ["RunSummary", "summarize"]

# Reads of calls that are kept as text what columns come from.
_column_views = viewing(
    CallRecord,
    without=(
        "started_at",
        "metadata_snapshot",
        "annotated_request",
        "message",
        "tool_calls",
        "metadata",
        "cut",
    ),
)


class RunSummary(NamedTuple):
    """The values of a run's columns as they are stored, by column name; None where there is none.

    Times and durations are in microseconds.
    """

    agent_id: str
    run_id: str
    status: str
    started_at: int
    ended_at: int | None
    duration: int | None
    calls: int
    llm_calls: int
    tool_calls: int
    unfinished_calls: int
    providers: list[str] | None
    models: list[str] | None
    tools: list[str] | None
    finish_reasons: list[str] | None
    prompt_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_tokens: int | None
    cost: float | None
    failed_calls: int | None
    error_types: list[str] | None
    session_id: str | None
    user_id: str | None
    parent_run_id: str | None
    root_run_id: str | None
    time_to_first_token: int | None
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    trace_id: str | None


def summarize(record: RunRecord) -> RunSummary:
    """The summary of a record."""
    started = record.started_at.nanoseconds
    text = calls_text(record)
    calls = record.calls if text is None else _column_views(text)
    llm = tool = unfinished = 0
    prompt = output = total = cached = failed = first_token = None
    all_input = cached_input = cache_write = reasoning = None
    errors: set[str] = set()
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
        counts = NO_TOKENS if kind == "tool" else count_tokens(call)
        if counts is not NO_TOKENS:
            all_input = add_tokens(all_input, counts.input_tokens)
            cached_input = add_tokens(cached_input, counts.cached_input_tokens)
            cache_write = add_tokens(cache_write, counts.cache_write_tokens)
            output = add_tokens(output, counts.output_tokens)
            reasoning = add_tokens(reasoning, counts.reasoning_tokens)
        if (ext := call.ext) is not None:
            if ext.status in _KNOWN_OUTCOMES:
                failed = (failed or 0) + (ext.status == Status.FAILED)
            if (name := _error_name(ext.error)) is not None:
                errors.add(name)
            if first_token is None and ext.time_to_first_token_ms is not None:
                first_token = _microseconds(ext.time_to_first_token_ms)
    known = single_cost(sum_costs(costs))
    ended = None if record.ended_at is None else record.ended_at.nanoseconds
    own = record.ext or _NOTHING_KNOWN
    if (name := _error_name(own.error)) is not None:
        errors.add(name)
    status = "failed" if own.status == Status.FAILED else "running" if ended is None else "completed"
    return RunSummary(
        record.agent_id,
        str(record.id),
        status,
        started // 1000,
        None if ended is None else ended // 1000,
        None if ended is None else (ended - started) // 1000,
        len(calls),
        llm,
        tool,
        unfinished,
        sorted(providers) or None,
        sorted(models) or None,
        sorted(tools) or None,
        sorted(reasons) or None,
        prompt,
        output,
        total,
        cached,
        rounded(known) if known is not None and math.isfinite(known) else None,
        failed,
        sorted(errors) or None,
        own.session_id,
        own.user_id,
        None if own.parent_run_id is None else str(own.parent_run_id),
        None if own.root_run_id is None else str(own.root_run_id),
        first_token,
        all_input,
        cached_input,
        cache_write,
        reasoning,
        trace_of(own),
    )


_NOTHING_KNOWN = RunExtensions()
_KNOWN_OUTCOMES = frozenset({Status.COMPLETED, Status.FAILED})


def trace_of(extensions: RunExtensions) -> str | None:
    """The OpenTelemetry trace that a run was read from."""
    otel = (extensions.metadata or {}).get("otel")
    told = otel.get("trace_id") if isinstance(otel, dict) else None
    return told if isinstance(told, str) and told else None


def _error_name(error: ErrorInfo | None) -> str | None:
    return None if error is None else error.type or error.category or None


def _microseconds(milliseconds: float) -> int | None:
    """Rounded down; None for what cannot be the time to a token."""
    return int(milliseconds * 1000) if 0 <= milliseconds < 1e12 else None
