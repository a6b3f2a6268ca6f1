"""The documents of an agent's artefacts, `Plan`, `Trie`, `Accumulators`, `Observations`, `Stability`; their columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic import field_validator
from redis_om import Field

from relay_models._time import datetime_of
from relay_models.columns.column import Column, Kind
from relay_models.documents.base import Document, column, document
from relay_models.errors import InvalidRecordError
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    PromptIR,
    StabilityAnalysisResult,
    TrieEnvelope,
    from_json,
)

__all__ = [
    "ARTIFACTS",
    "Accumulators",
    "Observations",
    "Plan",
    "Stability",
    "Trie",
    "artifact_columns",
    "decode_artifact",
]


class Artifact(Document):
    """What the documents of artefacts share: one per agent, replaced whole."""

    @property
    def record(self) -> Any:
        """The record, parsed when first asked for; None where only columns were read."""
        text = self.__dict__.get("record_json")
        if self._record is None and text is not None:
            self._record = decode_artifact(self.kind, text)
        return self._record

    @field_validator("updated_at", "generated_at", "latest_at", mode="before", check_fields=False)
    @classmethod
    def _from_microseconds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime_of(value)
        return getattr(value, "datetime", value)


def _agent() -> Any:
    return column(Kind.TAG, "The agent, or the profile key derived from one, that it was stored for.")


def _updated() -> Any:
    return column(Kind.TIME, "When it was last stored.", unit="µs", default=None)


def _record() -> Any:
    return Field(
        default=None, description="The record as JSON text, kept under `record`; none where only columns were read."
    )


@document("plan")
class Plan(Artifact, index=True):
    """The execution plan of an agent."""

    agent_id: Column[str] = _agent()
    groups: Column[int] = column(Kind.COUNT, "Groups of tools (ExecutionPlan.parallel_groups).", unit="groups")
    tools: Column[list[str]] = column(
        Kind.TAGS, "Tools in the groups (ExecutionPlan.parallel_groups[].tool_names).", default_factory=list
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> ExecutionPlan | None: ...


@document("trie")
class Trie(Artifact, index=True):
    """The prediction trie of an agent."""

    agent_id: Column[str] = _agent()
    workflow_name: Column[str] = column(Kind.TAG, "What the trie is about (TrieEnvelope.workflow_name).")
    generated_at: Column[datetime] = column(Kind.TIME, "When it was built (TrieEnvelope.generated_at).", unit="µs")
    nodes: Column[int] = column(Kind.COUNT, "Nodes of the trie, the root included (TrieEnvelope.root).", unit="nodes")
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> TrieEnvelope | None: ...


@document("accumulators")
class Accumulators(Artifact, index=True):
    """The running statistics of an agent."""

    agent_id: Column[str] = _agent()
    nodes: Column[int] = column(Kind.COUNT, "Nodes that have statistics (AccumulatorState.nodes).", unit="nodes")
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> AccumulatorState | None: ...


@document("observations")
class Observations(Artifact, index=True):
    """The prompt observations of an agent or profile key."""

    agent_id: Column[str] = _agent()
    prompts: Column[int] = column(Kind.COUNT, "Prompts observed (length of the list of PromptIR).", unit="prompts")
    latest_at: Column[datetime | None] = column(
        Kind.TIME, "When the newest was observed (the greatest PromptIR.created_at).", unit="µs", default=None
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> list[PromptIR] | None: ...


@document("stability")
class Stability(Artifact, index=True):
    """The stability result of an agent or profile key."""

    agent_id: Column[str] = _agent()
    blocks: Column[int] = column(
        Kind.COUNT, "Blocks that have a score (StabilityAnalysisResult.scores).", unit="blocks"
    )
    stable_prefix_length: Column[int] = column(
        Kind.COUNT, "Leading blocks that are stable (StabilityAnalysisResult.stable_prefix_length).", unit="blocks"
    )
    total_observations: Column[int] = column(
        Kind.COUNT, "Observations behind it (StabilityAnalysisResult.total_observations).", unit="prompts"
    )
    updated_at: Column[datetime | None] = _updated()
    record_json: str | None = _record()

    if TYPE_CHECKING:

        @property
        def record(self) -> StabilityAnalysisResult | None: ...


ARTIFACTS: dict[str, type[Artifact]] = {
    "plan": Plan,
    "trie": Trie,
    "accumulators": Accumulators,
    "observations": Observations,
    "stability": Stability,
}


def _plan_columns(record: ExecutionPlan) -> dict[str, Any]:
    tools = sorted({name for group in record.parallel_groups for name in group.tool_names})
    return {"groups": len(record.parallel_groups), **({"tools": tools} if tools else {})}


def _trie_columns(record: TrieEnvelope) -> dict[str, Any]:
    nodes, waiting = 0, [record.root]
    while waiting:
        nodes += 1
        waiting.extend(waiting.pop().children.values())
    return {
        "workflow_name": record.workflow_name,
        "generated_at": record.generated_at.microseconds,
        "nodes": nodes,
    }


def _accumulator_columns(record: AccumulatorState) -> dict[str, Any]:
    return {"nodes": len(record.nodes)}


def _observation_columns(record: list[PromptIR]) -> dict[str, Any]:
    latest = {"latest_at": max(prompt.created_at for prompt in record).microseconds} if record else {}
    return {"prompts": len(record), **latest}


def _stability_columns(record: StabilityAnalysisResult) -> dict[str, Any]:
    return {
        "blocks": len(record.scores),
        "stable_prefix_length": record.stable_prefix_length,
        "total_observations": record.total_observations,
    }


_COLUMNS: dict[str, tuple[type[Any], Callable[[Any], dict[str, Any]]]] = {
    "plan": (ExecutionPlan, _plan_columns),
    "trie": (TrieEnvelope, _trie_columns),
    "accumulators": (AccumulatorState, _accumulator_columns),
    "observations": (list, _observation_columns),
    "stability": (StabilityAnalysisResult, _stability_columns),
}


def artifact_columns(kind: str, agent_id: str, record: Any) -> dict[str, Any]:
    """What the columns of an artefact hold, by name, as stored.

    Raises:
        InvalidRecordError: the record is not of the kind's type.
    """
    wanted, columns = _COLUMNS[kind]
    if not isinstance(record, wanted) or (wanted is list and not all(isinstance(item, PromptIR) for item in record)):
        name = "list of PromptIR" if wanted is list else wanted.__name__
        raise InvalidRecordError(f"what is stored as {kind} is a {name}, not {type(record).__name__}")
    if not isinstance(agent_id, str):
        raise InvalidRecordError(f"an agent id is text, not {type(agent_id).__name__}", "agent_id")
    return {"agent_id": agent_id, **columns(record)}


def decode_artifact(kind: str, text: str | bytes) -> Any:
    """The record in its stored JSON text; `InvalidRecordError` (a ValueError) where it is none."""
    wanted = _COLUMNS[kind][0]
    return from_json(cast(Any, list[PromptIR]) if wanted is list else wanted, text)
