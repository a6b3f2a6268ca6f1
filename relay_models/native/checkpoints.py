"""`Checkpoint`: an import's progress per agent, saved in the target store, so that nothing is written to the source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_core import from_json, to_json

__all__ = ["Checkpoint", "checkpoint_key"]

_ANCHOR = 8
_MOST_BAD = 1000


@dataclass(slots=True)
class Checkpoint:
    """An agent's run list has been imported up to `position`; `anchor` has the entries right before it.

    The anchor tells whether the list is still the one that was read: NeMo Relay only appends, but the list may have
    been trimmed, or recreated by another server at the same address.
    """

    position: int = 0
    anchor: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    """Ids of runs that could not be read, to be tried again."""

    def advance(self, ids: Sequence[str]) -> None:
        """Record that the entries after `position` have been imported."""
        self.position += len(ids)
        self.anchor = [*self.anchor, *ids][-_ANCHOR:]

    def mark_bad(self, run_ids: Sequence[str]) -> None:
        """Add unreadable runs; the newest thousand are kept."""
        self.bad = list(dict.fromkeys([*self.bad, *run_ids]))[-_MOST_BAD:]

    def window(self) -> tuple[int, int]:
        """Return the first and last index of the entries that must equal the anchor."""
        return self.position - len(self.anchor), self.position - 1

    def find_in(self, ids: Sequence[str]) -> int:
        """Return the index after the anchor in a list that was trimmed at its head; 0 if it is ambiguous.

        The beginning of the anchor may have been trimmed as well.
        """
        anchor = self.anchor
        if not anchor:
            return 0
        ends = [end for end in range(1, len(ids) + 1) if ids[end - 1] == anchor[-1]]
        matches = [end for end in ends if list(ids[max(0, end - len(anchor)) : end]) == anchor[-end:]]
        return matches[0] if len(matches) == 1 else 0

    def to_json(self) -> bytes:
        """Serialize the checkpoint."""
        return to_json({"position": self.position, "anchor": self.anchor, "bad": self.bad})

    @classmethod
    def from_json(cls, text: bytes | str | None) -> Checkpoint:
        """Deserialize a checkpoint; an empty one if there is none or it is unreadable."""
        try:
            value = from_json(text or b"{}")
            if isinstance(value, list):  # JSON.GET with a path answers with all matches
                value = value[0] if value else {}
            return cls(int(value.get("position", 0)), list(value.get("anchor", ())), list(value.get("bad", ())))
        except (ValueError, TypeError, AttributeError):
            return cls()


def checkpoint_key(store_prefix: str, source: str, native_prefix: str, agent_id: str) -> str:
    """Return the checkpoint's key in the target store."""
    origin = hashlib.sha256(f"{source}\0{native_prefix}".encode()).hexdigest()[:16]
    agent = hashlib.sha256(agent_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{store_prefix}@import:{origin}:{agent}"
