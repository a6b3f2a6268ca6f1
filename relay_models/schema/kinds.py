"""The kinds of state that are kept: their names, their types, and the keys that they live under."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from relay_models import documents, records
from relay_models.errors import NotFoundError

__all__ = ["KINDS", "Kind", "find_kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of state.

    Args:
        name: ``run``, ``plan`` …, as in the keys.
        record: the type of the record, or of its elements where the record is a list.
        document: the redis-om model that persists it.
        many: an agent has many of them, not one.
        is_list: the record is a list.
        native_key: where NeMo Relay itself keeps it.
    """

    name: str
    record: type[BaseModel]
    document: type[Any]
    many: bool
    is_list: bool
    native_key: str

    @property
    def title(self) -> str:
        """The document's name, which is the heading of its page."""
        return self.document.__name__

    @property
    def shape(self) -> Any:
        """The type of the record: a model, or a list of them."""
        return list[self.record] if self.is_list else self.record  # type: ignore[name-defined]

    @property
    def shape_text(self) -> str:
        """`shape` as one would write it."""
        return f"list[{self.record.__name__}]" if self.is_list else self.record.__name__

    @property
    def summary(self) -> str:
        """What the record is, in a sentence: the first paragraph of its class's docstring."""
        return " ".join((inspect.getdoc(self.record) or "").partition("\n\n")[0].split())

    @property
    def key(self) -> str:
        """The key of one document, with the parts that vary in braces."""
        ending = ":{run_id}" if self.many else ""
        return f"{{prefix}}@{self.name}:{{agent_id}}{ending}"


def _kind(
    name: str, record: type[BaseModel], document: type[Any], native: str, *, many: bool = False, is_list: bool = False
) -> Kind:
    return Kind(name, record, document, many, is_list, native)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("run", records.RunRecord, documents.Run, "{prefix}runs:{agent_id}:{run_id}", many=True),
        _kind("plan", records.ExecutionPlan, documents.Plan, "{prefix}plan:{agent_id}"),
        _kind("trie", records.TrieEnvelope, documents.Trie, "{prefix}trie:{agent_id}"),
        _kind("accumulators", records.AccumulatorState, documents.Accumulators, "{prefix}accumulators:{agent_id}"),
        _kind(
            "observations",
            records.PromptIR,
            documents.Observations,
            "{prefix}acg_observations:{agent_id}",
            is_list=True,
        ),
        _kind("stability", records.StabilityAnalysisResult, documents.Stability, "{prefix}acg_stability:{agent_id}"),
    )
}
"""Every kind by its name."""


def find_kind(name: str) -> Kind:
    """The kind of that name, in any case; the name of its record type or of its document is understood too.

    Raises:
        NotFoundError: there is none; the message lists those there are.
    """
    wanted = name.strip().lower()
    for kind in KINDS.values():
        if wanted in (kind.name, kind.record.__name__.lower(), kind.document.__name__.lower()):
            return kind
    raise NotFoundError(f"there is no kind of state {name!r}; there are {', '.join(KINDS)}")
