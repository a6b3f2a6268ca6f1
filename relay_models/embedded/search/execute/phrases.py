"""Which documents have a phrase: worked out from the places of its words, which SQL cannot compare."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from relay_models.embedded.search.execute.iterators import Leaf, Record
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    Fuzzy,
    Node,
    Numeric,
    Optional,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
    Union,
)

if TYPE_CHECKING:
    from relay_models.embedded.search.execute.planner import Planner

__all__ = ["Phrases"]

Places = dict[int, list[int]]


class Phrases:
    """Finds the documents of one query's phrases; `planner` finds those of their parts."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def near(self, node: Phrase, slop: int, in_order: bool) -> list[int]:
        """The documents where the children stand within `slop` of each other."""
        if self._planner.is_walked(node):
            return self._near_words(node, slop, in_order)
        children = [self._places(child) for child in node.children]
        if all(map(_always_has_places, node.children)):
            documents = set(children[0]).intersection(*children[1:])
        else:
            documents = set.intersection(*map(self._planner.found, node.children))
        return sorted(
            docid
            for docid in documents
            if _fits([places[docid] for places in children if docid in places], slop, in_order)
        )

    def _near_words(self, node: Phrase, slop: int, in_order: bool) -> list[int]:
        words: list[Places | None] = []

        def postings(word: bytes, token: Token, weight: float, only: int) -> tuple[list[int], int]:
            places = self._word_places([(word, only)], token)
            words.append(places)
            sql = f"SELECT count(*) FROM {self._planner.tables.words} WHERE word = ?"
            (estimated,) = self._planner.connection.execute(sql, (word,)).fetchone()
            return sorted(places), estimated

        def where(record: Record, docid: int) -> list[int] | None:
            if isinstance(record, Leaf):
                places = words[record.number]
                return None if places is None else places[docid]
            return sorted({place for part in record.parts for place in where(part, docid) or ()})

        found = []
        for docid, records in self._planner.walk(node, postings, lambda tag, documents: words.append(None)):
            places = [where(record, docid) for record in records.values()]
            if _fits([part for part in places if part is not None], slop, in_order):
                found.append(docid)
        return sorted(found)

    def _places(self, node: Node) -> Places:
        """Where a node's words stand in each document that it finds.

        Documents that it finds by something other than words are left out; those that the real server takes to have
        words there, though they have none, have an empty list.
        """
        if isinstance(node, Token):
            return self._word_places(node.forms(), node)
        if isinstance(node, (Prefix, Pattern, Fuzzy)):
            return self._word_places([(word, ALL_FIELDS) for word in self._planner.expand(node)], node)
        if isinstance(node, Optional):
            return self._places(node.children[0])
        if isinstance(node, Tag):
            several = len(node.children) > 1 or len(self._planner.tag_values(node)) > 1
            return {docid: [] for docid in self._planner.found(node)} if several else {}
        if not isinstance(node, (Union, Phrase)):
            return {}
        found = None if isinstance(node, Union) else self._planner.found(node)
        merged: dict[int, set[int]] = {}
        for child in node.children:
            for docid, here in self._places(child).items():
                if found is None or docid in found:
                    merged.setdefault(docid, set()).update(here)
        if not all(map(_always_has_places, node.children)):
            for docid in self._mixed(node, found) - merged.keys():
                merged[docid] = set()
        return {docid: sorted(here) for docid, here in merged.items()}

    def _mixed(self, node: Node, found: set[int] | None) -> set[int]:
        """The documents that a node's children find by things of different kinds."""
        kinds: dict[int, set[str]] = {}
        for child in node.children:
            kind = "number" if isinstance(child, Numeric) else "tag" if isinstance(child, Tag) else "nothing"
            for docid in self._planner.found(child):
                kinds.setdefault(docid, set()).add(kind)
        return {
            docid for docid, those in kinds.items() if ("tag" in those or len(those) > 1) and docid in (found or kinds)
        }

    def _word_places(self, words: Iterable[tuple[bytes, int]], node: Node) -> Places:
        places: Places = {}
        for word, only in words:
            mask = self._planner.mask(node, only)
            sql = f"SELECT docid, fields, places FROM {self._planner.tables.words} WHERE word = ?"
            for docid, fields, packed in self._planner.connection.execute(sql, (word,)):
                if mask is not None and not fields & mask:
                    continue
                here = array("I", packed).tolist()
                places[docid] = sorted({*places[docid], *here}) if docid in places else here
        return places


def _always_has_places(node: Node) -> bool:
    """Whether a node finds documents by words only."""
    if isinstance(node, (Token, Prefix, Pattern, Fuzzy)):
        return True
    return isinstance(node, (Union, Phrase)) and all(map(_always_has_places, node.children))


def _fits(places: list[list[int]], slop: int, in_order: bool) -> bool:
    """Whether one place of each list can be taken so that at most `slop` other words lie between (-1: any number).

    In order, a place may be taken twice, so that the words of "again again" are found where there is one "again".
    Out of order, it takes two lists. The rest is what the real server makes of lists without places.
    """
    if not places:
        return True
    most = slop if slop >= 0 else 1 << 31
    if in_order:
        return all(places) and _in_order(places, most)
    if not all(places):
        return any(places)
    flat = sorted((place, number) for number, each in enumerate(places) for place in each)
    seen: dict[int, int] = {}
    for place, number in flat:
        seen[number] = place
        if len(seen) == len(places):
            first = min(seen.values())
            if first != place and place - first - (len(places) - 1) <= most:
                return True
    return False


def _in_order(places: list[list[int]], most: int) -> bool:
    at = [0] * len(places)
    for first in places[0]:
        last, span = first, 0
        for number in range(1, len(places)):
            here = places[number]
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
