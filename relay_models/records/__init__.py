"""The wire values of NeMo Relay's adaptive state, as plain pydantic models that lose nothing."""

from __future__ import annotations

from relay_models.records.accumulators import AccumulatorState, Centroid, NodeAccumulators, RunningStats, TDigest
from relay_models.records.call import CallKind, CallRecord
from relay_models.records.extensions import (
    CallExtensions,
    CutMark,
    ErrorInfo,
    RunExtensions,
    Status,
)
from relay_models.records.llm import (
    AgentHints,
    AnnotatedLlmRequest,
    AnnotatedLlmResponse,
    CacheWriteTokens,
    ContentPart,
    CostEstimate,
    CostSource,
    FinishReason,
    GenerationParams,
    Message,
    MessageRole,
    NvExt,
    ResponseToolCall,
    UnknownFinishReason,
    Usage,
)
from relay_models.records.loose import LooseRecord
from relay_models.records.plan import ExecutionPlan, MetadataEnvelope, ParallelGroup, ParallelHint
from relay_models.records.prompt import (
    BlockContentType,
    PromptBlock,
    PromptIR,
    PromptRole,
    ProvenanceLabel,
    SensitivityLabel,
    TokenizationMetadata,
    ToolSchemaHash,
)
from relay_models.records.record import OpenEnum, Record, from_json, to_json, uuid7
from relay_models.records.run import RunRecord, strip_extensions
from relay_models.records.stability import BlockStabilityScore, StabilityAnalysisResult, StabilityClass
from relay_models.records.timestamp import Timestamp
from relay_models.records.trie import LlmCallPrediction, PredictionMetrics, PredictionTrieNode, TrieEnvelope

__all__ = [
    "AccumulatorState",
    "AgentHints",
    "AnnotatedLlmRequest",
    "AnnotatedLlmResponse",
    "BlockContentType",
    "BlockStabilityScore",
    "CacheWriteTokens",
    "CallExtensions",
    "CallKind",
    "CallRecord",
    "Centroid",
    "ContentPart",
    "CostEstimate",
    "CostSource",
    "CutMark",
    "ErrorInfo",
    "ExecutionPlan",
    "FinishReason",
    "GenerationParams",
    "LlmCallPrediction",
    "LooseRecord",
    "Message",
    "MessageRole",
    "MetadataEnvelope",
    "NodeAccumulators",
    "NvExt",
    "OpenEnum",
    "ParallelGroup",
    "ParallelHint",
    "PredictionMetrics",
    "PredictionTrieNode",
    "PromptBlock",
    "PromptIR",
    "PromptRole",
    "ProvenanceLabel",
    "Record",
    "ResponseToolCall",
    "RunExtensions",
    "RunRecord",
    "RunningStats",
    "SensitivityLabel",
    "StabilityAnalysisResult",
    "StabilityClass",
    "Status",
    "TDigest",
    "Timestamp",
    "TokenizationMetadata",
    "ToolSchemaHash",
    "TrieEnvelope",
    "UnknownFinishReason",
    "Usage",
    "from_json",
    "strip_extensions",
    "to_json",
    "uuid7",
]
