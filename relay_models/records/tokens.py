"""`count_tokens`: a call's tokens in figures that can be added up across providers.

Providers count differently, and NeMo Relay keeps their figures as they came. The rules, by the codec that read the
response (`annotated_response.api_specific.api`), measured with NeMo Relay's own codecs:

| api | `usage.prompt_tokens` | `usage.completion_tokens` | reasoning tokens |
|---|---|---|---|
| openai_chat | cached ones included | reasoning included | in the raw response only |
| openai_responses | cached ones included | reasoning included | `api_specific.output_tokens_details` |
| anthropic_messages | **without** cache reads and cache writes | thinking included | not told |
| gemini_generate_content | cached ones included | **without** thoughts | `api_specific.thoughts_tokens` |
| oci_genai | as told; no cache | as told | not told |

`usage.uncached_input_tokens`, where there is one, decides before the name of the API does: equal to the prompt tokens
while something was read from or written to a cache, it says that the prompt tokens exclude the cache. Without it and
without a known API, prompt tokens that are fewer than the cached ones exclude them; otherwise a call named
"anthropic" or a model named "claude…" is counted by Anthropic's rule, and all else includes the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from relay_models.records.llm import Usage

if TYPE_CHECKING:
    from relay_models.records.call import CallRecord

__all__ = ["NO_TOKENS", "TokenCounts", "add_tokens", "cache_write_total", "count_tokens", "sum_tokens"]

_ANTHROPIC, _GEMINI = "anthropic_messages", "gemini_generate_content"
_INCLUSIVE = frozenset({"openai_chat", "openai_responses", _GEMINI, "oci_genai"})


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one call or of several; None where the provider told nothing."""

    input_tokens: int | None = None
    """Tokens of the prompt, those read from and written to a cache included."""
    cached_input_tokens: int | None = None
    """Part of the input tokens that was read from a cache."""
    cache_write_tokens: int | None = None
    """Part of the input tokens that was written to a cache."""
    output_tokens: int | None = None
    """Tokens of the output, reasoning included."""
    reasoning_tokens: int | None = None
    """Part of the output tokens that was spent on reasoning."""

    @property
    def uncached_input_tokens(self) -> int | None:
        """Input tokens that were neither read from nor written to a cache, never below 0."""
        if self.input_tokens is None:
            return None
        return max(0, self.input_tokens - (self.cached_input_tokens or 0) - (self.cache_write_tokens or 0))

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None where neither is known."""
        return add_tokens(self.input_tokens, self.output_tokens)

    def __add__(self, other: TokenCounts) -> TokenCounts:
        names = type(self).__slots__
        return TokenCounts(**{name: add_tokens(getattr(self, name), getattr(other, name)) for name in names})


NO_TOKENS = TokenCounts()
"""The counts of a call that tells none."""


def count_tokens(call: CallRecord) -> TokenCounts:
    """Count a call's tokens by the rule of its provider.

    Args:
        call: an LLM call; a tool call has no tokens.

    Returns:
        The figures that are known. The record itself keeps what the provider said.
    """
    response = call.annotated_response
    usage = None if response is None else response.usage
    told = None if call.ext is None else call.ext.reasoning_tokens
    if response is None or usage is None:
        if call.prompt_tokens is None and call.output_tokens is None and told is None:
            return NO_TOKENS
        return TokenCounts(input_tokens=call.prompt_tokens, output_tokens=call.output_tokens, reasoning_tokens=told)
    prompt = call.prompt_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    output = call.output_tokens if usage.completion_tokens is None else usage.completion_tokens
    read, write = usage.cache_read_tokens, cache_write_total(usage.cache_write_tokens)
    api_specific = _members(response.api_specific)
    api = named if isinstance(named := api_specific.get("api"), str) else None
    reasoning = told if told is not None else _reasoning(call, usage, api_specific)
    if prompt is not None and _excludes_cache(call, usage, prompt, (read or 0) + (write or 0), api):
        prompt += (read or 0) + (write or 0)
    if api == _GEMINI and output is not None:
        output += reasoning or 0
    return TokenCounts(prompt, read, write, output, reasoning)


def sum_tokens(calls: Sequence[CallRecord]) -> TokenCounts:
    """Sum the tokens of several calls, as far as they are known."""
    return sum(map(count_tokens, calls), TokenCounts())


def cache_write_total(tokens: Any) -> int | None:
    """Sum up `Usage.cache_write_tokens`: a number, or a list of ``{count, duration}`` from NeMo Relay 1.0 on.

    Returns:
        The number of tokens; None where nothing, or nothing that can be understood, was told.
    """
    if isinstance(tokens, list):
        counts = [item.get("count") if isinstance(item, dict) else getattr(item, "count", None) for item in tokens]
        known = [count for count in map(_number, counts) if count is not None]
        return sum(known) if known else None
    return _number(tokens)


def _excludes_cache(call: CallRecord, usage: Usage, prompt: int, cached: int, api: Any) -> bool:
    """Whether the prompt tokens are without what was read from and written to a cache."""
    if not cached:
        return False
    uncached = _number(getattr(usage, "uncached_input_tokens", None))
    if uncached is not None:
        return prompt == uncached
    if api in _INCLUSIVE:
        return False
    if api == _ANTHROPIC or prompt < cached:
        return True
    return "anthropic" in call.name.lower() or (call.model_name or "").lower().startswith("claude")


def _reasoning(call: CallRecord, usage: Usage, api_specific: dict[str, Any]) -> int | None:
    for told in (
        _members(api_specific.get("output_tokens_details")).get("reasoning_tokens"),
        api_specific.get("thoughts_tokens"),
        usage.reasoning_tokens,
        _members(usage.completion_tokens_details).get("reasoning_tokens"),
    ):
        if (found := _number(told)) is not None:
            return found
    raw = {} if call.ext is None else _members(call.ext.output)
    details = _members(_members(raw.get("usage")).get("completion_tokens_details"))
    return _number(details.get("reasoning_tokens"))


def _members(value: Any) -> dict[str, Any]:
    """The members of a JSON object, which a view holds as its text; none of any other value."""
    if value is None:
        return {}
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value) if bytes(value).startswith(b"{") else None
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def add_tokens(one: int | None, other: int | None) -> int | None:
    """Add two figures, of which either may not be known."""
    return other if one is None else one if other is None else one + other
