"""The documents of an agent's artifacts: `Plan`, `Trie`, `Accumulators`, `Observations`, `Stability`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from redis_om import Field

from relay_models.columns.column import Column, Origin
from relay_models.documents.base import Document, column
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    PromptIR,
    StabilityAnalysisResult,
    Timestamp,
    TrieEnvelope,
)

__all__ = ["Accumulators", "Observations", "Plan", "Stability", "Trie"]


def _agent() -> Any:
    return column(
        "The agent, or the profile key derived from one, that it was stored for.",
        origin=Origin.KEY,
        aliases=("agent",),
        heading="agent",
    )


def _updated() -> Any:
    return column("When it was last stored.", origin=Origin.STORE, aliases=("updated",))


def _record() -> Any:
    return Field(
        default=None, description="The record as JSON text, kept under `record`; none where only columns were read."
    )


def _count_nodes(root: Any) -> int:
    nodes, waiting = 0, [root]
    while waiting:
        nodes += 1
        waiting.extend(waiting.pop().children.values())
    return nodes


def _latest(prompts: list[PromptIR]) -> Timestamp | None:
    return max((prompt.created_at for prompt in prompts), default=None)


class Plan(Document):
    """The execution plan of an agent."""

    kind: ClassVar[str] = "plan"
    record_type: ClassVar[Any] = ExecutionPlan

    agent_id: Column[str] = _agent()
    groups: Column[int] = column(
        "Groups of tools (ExecutionPlan.parallel_groups).",
        unit="groups",
        value=lambda plan: len(plan.parallel_groups),
    )
    tools: Column[list[str]] = column(
        "Tools in the groups (ExecutionPlan.parallel_groups[].tool_names).",
        aliases=("tool",),
        value=lambda plan: [name for group in plan.parallel_groups for name in group.tool_names],
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> ExecutionPlan | None: ...


class Trie(Document):
    """The prediction trie of an agent."""

    kind: ClassVar[str] = "trie"
    record_type: ClassVar[Any] = TrieEnvelope

    agent_id: Column[str] = _agent()
    workflow_name: Column[str] = column(
        "What the trie is about (TrieEnvelope.workflow_name).", value=lambda trie: trie.workflow_name
    )
    generated_at: Column[datetime] = column(
        "When it was built (TrieEnvelope.generated_at).", value=lambda trie: trie.generated_at
    )
    nodes: Column[int] = column(
        "Nodes of the trie, the root included (TrieEnvelope.root).",
        unit="nodes",
        value=lambda trie: _count_nodes(trie.root),
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> TrieEnvelope | None: ...


class Accumulators(Document):
    """The running statistics of an agent."""

    kind: ClassVar[str] = "accumulators"
    record_type: ClassVar[Any] = AccumulatorState

    agent_id: Column[str] = _agent()
    nodes: Column[int] = column(
        "Nodes that have statistics (AccumulatorState.nodes).", unit="nodes", value=lambda state: len(state.nodes)
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> AccumulatorState | None: ...


class Observations(Document):
    """The prompt observations of an agent or profile key."""

    kind: ClassVar[str] = "observations"
    record_type: ClassVar[Any] = list[PromptIR]

    agent_id: Column[str] = _agent()
    prompts: Column[int] = column("Prompts observed (length of the list of PromptIR).", unit="prompts", value=len)
    latest_at: Column[datetime | None] = column(
        "When the newest was observed (the greatest PromptIR.created_at).", value=_latest
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> list[PromptIR] | None: ...


class Stability(Document):
    """The stability result of an agent or profile key."""

    kind: ClassVar[str] = "stability"
    record_type: ClassVar[Any] = StabilityAnalysisResult

    agent_id: Column[str] = _agent()
    blocks: Column[int] = column(
        "Blocks that have a score (StabilityAnalysisResult.scores).",
        unit="blocks",
        value=lambda result: len(result.scores),
    )
    stable_prefix_length: Column[int] = column(
        "Leading blocks that are stable (StabilityAnalysisResult.stable_prefix_length).", unit="blocks"
    )
    total_observations: Column[int] = column(
        "Observations behind it (StabilityAnalysisResult.total_observations).", unit="prompts"
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> StabilityAnalysisResult | None: ...
