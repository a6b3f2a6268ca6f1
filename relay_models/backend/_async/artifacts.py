"""`Artifacts`: an agent's plan, trie, accumulators, observations and stability result, one value each, stored whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay_models.backend._async.base import BackendBase, RunT
from relay_models.documents import decode_artifact, encode_artifact
from relay_models.documents.kinds import KINDS, checked_record
from relay_models.documents.schema import stamp_name
from relay_models.errors import CorruptDocumentError, InvalidRecordError
from relay_models.query.replies import decode_body
from relay_models.records import AccumulatorState, ExecutionPlan, PromptIR, StabilityAnalysisResult, TrieEnvelope
from relay_models.transport import translate

__all__ = ["Artifacts"]


class Artifacts(BackendBase[RunT]):
    """The operations on artifacts.

    Loading an absent one returns None, storing replaces it, deleting returns whether there was one. Storing raises
    `InvalidRecordError` for a value of another type; loading raises `CorruptDocumentError` where the document cannot
    be read.
    """

    async def store_plan(self, plan: ExecutionPlan) -> None:
        """Store the execution plan of ``plan.agent_id``."""
        checked_record("plan", plan)
        await self._store_artifact("plan", plan.agent_id, plan)

    async def load_plan(self, agent_id: str) -> ExecutionPlan | None:
        """Load the execution plan of an agent."""
        found: ExecutionPlan | None = await self._load_artifact("plan", agent_id)
        return found

    async def delete_plan(self, agent_id: str) -> bool:
        """Delete the execution plan of an agent."""
        return await self._delete_artifact("plan", agent_id)

    async def store_trie(self, agent_id: str, trie: TrieEnvelope) -> None:
        """Store the prediction trie of an agent."""
        await self._store_artifact("trie", agent_id, trie)

    async def load_trie(self, agent_id: str) -> TrieEnvelope | None:
        """Load the prediction trie of an agent."""
        found: TrieEnvelope | None = await self._load_artifact("trie", agent_id)
        return found

    async def delete_trie(self, agent_id: str) -> bool:
        """Delete the prediction trie of an agent."""
        return await self._delete_artifact("trie", agent_id)

    async def store_accumulators(self, agent_id: str, accumulators: AccumulatorState) -> None:
        """Store the accumulators of an agent."""
        await self._store_artifact("accumulators", agent_id, accumulators)

    async def load_accumulators(self, agent_id: str) -> AccumulatorState | None:
        """Load the accumulators of an agent."""
        found: AccumulatorState | None = await self._load_artifact("accumulators", agent_id)
        return found

    async def delete_accumulators(self, agent_id: str) -> bool:
        """Delete the accumulators of an agent."""
        return await self._delete_artifact("accumulators", agent_id)

    async def store_observations(self, agent_id: str, observations: Sequence[PromptIR]) -> None:
        """Store the prompt observations of an agent (or of a profile key derived from one)."""
        if not isinstance(observations, Sequence):
            raise InvalidRecordError(f"observations are a list of PromptIR, not {type(observations).__name__}")
        await self._store_artifact("observations", agent_id, list(observations))

    async def load_observations(self, agent_id: str) -> list[PromptIR] | None:
        """Load the prompt observations of an agent or profile key."""
        found: list[PromptIR] | None = await self._load_artifact("observations", agent_id)
        return found

    async def delete_observations(self, agent_id: str) -> bool:
        """Delete the prompt observations of an agent or profile key."""
        return await self._delete_artifact("observations", agent_id)

    async def store_stability(self, agent_id: str, stability: StabilityAnalysisResult) -> None:
        """Store the stability result of an agent (or of a profile key derived from one)."""
        await self._store_artifact("stability", agent_id, stability)

    async def load_stability(self, agent_id: str) -> StabilityAnalysisResult | None:
        """Load the stability result of an agent or profile key."""
        found: StabilityAnalysisResult | None = await self._load_artifact("stability", agent_id)
        return found

    async def delete_stability(self, agent_id: str) -> bool:
        """Delete the stability result of an agent or profile key."""
        return await self._delete_artifact("stability", agent_id)

    async def _store_artifact(self, kind: str, agent_id: str, record: object) -> None:
        self._indexes.check_writable(kind)
        corrections = self._clock.corrections
        now = self._clock.now()
        document = encode_artifact(kind, agent_id, record, now)
        key = self._keys.document(kind, agent_id)
        (reply,) = await self._store.write(kind, now, ("JSON.SET", key, "$", document))
        if isinstance(reply, Exception):
            raise translate(reply, self._transport.target, ("JSON.SET",)) from None
        if self._clock.corrections != corrections:
            await self._store.stamp_again([(key, ("updated_at", stamp_name(KINDS[kind].document)))])

    async def _load_artifact(self, kind: str, agent_id: str) -> Any:
        key = self._keys.document(kind, agent_id)
        reply = await self._transport.read("JSON.GET", key, "$.record")
        try:
            text = decode_body(reply)
            return None if text is None else decode_artifact(kind, text)
        except ValueError as error:
            raise CorruptDocumentError(key.decode("utf-8", "backslashreplace"), str(error)) from None

    async def _delete_artifact(self, kind: str, agent_id: str) -> bool:
        return bool(await self._transport.execute("DEL", self._keys.document(kind, agent_id)))
