"""`StorageBackend`: what a store of NeMo Relay's adaptive state can do, whoever implements it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable
from uuid import UUID

from relay_models.backend.reports import StoreReport
from relay_models.query.agents import AgentSummary
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    PromptIR,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
)
from relay_models.transport._io_async import AnyIterable

__all__ = ["StorageBackend"]


@runtime_checkable
class StorageBackend(Protocol):
    """The operations of NeMo Relay's own storage backend, by the same names, and those that every store can add.

    Absent things load as None; a store replaces; runs are listed once each in the order in which they were first
    stored. `RedisBackend` implements it.
    """

    async def store_run(self, record: RunRecord) -> None:
        """Store a run, or replace it in its place."""

    async def store_runs(self, records: AnyIterable[RunRecord]) -> StoreReport:
        """Store many runs."""

    async def load_run(self, agent_id: str, run_id: UUID | str) -> RunRecord | None:
        """One run."""

    async def list_runs(self, agent_id: str) -> list[RunRecord]:
        """All runs of an agent."""

    def iter_runs(self, agent_id: str) -> AsyncIterator[RunRecord]:
        """All runs of an agent, streamed."""

    async def delete_run(self, agent_id: str, run_id: UUID | str) -> bool:
        """Delete a run; whether there was one."""

    async def agents(self) -> list[AgentSummary]:
        """Every agent that has runs."""

    async def store_plan(self, plan: ExecutionPlan) -> None:
        """Store the plan of its agent."""

    async def load_plan(self, agent_id: str) -> ExecutionPlan | None:
        """The plan of an agent."""

    async def store_trie(self, agent_id: str, trie: TrieEnvelope) -> None:
        """Store the trie of an agent."""

    async def load_trie(self, agent_id: str) -> TrieEnvelope | None:
        """The trie of an agent."""

    async def store_accumulators(self, agent_id: str, accumulators: AccumulatorState) -> None:
        """Store the accumulators of an agent."""

    async def load_accumulators(self, agent_id: str) -> AccumulatorState | None:
        """The accumulators of an agent."""

    async def store_observations(self, agent_id: str, observations: Sequence[PromptIR]) -> None:
        """Store the prompt observations of an agent or profile key."""

    async def load_observations(self, agent_id: str) -> list[PromptIR] | None:
        """The prompt observations of an agent or profile key."""

    async def store_stability(self, agent_id: str, stability: StabilityAnalysisResult) -> None:
        """Store the stability result of an agent or profile key."""

    async def load_stability(self, agent_id: str) -> StabilityAnalysisResult | None:
        """The stability result of an agent or profile key."""

    async def close(self) -> None:
        """Let go of what the store holds."""
