"""Annotated LLM requests and responses, modelled loosely: typed where a query asks, the rest kept as it came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from relay_models.records.loose import Loose, LooseRecord
from relay_models.records.record import F64, I64, U64, Factories, OpenEnum

__all__ = [
    "AgentHints",
    "AnnotatedLlmRequest",
    "AnnotatedLlmResponse",
    "CacheWriteTokens",
    "ContentPart",
    "CostEstimate",
    "CostSource",
    "FinishReason",
    "GenerationParams",
    "Message",
    "MessageRole",
    "NvExt",
    "ResponseToolCall",
    "UnknownFinishReason",
    "Usage",
]


class MessageRole(OpenEnum):
    """Who speaks in a message of a request, or what kind of item it is."""

    SYSTEM = "system"
    USER = "user"
    DEVELOPER = "developer"
    ASSISTANT = "assistant"
    TOOL = "tool"
    FUNCTION = "function"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    PROVIDER_NATIVE = "provider_native"


class FinishReason(OpenEnum):
    """Why a model stopped, in NeMo Relay's words."""

    COMPLETE = "complete"
    LENGTH = "length"
    TOOL_USE = "tool_use"
    CONTENT_FILTER = "content_filter"


class CostSource(OpenEnum):
    """Where a cost comes from."""

    MODEL_PRICING = "model_pricing"
    PROVIDER_REPORTED = "provider_reported"


class ContentPart(LooseRecord):
    """One part of a message's content; the other keys depend on its `type` and are kept as they came."""

    type: str = Field(
        description="Kind of the part: text, image_url, image, audio, file, refusal, tool_use, tool_result, "
        "provider_native, or what a later release adds."
    )
    text: str | None = Field(default=None, description="Text of a part of type text.")


Content = str | list[Loose[ContentPart]]


class Message(LooseRecord):
    """One message or item of a request, tagged by `role`; the other keys depend on it and are kept as they came."""

    role: MessageRole = Field(description="Who speaks, or the kind of item.")
    content: Content | None = Field(
        default=None, description="Text, or a list of parts; null or absent where the role has none."
    )
    name: str | None = Field(default=None, description="Name of the speaker, the function or the tool.")
    tool_call_id: str | None = Field(default=None, description="Call that a message of role tool answers.")
    tool_calls: list[Any] | None = Field(default=None, description="Calls that the assistant asked for, as given.")

    @property
    def text(self) -> str:
        """The text of the message: its parts of type text joined by newlines, "" where it has none."""
        return _text(self.content)


class GenerationParams(LooseRecord):
    """Sampling parameters of a request."""

    temperature: F64 | None = Field(default=None, description="Sampling temperature.")
    max_tokens: U64 | None = Field(default=None, description="Most tokens to generate.")
    top_p: F64 | None = Field(default=None, description="Nucleus sampling probability, 0 to 1.")
    stop: list[str] | None = Field(default=None, description="Texts at which generation stops.")


class AgentHints(LooseRecord):
    """Hints that NeMo Relay injects into a request: what an inference server can expect of the agent."""

    iat: U64 | None = Field(default=None, description="Expected time to the next call, in milliseconds.")
    latency_sensitivity: F64 | None = Field(default=None, description="How much latency matters, a score.")
    osl: U64 | None = Field(default=None, description="Expected length of the output, in tokens.")
    prefix_id: str | None = Field(default=None, description="Identifier of the prompt's prefix.")
    priority: I64 | None = Field(default=None, description="Priority of the request.")
    total_requests: U64 | None = Field(default=None, description="Expected number of requests (count).")


class NvExt(LooseRecord):
    """NVIDIA's extension of a request."""

    agent_hints: Loose[AgentHints] | None = Field(default=None, description="Hints for the inference server.")


class AnnotatedLlmRequest(LooseRecord):
    """A request to a model in NeMo Relay's common form; keys of providers are kept as they came."""

    messages: list[Loose[Message]] = Field(default_factory=list, description="Messages of the conversation, in order.")
    instructions: Content | None = Field(default=None, description="System instructions given apart from the messages.")
    model: str | None = Field(default=None, description="Model that was asked for.")
    params: Loose[GenerationParams] | None = Field(default=None, description="Sampling parameters.")
    tools: list[Any] | None = Field(default=None, description="Tool definitions, as given.")
    tool_choice: Any = Field(
        default=None, description='"auto", "none", "required", one named function, or a provider\'s own form.'
    )
    store: bool | None = Field(default=None, strict=True, description="Whether the provider may store the response.")
    previous_response_id: str | None = Field(default=None, description="Response that this request continues.")
    truncation: Any = Field(default=None, description="Provider's truncation setting, as given.")
    reasoning: Any = Field(default=None, description="Provider's reasoning setting, as given.")
    include: Any = Field(default=None, description="Extra output that was asked for, as given.")
    user: str | None = Field(default=None, description="End user, as given to the provider.")
    metadata: Any = Field(default=None, description="Metadata for the provider, as given.")
    service_tier: str | None = Field(default=None, description="Service tier that was asked for.")
    parallel_tool_calls: bool | None = Field(
        default=None, strict=True, description="Whether the model may call tools in parallel."
    )
    max_output_tokens: U64 | None = Field(default=None, description="Most tokens to generate, reasoning included.")
    max_tool_calls: U64 | None = Field(default=None, description="Most tool calls in one response.")
    top_logprobs: U64 | None = Field(default=None, description="Log probabilities to return per token.")
    stream: bool | None = Field(default=None, strict=True, description="Whether the response was to be streamed.")
    api_specific: Any = Field(default=None, description="Fields of one provider's API, an object tagged by `api`.")
    nvext: Loose[NvExt] | None = Field(default=None, description="NVIDIA's extension, where hints were injected.")

    _fresh: ClassVar[Factories] = {"messages": list}

    @property
    def texts(self) -> list[str]:
        """The instructions and the messages that have any text, in order."""
        texts = [_text(self.instructions), *(message.text for message in self.messages)]
        return [text for text in texts if text]


class ResponseToolCall(LooseRecord):
    """A tool call that a model asked for."""

    id: str = Field(description="Identifier of the call, which the tool's result refers to.")
    name: str = Field(description="Name of the tool.")
    arguments: Any = Field(description="Arguments, any JSON value.")

    _nullable: ClassVar[frozenset[str]] = frozenset({"arguments"})


class CostEstimate(LooseRecord):
    """What one call cost, in `currency` units (not cents)."""

    total: F64 | None = Field(default=None, description="Whole cost, in `currency`.")
    currency: str = Field(default="USD", description="ISO 4217 code of the currency.")
    input: F64 | None = Field(default=None, description="Cost of the uncached prompt tokens, in `currency`.")
    output: F64 | None = Field(default=None, description="Cost of the output tokens, in `currency`.")
    cache_read: F64 | None = Field(default=None, description="Cost of the tokens read from a cache, in `currency`.")
    cache_write: F64 | None = Field(default=None, description="Cost of the tokens written to a cache, in `currency`.")
    source: CostSource = Field(description="Who computed it: NeMo Relay's price list, or the provider.")
    pricing_provider: str | None = Field(default=None, description="Provider in the price list that was used.")
    pricing_model: str | None = Field(default=None, description="Model in the price list that was used.")
    pricing_as_of: str | None = Field(default=None, description="Date of the price list.")
    pricing_source: str | None = Field(default=None, description="Origin of the price list.")

    _fresh: ClassVar[Factories] = {"currency": lambda: "USD"}

    @property
    def amount(self) -> float | None:
        """The cost in `currency`: the total, or the sum of the parts that a provider reported without a total."""
        if self.total is not None or self.source != CostSource.PROVIDER_REPORTED:
            return self.total
        parts = [part for part in (self.input, self.output, self.cache_read, self.cache_write) if part is not None]
        return sum(parts) if parts else None


class CacheWriteTokens(LooseRecord):
    """Prompt tokens that were written to a cache for one duration (NeMo Relay 1.0)."""

    count: U64 = Field(description="Tokens written (count).")
    duration: U64 | None = Field(default=None, description="How long the cache keeps them, in seconds.")


class Usage(LooseRecord):
    """Tokens of one response, as the provider counted them."""

    prompt_tokens: U64 | None = Field(
        default=None,
        description="Tokens of the prompt as the provider counts them: without what was read from or written to a "
        "cache for Anthropic, with it for the others; see records/tokens.py.",
    )
    completion_tokens: U64 | None = Field(
        default=None, description="Tokens of the output as the provider counts them; Gemini leaves thoughts out."
    )
    total_tokens: U64 | None = Field(default=None, description="Tokens of prompt and output, as the provider says.")
    cache_read_tokens: U64 | None = Field(
        default=None,
        description="Input tokens that were read from a cache. They are part of the prompt tokens, but for Anthropic, "
        "which counts them beside those.",
    )
    cache_write_tokens: U64 | list[Loose[CacheWriteTokens]] | None = Field(
        default=None,
        description="Input tokens that were written to a cache; since NeMo Relay 1.0 by duration. Anthropic counts "
        "them beside the prompt tokens.",
    )
    uncached_input_tokens: U64 | None = Field(
        default=None, description="Input tokens that were neither read from nor written to a cache (NeMo Relay 1.0)."
    )
    reasoning_tokens: U64 | None = Field(default=None, description="Output tokens that were spent on reasoning.")
    completion_tokens_details: Any = Field(default=None, description="OpenAI's details of the output tokens, as given.")
    cost: Loose[CostEstimate] | None = Field(default=None, description="What the call cost.")

    @property
    def cache_write_total(self) -> int | None:
        """Prompt tokens that were written to a cache, of all durations; None where the provider does not report it."""
        written = self.cache_write_tokens
        return sum(each.count for each in written) if isinstance(written, list) else written


class UnknownFinishReason(LooseRecord):
    """A finish reason for which NeMo Relay has no word of its own."""

    unknown: str = Field(description="The provider's word.")


class AnnotatedLlmResponse(LooseRecord):
    """A model's response in NeMo Relay's common form; keys of providers are kept as they came."""

    id: str | None = Field(default=None, description="Provider's identifier of the response.")
    model: str | None = Field(default=None, description="Model that answered.")
    message: Content | None = Field(default=None, description="Answer: text, or a list of parts.")
    tool_calls: list[Loose[ResponseToolCall]] | None = Field(
        default=None, description="Tool calls that the model asked for."
    )
    finish_reason: FinishReason | UnknownFinishReason | None = Field(
        default=None,
        description='Why the model stopped: complete, length, tool_use, content_filter, or {"unknown": text}.',
    )
    usage: Loose[Usage] | None = Field(default=None, description="Tokens and cost.")
    optimization_summary: Any = Field(default=None, description="What NeMo Relay's optimizations saved, as given.")
    api_specific: Any = Field(default=None, description="Fields of one provider's API, an object tagged by `api`.")

    @property
    def text(self) -> str:
        """The text of the answer: its parts of type text joined by newlines, "" where it has none."""
        return _text(self.message)

    @property
    def finish_reason_text(self) -> str | None:
        """The finish reason as one word: of ``{"unknown": "pause"}`` it is ``"pause"``."""
        reason = self.finish_reason
        if reason is None:
            return None
        return reason if isinstance(reason, str) else reason.unknown


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part_texts(content))


def _part_texts(parts: list[ContentPart]) -> Iterator[str]:
    for part in parts:
        if part.text:
            yield part.text
