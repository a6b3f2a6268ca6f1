"""`IndexField` and `LayoutChange`: what the index of a store has, and what it would have to have."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from relay_models.columns.info import column_name
from relay_models.documents.base import Document
from relay_models.documents.schema import STAMP, index_fields

__all__ = ["IndexField", "LayoutChange", "layout_change", "layout_id", "wanted_fields"]

# Makes an index keep which documents have no value.
_MISSING = "INDEXMISSING"
# Options that FT.INFO does not always give back, and that an index does not differ by.
_UNSAID = frozenset({"UNF", "INDEXEMPTY", _MISSING})


class IndexField(NamedTuple):
    """A column of an index: its name, where its values are, and the words that declare its type."""

    name: str
    path: str
    words: tuple[str, ...]

    def declaration(self) -> list[str]:
        """What stands in FT.CREATE."""
        return [self.path, "AS", self.name, *self.words]

    def same_as(self, other: IndexField) -> bool:
        """Whether an index cannot be told by the two; servers do not give all options back."""
        return self.path == other.path and _essence(self.words) == _essence(other.words)


def _essence(words: Iterable[str]) -> set[str]:
    return {word.upper() for word in words} - _UNSAID


@dataclass(frozen=True, slots=True)
class LayoutChange:
    """What differs between the index that a store has and the one that it would get.

    Attributes:
        added: columns that the store lacks.
        retyped: columns that the store has with another type or from another part of the document.
        widened: columns that may be without a value here, and not in the store. Programs of either kind can use the
            index that would be made.
        moved: those of `retyped` that have other values in the documents, which are written beside the old ones.
        unknown: columns of the store that this program does not know. They are kept.
        removed: columns of the store that this program does not know, and that are taken away.
        target: all columns of the index that would be made.
    """

    added: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    target: tuple[IndexField, ...] = ()
    widened: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.retyped or self.widened or self.removed)


def wanted_fields(document: type[Document], *, text: bool) -> dict[str, IndexField]:
    """The columns of the index that this program makes, by name."""
    words = index_fields(document, text=text and document._kind == "run")
    fields: list[IndexField] = []
    for position, word in enumerate(words):
        if word == "AS":
            end = next((at - 1 for at in range(position + 1, len(words)) if words[at] == "AS"), len(words))
            fields.append(IndexField(words[position + 1], words[position - 1], tuple(words[position + 2 : end])))
    return {field.name: field for field in fields}


def layout_change(
    wanted: Mapping[str, IndexField], stored: Mapping[str, IndexField], remove: Container[str] = ()
) -> LayoutChange:
    """Compare what is wanted with what a store has; columns that are not wanted are kept, but for those to `remove`."""
    own = _columns(wanted)
    others = {name: field for name, field in _columns(stored).items() if name not in wanted}
    removed = tuple(name for name in others if column_name(name) in remove)
    unknown = tuple(name for name in others if name not in removed)
    kept = {others[name].path for name in unknown}
    # Every index of ours has a column that keeps it, so that a server that never says so can be told.
    is_said = any(_MISSING in field.words for field in stored.values())
    retyped = tuple(
        name for name, field in own.items() if name in stored and name != STAMP and not field.same_as(stored[name])
    )
    return LayoutChange(
        tuple(name for name in own if name not in stored and name != STAMP),
        retyped,
        unknown,
        (*wanted.values(), *(field for name, field in stored.items() if name not in wanted and field.path in kept)),
        tuple(
            name
            for name, field in wanted.items()
            if is_said and name in stored and _MISSING in field.words and _MISSING not in stored[name].words
        ),
        removed,
        tuple(name for name in retyped if wanted[name].path != stored[name].path),
    )


def _columns(fields: Mapping[str, IndexField]) -> dict[str, IndexField]:
    """The attributes without those that are a second one of a column, as running text has its words, too."""
    first: dict[str, str] = {}
    for name, field in fields.items():
        first.setdefault(field.path, name)
    return {name: fields[name] for name in first.values()}


def layout_id(fields: Iterable[IndexField]) -> str:
    """The identity of a layout: twelve hexadecimal digits that follow from its columns."""
    text = "\n".join(sorted(" ".join(field.declaration()) for field in fields))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
