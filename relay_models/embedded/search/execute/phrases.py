"""`Phrases`: the documents that have a phrase, from the positions of its words, which SQL cannot compare."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.intersections import Found, is_traversed, traverse
from relay_models.embedded.search.execute.iterators import Leaf, Record
from relay_models.embedded.search.execute.tags import tag_values
from relay_models.embedded.search.execute.words import expand
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    DefaultVisitor,
    Everything,
    Fuzzy,
    Ids,
    IncompleteWord,
    Missing,
    Node,
    NodeVisitor,
    Not,
    Numeric,
    Optional,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
    Union,
)

__all__ = ["Phrases"]

Positions = dict[int, list[int]]
"""The positions of words in each document."""


class Phrases:
    """Finds the documents of one query's phrases; `found` gives those of their parts."""

    def __init__(self, context: QueryContext, found: Found) -> None:
        self._context = context
        self._found = found
        self._finder = _PositionFinder(context, found)

    def near(self, node: Phrase, slop: int, in_order: bool) -> list[int]:
        """The documents where the children are within `slop` words of each other (-1: any number)."""
        if is_traversed(node):
            return self._near_words(node, slop, in_order)
        children = [self._finder.visit(child) for child in node.children]
        if all(map(_POSITIONED.visit, node.children)):
            documents = set(children[0]).intersection(*children[1:])
        else:
            documents = set.intersection(*map(self._found, node.children))
        return sorted(
            docid
            for docid in documents
            if _fits([positions[docid] for positions in children if docid in positions], slop, in_order)
        )

    def _near_words(self, node: Phrase, slop: int, in_order: bool) -> list[int]:
        context = self._context
        words: list[Positions | None] = []

        def postings(word: bytes, token: Token, weight: float, only: int) -> tuple[list[int], int]:
            positions = self._finder.positions_of([(word, only)], token)
            words.append(positions)
            sql = f"SELECT count(*) FROM {context.tables.words} WHERE word = ?"
            (estimated,) = context.connection.execute(sql, (word,)).fetchone()
            return sorted(positions), estimated

        def where(record: Record, docid: int) -> list[int] | None:
            if isinstance(record, Leaf):
                positions = words[record.number]
                return None if positions is None else positions[docid]
            return sorted({position for part in record.parts for position in where(part, docid) or ()})

        matching = []
        traversed = traverse(context, self._found, node, postings, lambda tag, documents: words.append(None))
        for docid, records in traversed:
            positions = [where(record, docid) for record in records.values()]
            if _fits([part for part in positions if part is not None], slop, in_order):
                matching.append(docid)
        return sorted(matching)


class _PositionFinder(NodeVisitor[Positions]):
    """The positions of a node's words in each document that it finds.

    Documents that it finds by something other than words are left out; those that the real server takes to have
    words there, though they have none, have an empty list.
    """

    def __init__(self, context: QueryContext, found: Found) -> None:
        self._context = context
        self._found = found

    def visit_token(self, node: Token) -> Positions:
        return self.positions_of(node.forms(), node)

    def visit_prefix(self, node: Prefix) -> Positions:
        return self._incomplete(node)

    def visit_pattern(self, node: Pattern) -> Positions:
        return self._incomplete(node)

    def visit_fuzzy(self, node: Fuzzy) -> Positions:
        return self._incomplete(node)

    def _incomplete(self, node: IncompleteWord) -> Positions:
        return self.positions_of([(word, ALL_FIELDS) for word in expand(self._context, node)], node)

    def visit_optional(self, node: Optional) -> Positions:
        return self.visit(node.children[0])

    def visit_tag(self, node: Tag) -> Positions:
        several = len(node.children) > 1 or len(tag_values(self._context, node)) > 1
        return {docid: [] for docid in self._found(node)} if several else {}

    def visit_phrase(self, node: Phrase) -> Positions:
        return self._merged(node, self._found(node))

    def visit_union(self, node: Union) -> Positions:
        return self._merged(node, None)

    def visit_not(self, node: Not) -> Positions:
        return {}

    def visit_numeric(self, node: Numeric) -> Positions:
        return {}

    def visit_missing(self, node: Missing) -> Positions:
        return {}

    def visit_everything(self, node: Everything) -> Positions:
        return {}

    def visit_ids(self, node: Ids) -> Positions:
        return {}

    def _merged(self, node: Node, only: set[int] | None) -> Positions:
        merged: dict[int, set[int]] = {}
        for child in node.children:
            for docid, positions in self.visit(child).items():
                if only is None or docid in only:
                    merged.setdefault(docid, set()).update(positions)
        if not all(map(_POSITIONED.visit, node.children)):
            for docid in self._mixed(node, only) - merged.keys():
                merged[docid] = set()
        return {docid: sorted(positions) for docid, positions in merged.items()}

    def _mixed(self, node: Node, only: set[int] | None) -> set[int]:
        """The documents that a node's children find by things of different kinds."""
        kinds: dict[int, set[str]] = {}
        for child in node.children:
            kind = _KIND.visit(child)
            for docid in self._found(child):
                kinds.setdefault(docid, set()).add(kind)
        return {
            docid for docid, those in kinds.items() if ("tag" in those or len(those) > 1) and docid in (only or kinds)
        }

    def positions_of(self, words: Iterable[tuple[bytes, int]], node: Node) -> Positions:
        """The positions of words, each in the fields of its mask, in each document that has one of them."""
        positions: Positions = {}
        for word, only in words:
            mask = self._context.mask(node, only)
            sql = f"SELECT docid, fields, places FROM {self._context.tables.words} WHERE word = ?"
            for docid, fields, packed in self._context.connection.execute(sql, (word,)):
                if mask is not None and not fields & mask:
                    continue
                here = array("I", packed).tolist()
                positions[docid] = sorted({*positions[docid], *here}) if docid in positions else here
        return positions


class _Positioned(DefaultVisitor[bool]):
    """Whether a node finds documents by words only."""

    def visit_token(self, node: Token) -> bool:
        return True

    def visit_prefix(self, node: Prefix) -> bool:
        return True

    def visit_pattern(self, node: Pattern) -> bool:
        return True

    def visit_fuzzy(self, node: Fuzzy) -> bool:
        return True

    def visit_union(self, node: Union) -> bool:
        return all(map(self.visit, node.children))

    def visit_phrase(self, node: Phrase) -> bool:
        return all(map(self.visit, node.children))

    def visit_other(self, node: Node) -> bool:
        return False


class _Kind(DefaultVisitor[str]):
    """What a node finds documents by, as far as that matters for `_mixed`."""

    def visit_numeric(self, node: Numeric) -> str:
        return "number"

    def visit_tag(self, node: Tag) -> str:
        return "tag"

    def visit_other(self, node: Node) -> str:
        return "nothing"


_POSITIONED = _Positioned()
_KIND = _Kind()


def _fits(positions: list[list[int]], slop: int, in_order: bool) -> bool:
    """Whether there is one position of each list with at most `slop` other words between them (-1: any number).

    In order, a position may be taken twice, so that "again again" is found where there is one "again". Out of order,
    two lists are needed. The rest is the real server's treatment of lists without positions.
    """
    if not positions:
        return True
    most = slop if slop >= 0 else 1 << 31
    if in_order:
        return all(positions) and _in_order(positions, most)
    if not all(positions):
        return any(positions)
    flat = sorted((position, number) for number, each in enumerate(positions) for position in each)
    seen: dict[int, int] = {}
    for position, number in flat:
        seen[number] = position
        if len(seen) == len(positions):
            first = min(seen.values())
            if first != position and position - first - (len(positions) - 1) <= most:
                return True
    return False


def _in_order(positions: list[list[int]], most: int) -> bool:
    at = [0] * len(positions)
    for first in positions[0]:
        last, span = first, 0
        for number in range(1, len(positions)):
            here = positions[number]
            while at[number] < len(here) and here[at[number]] < last:
                at[number] += 1
            if at[number] == len(here):
                return False
            span += here[at[number]] - last - 1
            last = here[at[number]]
            if span > most:
                break
        else:
            return True
    return False
