"""The iterators of the real server over documents with several words.

They determine which matches it knows of a document: where a word with its other forms is looked for in one document and
found in a later one, only one of the forms counts there, though the document may have more.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Leaf", "Many", "Record", "WordReader", "intersection"]

_AHEAD: Final = 1 << 62


@dataclass(slots=True)
class Leaf:
    """A match of one word, found by the reader of this number."""

    number: int


@dataclass(slots=True)
class Many:
    """The matches of a union."""

    weight: float
    parts: list[Record]


Record = Leaf | Many


class WordReader:
    """The documents of one word. `estimated` counts those with the word in other fields too."""

    __slots__ = ("_documents", "_position", "estimated", "least", "number")

    def __init__(self, number: int, documents: list[int], estimated: int) -> None:
        self.number, self.estimated = number, estimated
        self._documents, self._position = documents, -1
        self.least = 0

    def read(self) -> int | None:
        self._position += 1
        return self._here()

    def skip(self, document: int) -> tuple[int | None, bool]:
        """Go to this document or the next one. Returns the document, and whether it is the requested one."""
        self._position = bisect_left(self._documents, document, self._position + 1)
        here = self._here()
        return here, here == document

    def _here(self) -> int | None:
        return self._documents[self._position] if self._position < len(self._documents) else None

    def record(self) -> Record:
        return Leaf(self.number)

    def found(self) -> Record:
        return self.record()


@dataclass(slots=True)
class AnyOf:
    """The documents of a union."""

    children: list[Iterator]
    weight: float
    quick: bool
    """Whether the first match is enough."""
    least: int = 0
    _last: int = 0
    _parts: list[Record] = field(default_factory=list)
    _instead: Record | None = None

    @property
    def estimated(self) -> int:
        return sum(child.estimated for child in self.children)

    def read(self) -> int | None:
        first = None
        for child in list(self.children):
            while child.least <= self._last:
                here = child.read()
                if here is None:
                    self.children.remove(child)
                    break
                child.least = here
            else:
                first = child.least if first is None else min(first, child.least)
        if first is not None:
            self.skip(first)
            self._last = first
        return first

    def skip(self, document: int) -> tuple[int | None, bool]:
        self._parts, self._instead = [], None
        nearest, record = _AHEAD, None
        for child in list(self.children):
            if child.least < document:
                here, exact = child.skip(document)
                if here is None:
                    self.children.remove(child)
                    continue
                child.least = here
                found = child.found()
            else:
                exact, found = child.least == document, child.record()
            if child.least < nearest:
                nearest, record = child.least, found
            if exact:
                self._parts.append(found)
                self._last = child.least
                if self.quick:
                    return document, True
        if not self.children:
            return None, False
        if self._parts:
            return document, True
        assert record is not None
        self._parts, self._instead, self._last = [record], record, nearest
        return nearest, False

    def record(self) -> Record:
        return Many(self.weight, list(self._parts))

    def found(self) -> Record:
        """The matches at the document of the last skip."""
        return self.record() if self._instead is None else self._instead


Iterator = WordReader | AnyOf


def intersection(children: list[Iterator], *, in_order: bool) -> list[tuple[int, dict[int, Record]]]:
    """The documents of all children, with each child's match by its number, in the order in which they are read."""
    order = range(len(children)) if in_order else sorted(range(len(children)), key=lambda n: children[n].estimated)
    iterators = [children[number] for number in order]
    at = [0] * len(iterators)
    last = 0
    results: list[tuple[int, dict[int, Record]]] = []
    while True:
        records: dict[int, Record] = {}
        for place, iterator in enumerate(iterators):
            exact, record = True, None
            if at[place] != last or last == 0:
                if (place == 0 and at[place] >= last) or last == 0:
                    here = iterator.read()
                else:
                    here, exact = iterator.skip(last)
                    record = iterator.found()
                if here is None:
                    return results
                at[place] = here
            if at[place] > last:
                last = at[place]
                break
            if exact:
                records[order[place]] = iterator.record() if record is None else record
            else:
                last += 1
        if len(records) == len(iterators):
            results.append((last, records))
            last += 1
