"""Extensions: what NeMo Relay's run records have no field for, under one key of its own.

NeMo Relay keeps neither failures nor the input and output of tools, neither parents nor sessions. What a source of
runs tells of them is in `RunRecord.ext` and `CallRecord.ext`. In JSON it is the key ``"relay_models"``, which the
runtime skips when it starts from such records. Every field is absent where the source does not know it.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from relay_models.records.loose import Loose, LooseRecord
from relay_models.records.record import F64, U32, U64, Bool, Factories, OpenEnum
from relay_models.records.timestamp import Timestamp

__all__ = [
    "EXTENSIONS_KEY",
    "CallExtensions",
    "CutMark",
    "ErrorInfo",
    "Extended",
    "RunExtensions",
    "Status",
]

# The JSON key of all extensions, of runs and of calls.
EXTENSIONS_KEY = "relay_models"


class Status(OpenEnum):
    """How a run or a call went."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class ErrorInfo(LooseRecord):
    """Why something failed."""

    type: str | None = Field(default=None, description="Class of the error, such as an exception's name.")
    message: str | None = Field(default=None, description="Message of the error.")
    category: str | None = Field(
        default=None, description="Error class that the source uses for grouping (`error.type` of OpenTelemetry)."
    )


class CutMark(LooseRecord):
    """A mark of something that was cut or removed before the record was stored."""

    path: str = Field(description="Path inside the call, or the run, such as annotated_request.messages.0.content.")
    size: U64 = Field(description="Size before [characters of a text, bytes of other values as JSON].")
    kept: U64 = Field(description="Size that was kept [same unit]; 0 when all of it was removed.")


class CallExtensions(LooseRecord):
    """What is known of a call beyond NeMo Relay's record of it."""

    id: str | None = Field(default=None, description="Identifier in the source: uuid of the event, id of the span.")
    status: Status | None = Field(default=None, description="running, completed or failed.")
    error: Loose[ErrorInfo] | None = Field(default=None, description="Why the call failed.")
    tool_call_id: str | None = Field(default=None, description="The model's identifier of the tool call.")
    input: Any = Field(default=None, description="Arguments of a tool; request of a model without annotated_request.")
    output: Any = Field(default=None, description="Result of a tool; response of a model without annotated_response.")
    parent_call: U32 | None = Field(
        default=None, description="Index of the enclosing call in the run's calls; absent when that is the run."
    )
    ended_at: Timestamp | None = Field(
        default=None,
        description="The call's own end, where NeMo Relay's telemetry gives it that of a parallel call of its name.",
    )
    times_estimated: Bool | None = Field(
        default=None, description="True where the source has one time per step and start or end is derived from it."
    )
    time_to_first_token_ms: F64 | None = Field(default=None, description="Time to the first token [milliseconds].")
    reasoning_tokens: U64 | None = Field(
        default=None, description="Output tokens spent on reasoning, where only the source told them."
    )
    metadata: dict[str, Any] | None = Field(default=None, description="Other data of the source about the call.")
    cut: list[Loose[CutMark]] | None = Field(default=None, description="What a size limit cut from the call.")


class RunExtensions(LooseRecord):
    """What is known of a run beyond NeMo Relay's record of it."""

    status: Status | None = Field(default=None, description="running, completed or failed.")
    error: Loose[ErrorInfo] | None = Field(default=None, description="Why the run failed.")
    parent_run_id: UUID | None = Field(default=None, description="Run that called this one; absent at the root.")
    parent_call: U32 | None = Field(
        default=None, description="Index of the call in the parent run that started this one."
    )
    root_run_id: UUID | None = Field(
        default=None, description="Outermost run that this one belongs to; absent when it is the root."
    )
    session_id: str | None = Field(default=None, description="Session (conversation) that the run belongs to.")
    user_id: str | None = Field(default=None, description="User on whose behalf the agent ran.")
    input: Any = Field(default=None, description="What the agent was asked, where the source tells it of the run.")
    output: Any = Field(default=None, description="What the agent answered, where the source tells it of the run.")
    metadata: dict[str, Any] | None = Field(default=None, description="Other data of the source about the run.")
    cut: list[Loose[CutMark]] | None = Field(
        default=None, description="What a size limit cut from the run's input and output."
    )
    source: str | None = Field(default=None, description="Format that the run was read from: atof, atif, otlp.")
    redacted: list[str] | None = Field(
        default=None, description="JSON paths whose values were removed before the run was stored."
    )


class Extended(LooseRecord):
    """A record with extensions: in Python they are `ext`, also as an argument of the constructor."""

    _fresh: ClassVar[Factories] = {}

    def __init__(self, /, **data: Any) -> None:
        if "ext" in data:
            data.setdefault(EXTENSIONS_KEY, data.pop("ext"))
        super().__init__(**data)

    # As in `Record`: reading JSON must not call it.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]
