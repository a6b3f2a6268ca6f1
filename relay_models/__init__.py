"""Keep and query what AI agents did: NeMo Relay's adaptive state as model objects over Redis.

The names below are all that most applications need. They are loaded when they are first used, so that importing the
package costs nothing and dials nothing. `relay_models.sync` has the same backend without ``await``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from relay_models._version import __version__

if TYPE_CHECKING:
    from relay_models.backend import AgentSummary, RedisBackend, SavedQuestion, StorageBackend, StoreReport
    from relay_models.columns.column import Column
    from relay_models.documents import (
        Accumulators,
        Document,
        Observations,
        Plan,
        Run,
        Stability,
        Trie,
        column,
        metadata,
    )
    from relay_models.embedded import EmbeddedServer
    from relay_models.errors import RelayModelsError
    from relay_models.records import (
        AccumulatorState,
        AnnotatedLlmRequest,
        AnnotatedLlmResponse,
        BlockStabilityScore,
        CallKind,
        CallRecord,
        ExecutionPlan,
        LlmCallPrediction,
        MetadataEnvelope,
        NodeAccumulators,
        ParallelGroup,
        ParallelHint,
        PredictionMetrics,
        PredictionTrieNode,
        PromptBlock,
        PromptIR,
        RunningStats,
        RunRecord,
        StabilityAnalysisResult,
        TDigest,
        Timestamp,
        TokenizationMetadata,
        ToolSchemaHash,
        TrieEnvelope,
    )

_HOMES = {
    "columns.column": ("Column",),
    "backend": ("AgentSummary", "RedisBackend", "SavedQuestion", "StorageBackend", "StoreReport"),
    "documents": ("Accumulators", "Document", "Observations", "Plan", "Run", "Stability", "Trie", "column", "metadata"),
    "embedded": ("EmbeddedServer",),
    "errors": ("RelayModelsError",),
    "records": (
        "AccumulatorState",
        "AnnotatedLlmRequest",
        "AnnotatedLlmResponse",
        "BlockStabilityScore",
        "CallKind",
        "CallRecord",
        "ExecutionPlan",
        "LlmCallPrediction",
        "MetadataEnvelope",
        "NodeAccumulators",
        "ParallelGroup",
        "ParallelHint",
        "PredictionMetrics",
        "PredictionTrieNode",
        "PromptBlock",
        "PromptIR",
        "RunRecord",
        "RunningStats",
        "StabilityAnalysisResult",
        "TDigest",
        "Timestamp",
        "TokenizationMetadata",
        "ToolSchemaHash",
        "TrieEnvelope",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AccumulatorState",
    "Accumulators",
    "AgentSummary",
    "AnnotatedLlmRequest",
    "AnnotatedLlmResponse",
    "BlockStabilityScore",
    "CallKind",
    "CallRecord",
    "Column",
    "Document",
    "EmbeddedServer",
    "ExecutionPlan",
    "LlmCallPrediction",
    "MetadataEnvelope",
    "NodeAccumulators",
    "Observations",
    "ParallelGroup",
    "ParallelHint",
    "Plan",
    "PredictionMetrics",
    "PredictionTrieNode",
    "PromptBlock",
    "PromptIR",
    "RedisBackend",
    "RelayModelsError",
    "Run",
    "RunRecord",
    "RunningStats",
    "SavedQuestion",
    "Stability",
    "StabilityAnalysisResult",
    "StorageBackend",
    "StoreReport",
    "TDigest",
    "Timestamp",
    "TokenizationMetadata",
    "ToolSchemaHash",
    "Trie",
    "TrieEnvelope",
    "__version__",
    "column",
    "metadata",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
