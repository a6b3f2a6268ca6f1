"""`CallRecord`: one LLM or tool call of a run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from relay_models.records.extensions import CallExtensions, Extended
from relay_models.records.llm import AnnotatedLlmRequest, AnnotatedLlmResponse, CostEstimate
from relay_models.records.loose import Loose
from relay_models.records.plan import MetadataEnvelope
from relay_models.records.record import U32, Factories, OpenEnum
from relay_models.records.timestamp import Timestamp

__all__ = ["CallKind", "CallRecord"]


class CallKind(OpenEnum):
    """What was called. A kind of a later release is kept: it counts as a call, but as neither of these two."""

    LLM = "llm"
    TOOL = "tool"


class CallRecord(Extended):
    """One LLM or tool call of a run."""

    kind: CallKind = Field(description="What was called: llm or tool.")
    name: str = Field(description="Name of the tool, or of the provider for an LLM call.")
    started_at: Timestamp = Field(default=..., description="When the call began (RFC 3339, up to nanoseconds).")
    ended_at: Timestamp | None = Field(
        default=None, description="When the call ended (RFC 3339, up to nanoseconds); absent while it runs."
    )
    metadata_snapshot: MetadataEnvelope | None = Field(default=None, description="Metadata at the time of the call.")
    output_tokens: U32 | None = Field(
        default=None, description="Tokens of the output, where the provider reports them."
    )
    prompt_tokens: U32 | None = Field(
        default=None, description="Tokens of the prompt, where the provider reports them."
    )
    total_tokens: U32 | None = Field(default=None, description="Tokens of both, where reported.")
    model_name: str | None = Field(default=None, description="Model that answered, where the response could be read.")
    tool_call_count: U32 | None = Field(default=None, description="Tool calls that the model asked for.")
    annotated_request: Loose[AnnotatedLlmRequest] | None = Field(
        default=None, description="Request, where it could be read."
    )
    annotated_response: Loose[AnnotatedLlmResponse] | None = Field(
        default=None, description="Response, where it could be read."
    )

    relay_models: Loose[CallExtensions] | None = Field(default=None, description="Extensions, in Python also as `ext`.")

    _fresh: ClassVar[Factories] = {"started_at": Timestamp.now}

    if TYPE_CHECKING:
        # What pydantic takes for each field; type checkers would ask for what the field holds.
        def __init__(
            self,
            /,
            *,
            kind: CallKind | str,
            name: str,
            started_at: Timestamp | datetime | str = ...,
            ended_at: Timestamp | datetime | str | None = None,
            metadata_snapshot: MetadataEnvelope | dict[str, Any] | None = None,
            output_tokens: int | None = None,
            prompt_tokens: int | None = None,
            total_tokens: int | None = None,
            model_name: str | None = None,
            tool_call_count: int | None = None,
            annotated_request: AnnotatedLlmRequest | dict[str, Any] | None = None,
            annotated_response: AnnotatedLlmResponse | dict[str, Any] | None = None,
            relay_models: CallExtensions | dict[str, Any] | None = None,
            ext: CallExtensions | dict[str, Any] | None = None,
            **unknown: Any,
        ) -> None: ...

    @property
    def ext(self) -> CallExtensions | None:
        """What is known of the call beyond NeMo Relay's record: failure, input and output, parent."""
        return self.relay_models

    @ext.setter
    def ext(self, value: CallExtensions | None) -> None:
        self.relay_models = value

    @property
    def is_finished(self) -> bool:
        """Whether the call has ended."""
        return self.ended_at is not None

    @property
    def duration(self) -> timedelta | None:
        """The time from start to end, cut to microseconds; None while the call runs."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, as one word; None where the response does not say."""
        response = self.annotated_response
        return None if response is None else response.finish_reason_text

    @property
    def cache_read_tokens(self) -> int | None:
        """Prompt tokens that came from a cache, where the provider reports them."""
        response = self.annotated_response
        return None if response is None or response.usage is None else response.usage.cache_read_tokens

    @property
    def cost(self) -> CostEstimate | None:
        """What the call cost, where it is known."""
        response = self.annotated_response
        return None if response is None or response.usage is None else response.usage.cost
