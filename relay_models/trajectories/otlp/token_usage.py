"""`token_usage`: tokens and cost of a model's span, under the names that the libraries have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_models.trajectories.otlp.attributes import first_of, parsed
from relay_models.trajectories.usage import inclusive_usage, unsigned

__all__ = ["USAGE_KEYS", "token_usage"]

_INPUT = (
    *("gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.usage.prompt_tokens"),
    *("llm.usage.prompt_tokens", "ai.usage.inputTokens", "ai.usage.promptTokens", "gen_ai.response.prompt_tokens"),
)
_OUTPUT = (
    *("gen_ai.usage.output_tokens", "llm.token_count.completion", "gen_ai.usage.completion_tokens"),
    *("llm.usage.completion_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens"),
    "gen_ai.response.completion_tokens",
)
_TOTAL = ("llm.token_count.total", "gen_ai.usage.total_tokens", "llm.usage.total_tokens", "ai.usage.totalTokens")
_READ = (
    *("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read"),
    *("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.details.cache_read_tokens"),
    *("gen_ai.usage.details.cache_read_input_tokens", "gen_ai.usage.details.cached_tokens"),
    *("ai.usage.cachedInputTokens", "gen_ai.usage.input_tokens.cached"),
)
_WRITTEN = (
    *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
    *("llm.token_count.prompt_details.cache_write", "gen_ai.usage.cache_creation_input_tokens"),
    *("gen_ai.usage.cache_write_input_tokens", "gen_ai.usage.details.cache_write_tokens"),
    *("gen_ai.usage.details.cache_creation_input_tokens", "gen_ai.usage.input_tokens.cache_write"),
)
_REASONING = (
    *("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
    *("gen_ai.usage.reasoning_tokens", "gen_ai.usage.details.reasoning_tokens", "llm.usage.reasoning_tokens"),
    *("ai.usage.reasoningTokens", "gen_ai.usage.output_tokens.reasoning"),
    "gen_ai.usage.experimental.reasoning_tokens",
)
_COST = ("nemo_relay.llm.cost.total", "llm.cost.total", "gen_ai.usage.cost", "operation.cost")
_COST_PARTS = {"input": "llm.cost.prompt", "output": "llm.cost.completion"}
# Usage as the provider or the library has it, as one JSON object.
_OBJECTS = ("nemo_relay.end.data.usage", "langfuse.observation.usage_details", "mlflow.chat.tokenUsage")

# Parts of the input and output tokens as one JSON object each, as LangChain has them.
_INPUT_DETAILS, _OUTPUT_DETAILS = "gen_ai.usage.input_token_details", "gen_ai.usage.output_token_details"

USAGE_KEYS = frozenset(
    (
        _INPUT_DETAILS,
        _OUTPUT_DETAILS,
        *_INPUT,
        *_OUTPUT,
        *_TOTAL,
        *_READ,
        *_WRITTEN,
        *_REASONING,
        *_COST,
        *_COST_PARTS.values(),
        *_OBJECTS,
    )
)
"""All attributes that tell of tokens or cost."""


def token_usage(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Usage as a record has it, and the reasoning tokens."""
    keys = (_INPUT, _OUTPUT, _READ, _WRITTEN, _REASONING)
    prompt, output, read, written, reasoning = (_count(first_of(attributes, names)) for names in keys)
    details, more = (parsed(attributes.get(name)) for name in (_INPUT_DETAILS, _OUTPUT_DETAILS))
    if isinstance(details, dict):
        read = _count(details.get("cache_read")) if read is None else read
        written = _count(details.get("cache_creation")) if written is None else written
    if isinstance(more, dict) and reasoning is None:
        reasoning = _count(more.get("reasoning"))
    if prompt is None and output is None:
        raw = parsed(first_of(attributes, _OBJECTS))
        if isinstance(raw, dict):
            prompt, output, read, written, reasoning = _provider_usage(raw)
    cost = first_of(attributes, _COST)
    parts = {name: attributes.get(key) for name, key in _COST_PARTS.items()}
    if cost is None and isinstance(told := parsed(attributes.get("langfuse.observation.cost_details")), dict):
        cost, parts = told.get("total"), {name: told.get(name) for name in _COST_PARTS}
    costs = {name: amount for name, told in {"total": cost, **parts}.items() if (amount := _amount(told)) is not None}
    currency = str(attributes.get("nemo_relay.llm.cost.currency") or "USD")
    usage = inclusive_usage(
        prompt,
        output,
        total=_count(first_of(attributes, _TOTAL)),
        read=read,
        written=written,
        cost={**costs, "currency": currency, "source": "provider_reported"} if costs else None,
    )
    return usage, unsigned(reasoning)


def _amount(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    """A number of tokens, which some writers give as a double or as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    return unsigned(value)


def _provider_usage(raw: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Input (cache included), output, cache read, cache written and reasoning tokens of one object."""

    def told(*names: str, of: Any = raw) -> int | None:
        return _count(first_of(of, names)) if isinstance(of, Mapping) else None

    inner = raw.get("prompt_tokens_details") or raw.get("input_tokens_details")
    outer = raw.get("completion_tokens_details") or raw.get("output_tokens_details")
    prompt, output = (
        told("prompt_tokens", "input_tokens", "input"),
        told("completion_tokens", "output_tokens", "output"),
    )
    reasoning = told("reasoning_tokens", of=outer)
    read, written = told("cached_tokens", of=inner), None
    if read is None:
        # Anthropic and Langfuse count what is read from a cache and written to it beside the input.
        read = told("cache_read_input_tokens", "input_cached_tokens", "input_cache_read")
        written = told("cache_creation_input_tokens", "input_cache_creation", "input_cache_write")
        if prompt is not None:
            prompt += (read or 0) + (written or 0)
    if reasoning is None and (reasoning := told("output_reasoning_tokens", "output_reasoning")) is not None:
        output = None if output is None else output + reasoning
    return prompt, output, read, written, reasoning
