"""Prompt observations: prompts cut into blocks, which NeMo Relay compares to find what stays the same."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from relay_models.records.record import U32, Factories, OpenEnum, Record, uuid7
from relay_models.records.timestamp import Timestamp

__all__ = [
    "BlockContentType",
    "PromptBlock",
    "PromptIR",
    "PromptRole",
    "ProvenanceLabel",
    "SensitivityLabel",
    "TokenizationMetadata",
    "ToolSchemaHash",
]


class PromptRole(OpenEnum):
    """Who speaks in a block."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class BlockContentType(OpenEnum):
    """What a block holds."""

    TEXT = "text"
    TOOL_SCHEMA = "tool_schema"
    TOOL_RESULT = "tool_result"
    STRUCTURED_OUTPUT = "structured_output"
    IMAGE = "image"


class ProvenanceLabel(OpenEnum):
    """Where a block's content comes from."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    TOOL = "tool"
    RETRIEVAL = "retrieval"
    MEMORY = "memory"


class SensitivityLabel(OpenEnum):
    """How far a block's content may be shared."""

    PUBLIC = "public"
    PRIVATE = "private"
    RESTRICTED = "restricted"


class TokenizationMetadata(Record):
    """How many tokens a block has, for one family of models."""

    model_family: str = Field(description="Family of models whose tokenizer counted.")
    token_count: U32 = Field(description="Length of the block, in tokens.")


class PromptBlock(Record):
    """One block of a prompt."""

    span_id: str = Field(description="Identifier of the block's position, the same from prompt to prompt.")
    sequence_index: U32 = Field(description="Position of the block in the prompt, counted from 0.")
    role: PromptRole = Field(description="Who speaks.")
    content: str = Field(description="Content of the block.")
    content_type: BlockContentType = Field(description="What the content is.")
    provenance: ProvenanceLabel = Field(description="Where the content comes from.")
    sensitivity: SensitivityLabel = Field(
        default=SensitivityLabel.PUBLIC, description="How far the content may be shared; public when absent."
    )
    token_metadata: TokenizationMetadata | None = Field(default=None, description="Length of the block in tokens.")

    _fresh: ClassVar[Factories] = {"sensitivity": lambda: SensitivityLabel.PUBLIC}


class ToolSchemaHash(Record):
    """The hash of a tool's schema at the time of a prompt."""

    tool_name: str = Field(description="Name of the tool.")
    schema_hash: str = Field(description="Hash of the tool's JSON Schema.")


class PromptIR(Record):
    """One observed prompt."""

    ir_id: UUID = Field(default=..., description="Identifier of the observation; a new UUIDv7 when made in Python.")
    blocks: list[PromptBlock] = Field(description="Blocks of the prompt, in order.")
    tool_schema_hashes: list[ToolSchemaHash] | None = Field(
        default=None, description="Hashes of the tools' schemas that were offered."
    )
    structured_output_schema_id: str | None = Field(
        default=None, description="Identifier of the schema that the output was to follow."
    )
    source_request_hash: str | None = Field(default=None, description="Hash of the request it was made from.")
    created_at: Timestamp = Field(default=..., description="When it was observed (RFC 3339, up to nanoseconds).")

    _fresh: ClassVar[Factories] = {"ir_id": uuid7, "created_at": Timestamp.now}
