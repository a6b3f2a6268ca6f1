"""Prediction tries: what NeMo Relay expects of an LLM call, by the path of scopes that leads to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from relay_models.records.record import F64, U32, CallIndex, Factories, Record
from relay_models.records.timestamp import Timestamp

__all__ = ["LlmCallPrediction", "PredictionMetrics", "PredictionTrieNode", "TrieEnvelope"]


class PredictionMetrics(Record):
    """The distribution of one predicted quantity, in the unit of the field that holds it."""

    sample_count: U32 = Field(default=..., description="Samples behind the numbers.")
    mean: F64 = Field(default=..., description="Mean of the samples.")
    p50: F64 = Field(default=..., description="Median of the samples.")
    p90: F64 = Field(default=..., description="90th percentile of the samples.")
    p95: F64 = Field(default=..., description="95th percentile of the samples.")

    _fresh: ClassVar[Factories] = {"sample_count": int, "mean": float, "p50": float, "p90": float, "p95": float}


class LlmCallPrediction(Record):
    """What is expected of one LLM call and of what follows it."""

    remaining_calls: PredictionMetrics = Field(default=..., description="LLM calls that follow in the run (count).")
    interarrival_ms: PredictionMetrics = Field(default=..., description="Time to the next LLM call, in milliseconds.")
    output_tokens: PredictionMetrics = Field(default=..., description="Output of this call, in tokens.")
    latency_sensitivity: U32 | None = Field(
        default=None, description="How much latency matters for this call, a score; null when it was not learned."
    )

    _fresh: ClassVar[Factories] = {
        "remaining_calls": PredictionMetrics,
        "interarrival_ms": PredictionMetrics,
        "output_tokens": PredictionMetrics,
        "latency_sensitivity": lambda: None,
    }
    _nullable: ClassVar[frozenset[str]] = frozenset({"latency_sensitivity"})


class PredictionTrieNode(Record):
    """One scope on the path to a call."""

    name: str = Field(description="Name of the scope.")
    children: dict[str, PredictionTrieNode] = Field(default=..., description="Scopes under this one, by name.")
    predictions_by_call_index: dict[CallIndex, LlmCallPrediction] = Field(
        default=..., description="Predictions by the number of the LLM call under this scope, counted from 1."
    )
    predictions_any_index: LlmCallPrediction | None = Field(
        default=None, description="Prediction for a call of any number; null when there is none."
    )

    _fresh: ClassVar[Factories] = {
        "children": dict,
        "predictions_by_call_index": dict,
        "predictions_any_index": lambda: None,
    }
    _nullable: ClassVar[frozenset[str]] = frozenset({"predictions_any_index"})

    def prediction(self, call_index: int) -> LlmCallPrediction | None:
        """Look up this node's own prediction.

        Args:
            call_index: Number of the call, counted from 1.

        Returns:
            The prediction for the exact call index, else the one for any index, else None.
        """
        return self.predictions_by_call_index.get(call_index, self.predictions_any_index)


class TrieEnvelope(Record):
    """A prediction trie and where it comes from."""

    version: str = Field(default=..., description="Version of the trie's format.")
    generated_at: Timestamp = Field(default=..., description="When the trie was built (RFC 3339, up to nanoseconds).")
    workflow_name: str = Field(description="Agent or workflow that the trie is about.")
    root: PredictionTrieNode = Field(description="Root of the trie.")

    _fresh: ClassVar[Factories] = {"version": lambda: "1.0", "generated_at": Timestamp.now}

    def predict(self, path: Sequence[str], call_index: int = 1) -> LlmCallPrediction | None:
        """Look up the prediction for an LLM call under a path of scopes.

        The path is walked from the root as far as it matches, and the deepest node on it that has a prediction wins;
        at each node the exact call index comes before the prediction for any index.

        Args:
            path: Names of the scopes below the root, outermost first; one string is taken as "a/b/c".
            call_index: Number of the call, counted from 1.

        Returns:
            The prediction, or None if no node on the path has one.

        Example:
            ```python
            trie.predict(["planner", "search"], call_index=2)
            ```
        """
        names = (path.split("/") if path else []) if isinstance(path, str) else path
        node = self.root
        found = node.prediction(call_index)
        for name in names:
            child = node.children.get(name)
            if child is None:
                break
            node = child
            found = node.prediction(call_index) or found
        return found

    def walk(self) -> Iterator[tuple[tuple[str, ...], PredictionTrieNode]]:
        """Visit every node, parents first, children sorted by name.

        Yields:
            The path from the root (empty for the root) and the node.
        """
        waiting: list[tuple[tuple[str, ...], PredictionTrieNode]] = [((), self.root)]
        while waiting:
            path, node = waiting.pop()
            yield path, node
            waiting += [((*path, name), node.children[name]) for name in sorted(node.children, reverse=True)]
