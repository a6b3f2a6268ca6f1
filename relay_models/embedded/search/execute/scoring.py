"""The scores of the documents that a query finds: BM25STD unless asked for another scorer."""

from __future__ import annotations

import itertools
import math
import re
import struct
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.iterators import Leaf, Record
from relay_models.embedded.search.execute.planner import Planner
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.numbers import INVALID
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    Everything,
    Fuzzy,
    Node,
    Not,
    Optional,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
    Union,
)
from relay_models.embedded.search.syntax.request import Request

__all__ = ["DEFAULT_SCORER", "scores"]

DEFAULT_SCORER = b"BM25STD"
_NORMALIZED = b"BM25STD.NORM"
_TANH = b"BM25STD.TANH"

Hit = tuple[int, bytes, float]


@dataclass(slots=True)
class _Document:
    """What scorers know of a document: how many words it has, how often its most frequent one is there, its score."""

    length: int
    top: int
    score: float


@dataclass(slots=True)
class _Match:
    """How one node matched one document."""

    kind: str
    """term, virtual, numeric, all (an intersection) or any (a union)"""
    weight: float = 1.0
    frequency: int = 1
    idf: float = 0.0
    bm25_idf: float = 0.0
    children: tuple[_Match, ...] = ()
    places: tuple[int, ...] = ()


def scores(selection: Selection, request: Request) -> list[Hit]:
    """(docid, key, score) of all documents found, by docid. Raises `SearchError` for an unknown scorer."""
    name = DEFAULT_SCORER if request.scorer is None else request.scorer
    scorer = _SCORERS.get(name)
    if scorer is None:
        raise SearchError(f"No such scorer {display(name)}")
    execute, tables = selection.connection.execute, selection.tables
    (worded,) = execute(f"SELECT EXISTS (SELECT 1 FROM {tables.words})").fetchone()
    if not worded and not request.with_scores and not request.add_scores and name == DEFAULT_SCORER:
        # Without words all scores are alike: nan, or 0.
        return [(docid, key, 0.0) for docid, key in selection.rows("d.docid, d.key", "ORDER BY d.docid")]
    count, total = execute(f"SELECT count(*), sum(length) FROM {tables.docs}").fetchone()
    rows = selection.rows("d.docid, d.key, d.length, d.top, d.score", "ORDER BY d.docid").fetchall()
    documents = {docid: _Document(length, top, score) for docid, _, length, top, score in rows}
    matches = _Matcher(selection, count).match(selection.node, documents.keys()) if selection.node else {}
    average = (total or 0) / count if count else 0.0
    hits = []
    for docid, key, *_ in rows:
        match = matches.get(docid)
        hits.append((docid, key, 0.0 if match is None else scorer(match, documents[docid], average)))
    if name == _NORMALIZED:
        highest = max((score for _, _, score in hits), default=0.0)
        hits = [(docid, key, score / highest if highest else score) for docid, key, score in hits]
    return hits


class _Matcher:
    """Finds how the nodes of a tree match given documents."""

    def __init__(self, selection: Selection, count: int) -> None:
        self._selection = selection
        self._count = count

    def match(self, node: Node, documents: Collection[int]) -> dict[int, _Match]:
        """The matches among `documents`."""
        if isinstance(node, Token):
            forms = node.forms()
            if len(forms) == 1:
                return self._word(node.text, node, documents, node.weight)
            # A weight is that of the word as it was written.
            weights = [node.weight, *[1.0] * len(node.expansions)]
            words = [
                self._word(word, node, documents, weight, only)
                for (word, only), weight in zip(forms, weights, strict=True)
            ]
            return self._any(words, 1.0, first_only=False)
        if isinstance(node, (Prefix, Pattern, Fuzzy)):
            expanded = self._selection.planner.expand(node)
            found = [self._word(word, node, documents, 1.0) for word in expanded]
            return self._any(found, node.weight, first_only=True)
        if isinstance(node, Phrase):
            return self._phrase(node, documents)
        if isinstance(node, Union):
            found = [self.match(child, documents) for child in node.children]
            return self._any(found, node.weight, first_only=node.weight == 0)
        if isinstance(node, Tag):
            return self._tag(node, documents)
        if isinstance(node, Optional):
            inner = self.match(node.children[0], documents)
            plain = _Match("virtual", 0.0, 0)
            return {docid: inner.get(docid, plain) for docid in documents}
        if isinstance(node, Not):
            inner_documents = self._found(node.children[0])
            plain = _Match("virtual", node.weight, 0)
            return {docid: plain for docid in documents if docid not in inner_documents}
        if isinstance(node, Everything):
            plain = _Match("virtual", node.weight, 1)
            return dict.fromkeys(documents, plain)
        plain = _Match("numeric", node.weight, 1)
        return {docid: plain for docid in documents if docid in self._found(node)} if documents else {}

    def _found(self, node: Node) -> set[int]:
        planner = Planner(self._selection.connection, self._selection.spec, self._selection.planner.settings)
        condition = planner.condition(node)
        sql = f"SELECT d.docid FROM {self._selection.tables.docs} d WHERE {condition}"
        return {docid for (docid,) in self._selection.connection.execute(sql, planner.arguments)}

    def _idf(self, documents: int) -> tuple[float, float]:
        # The first of the two counts one document more than there are; the second is worked out in single precision.
        ratio = 1.0 + (self._count + 1) / (documents or 1)
        rest = _single(_single(self._count - documents + 0.5) / _single(documents + 0.5))
        return float(math.frexp(ratio)[1] - 1), math.log(_single(1.0 + rest))

    def _word(
        self, word: bytes, node: Node, documents: Collection[int], weight: float, only: int = ALL_FIELDS
    ) -> dict[int, _Match]:
        found, (idf, bm25_idf), _ = self._postings(word, node, only)
        return {
            docid: _Match("term", weight, frequency, idf, bm25_idf, (), tuple(array("I", places)))
            for docid, (frequency, places) in found.items()
            if docid in documents
        }

    def _postings(
        self, word: bytes, node: Node, only: int
    ) -> tuple[dict[int, tuple[int, bytes]], tuple[float, float], int]:
        """How often and where each document has a word, its weights, and how many have it in any field."""
        table = self._selection.tables.words
        rows = self._selection.connection.execute(
            f"SELECT docid, fields, frequency, places FROM {table} WHERE word = ?", (word,)
        ).fetchall()
        mask = self._selection.planner.mask(node, only)
        found = {
            docid: (frequency, places) for docid, fields, frequency, places in rows if mask is None or fields & mask
        }
        return found, self._idf(len(rows)), len(rows)

    def _tag(self, node: Tag, documents: Collection[int]) -> dict[int, _Match]:
        found: list[dict[int, _Match]] = []
        for child in node.children:
            if isinstance(child, (Prefix, Pattern)):
                tags = [self._one_tag(node, tag, 1.0, documents) for tag in self._matching_tags(node, child)]
                found.append(self._any(tags, node.weight, first_only=True))
            else:
                part = Tag(node.field)
                part.children = [child]
                found.append(self._one_tag(node, part, node.weight, documents))
        return found[0] if len(found) == 1 else self._any(found, node.weight, first_only=False)

    def _one_tag(self, node: Tag, part: Tag, weight: float, documents: Collection[int]) -> dict[int, _Match]:
        docids = self._found(part)
        match = _Match("term", weight, 1, *self._idf(len(docids)))
        return {docid: match for docid in docids if docid in documents}

    def _matching_tags(self, node: Tag, child: Node) -> list[Tag]:
        part = Tag(node.field)
        part.children = [child]
        tags = []
        for value in self._selection.planner.tag_values(part):
            exact = Tag(node.field)
            exact.children = [Token(re.sub(rb"([!-/:-@\[-`{-~\s])", rb"\\\1", value), folded=False)]
            tags.append(exact)
        return tags

    def _walk(self, node: Phrase, documents: Collection[int]) -> dict[int, _Match] | None:
        """The matches of an intersection of nothing but words, as the real server comes by them."""
        planner = self._selection.planner
        if node is not self._selection.node or not planner.is_walked(node):
            return None
        leaves: list[Callable[[int], _Match]] = []

        def postings(word: bytes, token: Token, weight: float, only: int) -> tuple[list[int], int]:
            found, (idf, bm25_idf), count = self._postings(word, token, only)

            def leaf(docid: int) -> _Match:
                frequency, places = found[docid]
                return _Match("term", weight, frequency, idf, bm25_idf, (), tuple(array("I", places)))

            leaves.append(leaf)
            return sorted(found), count

        def tagged(tag: Tag, found: list[int]) -> None:
            match = _Match("term", tag.weight, 1, *self._idf(len(found)))
            leaves.append(lambda docid: match)

        def match(record: Record, docid: int) -> _Match:
            if isinstance(record, Leaf):
                return leaves[record.number](docid)
            children = tuple(match(part, docid) for part in record.parts)
            return _Match("any", record.weight, sum(child.frequency for child in children), 0, 0, children)

        walked = {}
        for docid, records in planner.walk(node, postings, tagged):
            if docid in documents:
                children = tuple(match(record, docid) for record in records.values())
                frequency = sum(child.frequency for child in children)
                walked[docid] = _Match("all", node.weight, frequency, 0, 0, children)
        return walked

    @staticmethod
    def _any(found: list[dict[int, _Match]], weight: float, *, first_only: bool) -> dict[int, _Match]:
        merged: dict[int, list[_Match]] = {}
        for part in found:
            for docid, match in part.items():
                children = merged.setdefault(docid, [])
                if not children or not first_only:
                    children.append(match)
        return {
            docid: _Match("any", weight, sum(child.frequency for child in children), 0, 0, tuple(children))
            for docid, children in merged.items()
        }

    def _phrase(self, node: Phrase, documents: Collection[int]) -> dict[int, _Match]:
        if len(node.children) == 1:
            return self.match(node.children[0], documents)
        found: dict[int, _Match] = {}
        walked = self._walk(node, documents)
        if walked is not None:
            return walked
        parts = [self.match(child, documents) for child in node.children]
        for docid in documents:
            children = [part[docid] for part in parts if docid in part]
            if len(children) == len(parts):
                frequency = sum(child.frequency for child in children)
                found[docid] = _Match("all", node.weight, frequency, 0, 0, tuple(children))
        return found


def _single(value: float) -> float:
    """A number in single precision."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _places(match: _Match) -> list[int]:
    if match.places:
        return list(match.places)
    return sorted(place for child in match.children for place in _places(child))


def _distance(match: _Match) -> float:
    """How near to each other the words stand that were found: 1 is best."""
    if len(match.children) <= 1:
        return 1
    total = 0
    with_places = [places for places in map(_places, match.children) if places]
    for left, right in itertools.pairwise(with_places):
        one, other = iter(left), iter(right)
        first, second = next(one), next(other)
        best = abs(second - first)
        while best > 1:
            best = min(best, abs(second - first))
            try:
                if second > first:
                    first = next(one)
                else:
                    second = next(other)
            except StopIteration:
                break
        total += best * best
    return math.sqrt(total) if total else len(match.children) - 1


def _sum(match: _Match, leaf: Callable[[_Match], float]) -> float:
    if match.kind in ("all", "any"):
        return match.weight * sum(_sum(child, leaf) for child in match.children)
    return leaf(match)


def _bm25std(match: _Match, document: _Document, average: float) -> float:
    relative = 0.75 * document.length / average if average else INVALID

    def leaf(part: _Match) -> float:
        if part.kind == "term":
            idf, frequency = part.bm25_idf, part.frequency
        elif part.kind == "virtual" and part.frequency and part.weight:
            idf, frequency = 1.0, 1
        else:
            return 0.0
        scale: float = frequency + 1.2000000476837158 * (0.25 + relative)
        return part.weight * idf * frequency * 2.2000000476837158 / scale

    return document.score * _sum(match, leaf)


def _tanh(match: _Match, document: _Document, average: float) -> float:
    return math.tanh(_bm25std(match, document, average) / 4)


def _tfidf_sum(match: _Match) -> float:
    return _sum(match, lambda part: part.weight * part.frequency * (part.idf if part.kind == "term" else 1.0))


def _normalized_tfidf(match: _Match, document: _Document, norm: int) -> float:
    if document.score == 0 or not norm:
        return 0.0
    return document.score * _tfidf_sum(match) / norm / int(_distance(match))


def _tfidf(match: _Match, document: _Document, average: float) -> float:
    return _normalized_tfidf(match, document, document.top)


def _tfidf_by_length(match: _Match, document: _Document, average: float) -> float:
    return _normalized_tfidf(match, document, document.length)


def _bm25(match: _Match, document: _Document, average: float) -> float:
    def leaf(part: _Match) -> float:
        if not part.frequency:
            return 0.0
        idf = part.idf if part.kind == "term" else 1.0
        scale = part.frequency + 1.2000000476837158 * (0.5 + 0.5 * average)
        return part.weight * idf * part.frequency / scale

    return document.score * _sum(match, leaf) / int(_distance(match))


def _dismax(match: _Match, document: _Document, average: float) -> float:
    def value(part: _Match) -> float:
        if part.kind == "all":
            return part.weight * sum(map(value, part.children))
        if part.kind == "any":
            return part.weight * max(map(value, part.children), default=0.0)
        return part.weight * part.frequency

    return value(match)


def _document_score(match: _Match, document: _Document, average: float) -> float:
    return document.score


def _hamming(match: _Match, document: _Document, average: float) -> float:
    return 0.0


Scorer = Callable[[_Match, _Document, float], float]

_SCORERS: dict[bytes, Scorer] = {
    b"BM25STD": _bm25std,
    b"BM25STD.NORM": _bm25std,
    b"BM25STD.TANH": _tanh,
    b"BM25": _bm25,
    b"TFIDF": _tfidf,
    b"TFIDF.DOCNORM": _tfidf_by_length,
    b"DISMAX": _dismax,
    b"DOCSCORE": _document_score,
    b"HAMMING": _hamming,
}
