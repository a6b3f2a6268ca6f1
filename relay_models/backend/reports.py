"""`StoreReport`: how a bulk store went: what was stored, which records were refused and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay_models.errors import RelayModelsError
from relay_models.records import RunRecord

__all__ = ["ReadRun", "RefusedRecord", "StoreReport"]


class ReadRun(NamedTuple):
    """A run with the JSON text that it has just been read from, which is stored as it is."""

    record: RunRecord
    text: bytes


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """One record that was not stored: its place in the input (from 0), what is known of it, and why."""

    position: int
    agent_id: str | None
    run_id: str | None
    error: RelayModelsError

    def __str__(self) -> str:
        if self.agent_id is None:  # of an own model, or no run at all: the error says which
            return f"record {self.position}: {self.error}"
        return f"record {self.position} (agent {self.agent_id!r}, run {self.run_id}): {self.error}"


@dataclass(slots=True)
class StoreReport:
    """How a bulk store went: runs that are new, runs that replaced an older text of theirs, and the refused ones."""

    created: int = 0
    replaced: int = 0
    refused: list[RefusedRecord] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """How many records the store holds now of those given."""
        return self.created + self.replaced


def refusal_text(refused: Sequence[RefusedRecord], stored: int) -> str:
    """One line for all that were refused."""
    shown = "; ".join(str(each) for each in refused[:3])
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    return f"{len(refused)} of {stored + len(refused)} records were refused, the others are stored: {shown}{more}"
