"""`scores`: the scores of the documents that a query finds, by BM25STD or another scorer."""

from __future__ import annotations

import itertools
import math
import re
import struct
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import assert_never

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.intersections import is_traversed, traverse
from relay_models.embedded.search.execute.iterators import Leaf, Record
from relay_models.embedded.search.execute.planner import found
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.execute.tags import tag_values
from relay_models.embedded.search.execute.words import expand
from relay_models.embedded.search.index.schema import FieldSpec
from relay_models.embedded.search.numbers import INVALID
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
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
    TagPart,
    Token,
    Union,
)
from relay_models.embedded.search.syntax.request import QueryRequest

__all__ = ["DEFAULT_SCORER", "scores"]

DEFAULT_SCORER = b"BM25STD"
_NORMALIZED = b"BM25STD.NORM"

Hit = tuple[int, bytes, float]


@dataclass(slots=True)
class _Document:
    """A document for scorers: how many words it has, how often the most frequent one, and its own score."""

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
    positions: tuple[int, ...] = ()


def scores(selection: Selection, request: QueryRequest) -> list[Hit]:
    """(docid, key, score) of all documents found, by docid. Raises `SearchError` for an unknown scorer."""
    name = DEFAULT_SCORER if request.scorer is None else request.scorer
    scorer = _SCORERS.get(name)
    if scorer is None:
        raise SearchError(f"No such scorer {display(name)}")
    execute, tables = selection.connection.execute, selection.tables
    (worded,) = execute(f"SELECT EXISTS (SELECT 1 FROM {tables.words})").fetchone()
    if not worded and not request.with_scores and not request.add_scores and name == DEFAULT_SCORER:
        # Without words all scores are equal: nan, or 0.
        return [(docid, key, 0.0) for docid, key in selection.rows("d.docid, d.key", "ORDER BY d.docid")]
    count, total = execute(f"SELECT count(*), sum(length) FROM {tables.docs}").fetchone()
    rows = selection.rows("d.docid, d.key, d.length, d.top, d.score", "ORDER BY d.docid").fetchall()
    documents = {docid: _Document(length, top, score) for docid, _, length, top, score in rows}
    matches = _Matcher(selection, count, documents.keys()).visit(selection.node) if selection.node else {}
    average = (total or 0) / count if count else 0.0
    hits = []
    for docid, key, *_ in rows:
        match = matches.get(docid)
        hits.append((docid, key, 0.0 if match is None else scorer(match, documents[docid], average)))
    if name == _NORMALIZED:
        highest = max((score for _, _, score in hits), default=0.0)
        hits = [(docid, key, score / highest if highest else score) for docid, key, score in hits]
    return hits


class _Matcher(NodeVisitor[dict[int, _Match]]):
    """Finds how the nodes of a tree match given documents, of `count` in the index."""

    def __init__(self, selection: Selection, count: int, documents: Collection[int]) -> None:
        self._context = selection.context
        self._unlimited = selection.context.unlimited()
        self._root = selection.node
        self._count = count
        self._documents = documents

    def _found(self, node: Node) -> set[int]:
        return found(self._unlimited, node)

    def visit_token(self, node: Token) -> dict[int, _Match]:
        forms = node.forms()
        if len(forms) == 1:
            return self._word(node.text, node, node.weight)
        # The weight is that of the word as written.
        weights = [node.weight, *[1.0] * len(node.expansions)]
        words = [self._word(word, node, weight, only) for (word, only), weight in zip(forms, weights, strict=True)]
        return self._any(words, 1.0, first_only=False)

    def visit_prefix(self, node: Prefix) -> dict[int, _Match]:
        return self._incomplete(node)

    def visit_pattern(self, node: Pattern) -> dict[int, _Match]:
        return self._incomplete(node)

    def visit_fuzzy(self, node: Fuzzy) -> dict[int, _Match]:
        return self._incomplete(node)

    def _incomplete(self, node: IncompleteWord) -> dict[int, _Match]:
        words = [self._word(word, node, 1.0) for word in expand(self._context, node)]
        return self._any(words, node.weight, first_only=True)

    def visit_union(self, node: Union) -> dict[int, _Match]:
        return self._any(list(map(self.visit, node.children)), node.weight, first_only=node.weight == 0)

    def visit_optional(self, node: Optional) -> dict[int, _Match]:
        inner = self.visit(node.children[0])
        plain = _Match("virtual", 0.0, 0)
        return {docid: inner.get(docid, plain) for docid in self._documents}

    def visit_not(self, node: Not) -> dict[int, _Match]:
        inner = self._found(node.children[0])
        plain = _Match("virtual", node.weight, 0)
        return {docid: plain for docid in self._documents if docid not in inner}

    def visit_everything(self, node: Everything) -> dict[int, _Match]:
        return dict.fromkeys(self._documents, _Match("virtual", node.weight, 1))

    def visit_numeric(self, node: Numeric) -> dict[int, _Match]:
        return self._without_words(node)

    def visit_missing(self, node: Missing) -> dict[int, _Match]:
        return self._without_words(node)

    def visit_ids(self, node: Ids) -> dict[int, _Match]:
        return self._without_words(node)

    def _without_words(self, node: Node) -> dict[int, _Match]:
        if not self._documents:
            return {}
        matching = self._found(node)  # once, not for each document
        plain = _Match("numeric", node.weight, 1)
        return {docid: plain for docid in self._documents if docid in matching}

    def _idf(self, documents: int) -> tuple[float, float]:
        # The first of the two counts one document too many; the second is computed in single precision.
        ratio = 1.0 + (self._count + 1) / (documents or 1)
        rest = _single(_single(self._count - documents + 0.5) / _single(documents + 0.5))
        return float(math.frexp(ratio)[1] - 1), math.log(_single(1.0 + rest))

    def _word(self, word: bytes, node: Node, weight: float, only: int = ALL_FIELDS) -> dict[int, _Match]:
        having, (idf, bm25_idf), _ = self._postings(word, node, only)
        return {
            docid: _Match("term", weight, frequency, idf, bm25_idf, (), tuple(array("I", positions)))
            for docid, (frequency, positions) in having.items()
            if docid in self._documents
        }

    def _postings(
        self, word: bytes, node: Node, only: int
    ) -> tuple[dict[int, tuple[int, bytes]], tuple[float, float], int]:
        """How often and where each document has a word, its weights, and how many have it in any field."""
        rows = self._context.connection.execute(
            f"SELECT docid, fields, frequency, places FROM {self._context.tables.words} WHERE word = ?", (word,)
        ).fetchall()
        mask = self._context.mask(node, only)
        having = {
            docid: (frequency, positions)
            for docid, fields, frequency, positions in rows
            if mask is None or fields & mask
        }
        return having, self._idf(len(rows)), len(rows)

    def visit_tag(self, node: Tag) -> dict[int, _Match]:
        matches: list[dict[int, _Match]] = []
        for part in node.parts:
            match part:
                case Prefix() | Pattern():
                    tags = [self._one_tag(tag, 1.0) for tag in self._matching_tags(node, part)]
                    matches.append(self._any(tags, node.weight, first_only=True))
                case Token() | Phrase():
                    matches.append(self._one_tag(_one_tag(node.field, part), node.weight))
                case _:
                    assert_never(part)
        return matches[0] if len(matches) == 1 else self._any(matches, node.weight, first_only=False)

    def _one_tag(self, tag: Tag, weight: float) -> dict[int, _Match]:
        docids = self._found(tag)
        match = _Match("term", weight, 1, *self._idf(len(docids)))
        return {docid: match for docid in docids if docid in self._documents}

    def _matching_tags(self, node: Tag, part: Prefix | Pattern) -> list[Tag]:
        return [
            _one_tag(node.field, Token(re.sub(rb"([!-/:-@\[-`{-~\s])", rb"\\\1", value), folded=False))
            for value in tag_values(self._context, _one_tag(node.field, part))
        ]

    def _traverse(self, node: Phrase) -> dict[int, _Match] | None:
        """The matches of an intersection of nothing but words, as the real server finds them."""
        if node is not self._root or not is_traversed(node):
            return None
        leaves: list[Callable[[int], _Match]] = []

        def postings(word: bytes, token: Token, weight: float, only: int) -> tuple[list[int], int]:
            having, (idf, bm25_idf), count = self._postings(word, token, only)

            def leaf(docid: int) -> _Match:
                frequency, positions = having[docid]
                return _Match("term", weight, frequency, idf, bm25_idf, (), tuple(array("I", positions)))

            leaves.append(leaf)
            return sorted(having), count

        def tagged(tag: Tag, documents: list[int]) -> None:
            match = _Match("term", tag.weight, 1, *self._idf(len(documents)))
            leaves.append(lambda docid: match)

        def match(record: Record, docid: int) -> _Match:
            if isinstance(record, Leaf):
                return leaves[record.number](docid)
            children = tuple(match(part, docid) for part in record.parts)
            return _Match("any", record.weight, sum(child.frequency for child in children), 0, 0, children)

        traversed = {}
        for docid, records in traverse(self._context, lambda part: found(self._context, part), node, postings, tagged):
            if docid in self._documents:
                children = tuple(match(record, docid) for record in records.values())
                frequency = sum(child.frequency for child in children)
                traversed[docid] = _Match("all", node.weight, frequency, 0, 0, children)
        return traversed

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

    def visit_phrase(self, node: Phrase) -> dict[int, _Match]:
        if len(node.children) == 1:
            return self.visit(node.children[0])
        traversed = self._traverse(node)
        if traversed is not None:
            return traversed
        parts = [self.visit(child) for child in node.children]
        matches: dict[int, _Match] = {}
        for docid in self._documents:
            children = [part[docid] for part in parts if docid in part]
            if len(children) == len(parts):
                frequency = sum(child.frequency for child in children)
                matches[docid] = _Match("all", node.weight, frequency, 0, 0, tuple(children))
        return matches


def _one_tag(field: FieldSpec, part: TagPart) -> Tag:
    """A node of one of a tag node's tags."""
    tag = Tag(field)
    tag.children = [part]
    return tag


def _single(value: float) -> float:
    """A number in single precision."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _positions(match: _Match) -> list[int]:
    if match.positions:
        return list(match.positions)
    return sorted(position for child in match.children for position in _positions(child))


def _distance(match: _Match) -> float:
    """How near to each other the matching words are: 1 is best."""
    if len(match.children) <= 1:
        return 1
    total = 0
    positions = [found for found in map(_positions, match.children) if found]
    for left, right in itertools.pairwise(positions):
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
