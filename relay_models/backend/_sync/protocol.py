# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/protocol.py by scripts/generate_sync.py: change that, not this.
"""`StorageBackend`: what a store of NeMo Relay's adaptive state can do, by whatever means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

from relay_models.backend.reports import StoreReport
from relay_models.query.agents import AgentSummary
from relay_models.query.options import OnCorrupt
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    PromptIR,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
)
from relay_models.transport.sync import AnyIterable

__all__ = ["StorageBackend"]


@runtime_checkable
class StorageBackend(Protocol):
    """The operations of NeMo Relay's own storage backend, by the same names, and those that every store can add.

    Loading something absent returns None; storing replaces; runs are listed once each in the order in which they were
    first stored. `RedisBackend` implements it; `relay_models.testing.check_storage_backend` tests other
    implementations.
    """

    def store_run(self, record: RunRecord) -> None:
        """Store a run, or replace it in its place in the list."""

    def store_runs(
        self, records: AnyIterable[RunRecord], *, batch_size: int = 200, on_refused: Literal["raise", "skip"] = "raise"
    ) -> StoreReport:
        """Store many runs; refused ones are named in the report, and raised at the end unless they are skipped."""

    def load_run(self, agent_id: str, run_id: UUID | str) -> RunRecord | None:
        """Load one run."""

    def list_runs(self, agent_id: str, *, on_corrupt: OnCorrupt = "raise") -> list[RunRecord]:
        """List all runs of an agent."""

    def iter_runs(self, agent_id: str, *, on_corrupt: OnCorrupt = "raise") -> Iterator[RunRecord]:
        """Stream all runs of an agent."""

    def latest_run(self, agent_id: str) -> RunRecord | None:
        """The run of an agent that started last."""

    def delete_run(self, agent_id: str, run_id: UUID | str) -> bool:
        """Delete a run; return whether there was one."""

    def agents(self) -> list[AgentSummary]:
        """Every agent that has runs, ordered by name."""

    def store_plan(self, plan: ExecutionPlan) -> None:
        """Store the plan of its agent."""

    def load_plan(self, agent_id: str) -> ExecutionPlan | None:
        """Load the plan of an agent."""

    def delete_plan(self, agent_id: str) -> bool:
        """Delete the plan of an agent; return whether there was one."""

    def store_trie(self, agent_id: str, trie: TrieEnvelope) -> None:
        """Store the trie of an agent."""

    def load_trie(self, agent_id: str) -> TrieEnvelope | None:
        """Load the trie of an agent."""

    def delete_trie(self, agent_id: str) -> bool:
        """Delete the trie of an agent; return whether there was one."""

    def store_accumulators(self, agent_id: str, accumulators: AccumulatorState) -> None:
        """Store the accumulators of an agent."""

    def load_accumulators(self, agent_id: str) -> AccumulatorState | None:
        """Load the accumulators of an agent."""

    def delete_accumulators(self, agent_id: str) -> bool:
        """Delete the accumulators of an agent; return whether there were any."""

    def store_observations(self, agent_id: str, observations: Sequence[PromptIR]) -> None:
        """Store the prompt observations of an agent or profile key."""

    def load_observations(self, agent_id: str) -> list[PromptIR] | None:
        """Load the prompt observations of an agent or profile key."""

    def delete_observations(self, agent_id: str) -> bool:
        """Delete the prompt observations of an agent or profile key; return whether there were any."""

    def store_stability(self, agent_id: str, stability: StabilityAnalysisResult) -> None:
        """Store the stability result of an agent or profile key."""

    def load_stability(self, agent_id: str) -> StabilityAnalysisResult | None:
        """Load the stability result of an agent or profile key."""

    def delete_stability(self, agent_id: str) -> bool:
        """Delete the stability result of an agent or profile key; return whether there was one."""

    def close(self) -> None:
        """Release what the store holds; closing twice does nothing."""
