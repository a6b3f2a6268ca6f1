"""How far an import has come with each agent: kept in the target store, so that nothing is written to the source."""

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
    """An agent's run list has been imported up to `position`; `anchor` is what stands right before it.

    The anchor tells whether the list is still the one that was read: NeMo Relay only appends, but a list may have been
    trimmed, or made anew by another server under the same address.
    """

    position: int = 0
    anchor: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    """Run ids whose values could not be read, to be tried again."""

    def advance(self, ids: Sequence[str]) -> None:
        """Note that the entries that follow `position` have been imported."""
        self.position += len(ids)
        self.anchor = [*self.anchor, *ids][-_ANCHOR:]

    def mark_bad(self, run_ids: Sequence[str]) -> None:
        """Remember unreadable runs, the newest thousand of them."""
        self.bad = list(dict.fromkeys([*self.bad, *run_ids]))[-_MOST_BAD:]

    def window(self) -> tuple[int, int]:
        """First and last place of the entries that have to equal the anchor."""
        return self.position - len(self.anchor), self.position - 1

    def find_in(self, ids: Sequence[str]) -> int:
        """The place after the anchor in a list that has been trimmed at its head; 0 when that is not clear.

        The trimming may have taken the beginning of the anchor, too.
        """
        anchor = self.anchor
        if not anchor:
            return 0
        ends = [end for end in range(1, len(ids) + 1) if ids[end - 1] == anchor[-1]]
        places = [end for end in ends if list(ids[max(0, end - len(anchor)) : end]) == anchor[-end:]]
        return places[0] if len(places) == 1 else 0

    def to_json(self) -> bytes:
        """As it is stored."""
        return to_json({"position": self.position, "anchor": self.anchor, "bad": self.bad})

    @classmethod
    def from_json(cls, text: bytes | str | None) -> Checkpoint:
        """As it was stored; one that says nothing has been imported where there is none, or not a readable one."""
        try:
            value = from_json(text or b"{}")
            if isinstance(value, list):  # JSON.GET with a path answers with all matches
                value = value[0] if value else {}
            return cls(int(value.get("position", 0)), list(value.get("anchor", ())), list(value.get("bad", ())))
        except (ValueError, TypeError, AttributeError):
            return cls()


def checkpoint_key(store_prefix: str, source: str, native_prefix: str, agent_id: str) -> str:
    """Where the checkpoint is kept in the target store, apart from all documents."""
    origin = hashlib.sha256(f"{source}\0{native_prefix}".encode()).hexdigest()[:16]
    agent = hashlib.sha256(agent_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{store_prefix}@import:{origin}:{agent}"
