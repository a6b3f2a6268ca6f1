"""`Marker`: HIGHLIGHT marks the matching words of a text, SUMMARIZE cuts it down to what is around them."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.execute.words import expand
from relay_models.embedded.search.index.documents import Value
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tokenizer import MINIMUM_STEM_LENGTH, SEPARATORS, stem, tokens
from relay_models.embedded.search.syntax.nodes import (
    Everything,
    Fuzzy,
    Ids,
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
from relay_models.embedded.search.syntax.request import Markup, QueryRequest

__all__ = ["Marker"]

MAXIMUM_DISTANCE = 8
"""Maximum number of words between two matching ones of one fragment."""
AVERAGE_WORD = 6
_BLANKS = b" \t\n\v\f\r"


@dataclass(slots=True)
class _Fragment:
    """A part of a text with matching words: its bytes, and the positions of the words."""

    start: int
    end: int
    number: int
    last_place: int
    words: int = 0
    matches: int = 0
    score: float = 0.0
    found: list[tuple[int, int]] = field(default_factory=list)
    terms: set[bytes] = field(default_factory=set)


class _WordCollector(NodeVisitor[None]):
    """Collects the words that are marked, each with the mask of the fields that it is looked for in."""

    def __init__(self, context: QueryContext, words: dict[bytes, int]) -> None:
        self._context = context
        self._words = words

    def _add(self, node: Node, words: list[bytes]) -> None:
        for word in words:
            self._words[word] = self._words.get(word, 0) | node.fields

    def _children(self, node: Node) -> None:
        for child in node.children:
            self.visit(child)

    def visit_token(self, node: Token) -> None:
        self._add(node, [node.text, *node.expansions])

    def visit_prefix(self, node: Prefix) -> None:
        self._add(node, expand(self._context, node))

    def visit_pattern(self, node: Pattern) -> None:
        self._add(node, expand(self._context, node))

    def visit_fuzzy(self, node: Fuzzy) -> None:
        self._add(node, expand(self._context, node))

    def visit_phrase(self, node: Phrase) -> None:
        self._children(node)

    def visit_union(self, node: Union) -> None:
        self._children(node)

    def visit_optional(self, node: Optional) -> None:
        self._children(node)

    def visit_not(self, node: Not) -> None: ...

    def visit_tag(self, node: Tag) -> None: ...

    def visit_numeric(self, node: Numeric) -> None: ...

    def visit_missing(self, node: Missing) -> None: ...

    def visit_everything(self, node: Everything) -> None: ...

    def visit_ids(self, node: Ids) -> None: ...


class Marker:
    """Marks the rows of one request's hits."""

    def __init__(self, spec: IndexSpec, selection: Selection, request: QueryRequest) -> None:
        self._spec = spec
        self._markup = request.markup
        self._returned = request.returns
        self._language = request.language or spec.language
        self._skip = spec.words_to_skip
        self._synonyms = spec.synonym_forms
        self._words: dict[bytes, int] = {}
        if selection.node is not None:
            _WordCollector(selection.context, self._words).visit(selection.node)
        documents = selection.count() or 1
        self._scores = {word: self._rarity(selection, word, documents) for word in self._words}

    @staticmethod
    def _rarity(selection: Selection, word: bytes, documents: int) -> float:
        sql = f"SELECT count(*) FROM {selection.tables.words} WHERE word = ?"
        number: int = selection.connection.execute(sql, (word,)).fetchone()[0]
        return float((1 + documents // (number or 1)).bit_length() - 1)

    def mark(self, docid: int, row: dict[bytes, Value]) -> None:
        """Change the texts of a row in place."""
        markup = self._markup
        for name, value in row.items():
            known = self._spec.field(name)
            highlight = markup.highlight and (not markup.highlight_fields or name in markup.highlight_fields)
            summarize = markup.summarize and (not markup.summarize_fields or name in markup.summarize_fields)
            if type(value) is not bytes or known is None or not (highlight or summarize):
                continue
            row[name] = self._marked(known, value, highlight, summarize)

    def _marked(self, known: FieldSpec, text: bytes, highlight: bool, summarize: bool) -> bytes:
        fragments = self._fragments(known, text) if known.type is FieldType.TEXT else []
        if not fragments:
            return _head(text, self._markup) if summarize and not highlight else text
        tags = self._markup.tags if highlight else (b"", b"")
        if not summarize:
            return _tagged(text, 0, len(text), [place for part in fragments for place in part.found], tags)
        return self._summary(text, fragments, tags)

    def _fragments(self, known: FieldSpec, text: bytes) -> list[_Fragment]:
        fragments: list[_Fragment] = []
        since = 0
        for place, word in enumerate(tokens(text, self._skip), 1):
            term = self._found(known, word.term)
            if term is None:
                since += 1
                continue
            current = fragments[-1] if fragments else None
            if current is None or place - current.last_place > MAXIMUM_DISTANCE:
                current = _Fragment(word.start, word.end, len(fragments), place)
                fragments.append(current)
                since = 0
            if term not in current.terms:
                current.terms.add(term)
                current.score += self._scores[term]
            current.end, current.last_place = word.end, place
            current.matches += 1
            current.words += since + 1
            since = 0
            current.found.append((word.start, word.end))
        return fragments

    def _found(self, known: FieldSpec, term: bytes) -> bytes | None:
        bit = 1 << known.bit
        if self._words.get(term, 0) & bit:
            return term
        if not known.nostem and len(term) >= MINIMUM_STEM_LENGTH:
            stemmed = stem(term, self._language)
            if stemmed is not None and self._words.get(b"+" + stemmed, 0) & bit:
                return b"+" + stemmed
        for form in self._synonyms.get(term, ()):
            if self._words.get(form, 0) & bit:
                return form
        return None

    def _summary(self, text: bytes, fragments: list[_Fragment], tags: tuple[bytes, bytes]) -> bytes:
        markup = self._markup
        best = sorted(fragments, key=lambda part: (-part.score, part.number))[: markup.fragments]
        best.sort(key=lambda part: part.number)
        parts: list[bytes] = []
        for place, part in enumerate(best):
            least = best[place - 1].end if place else 0
            most = best[place + 1].start if place + 1 < len(best) else len(text) - 1
            start, end = _context(text, part, least, most, markup.length)
            parts.append(_single_blanks(_tagged(text, start, end, part.found, tags)) + markup.separator)
        return b"".join(parts)


def _tagged(text: bytes, start: int, end: int, places: list[tuple[int, int]], tags: tuple[bytes, bytes]) -> bytes:
    parts, at = [], start
    for first, last in places:
        parts += [text[at:first], tags[0], text[first:last], tags[1]]
        at = last
    parts.append(text[at:end])
    return b"".join(parts)


def _context(text: bytes, part: _Fragment, least: int, most: int, length: int) -> tuple[int, int]:
    """Where a fragment begins and ends with the words around it."""
    between = part.words - part.matches
    if length <= between:
        return part.start, part.end
    size = (length - between) // 2 * AVERAGE_WORD
    start, end = max(part.start - size, least), min(part.end + size, most)
    while start < part.start and text[start] not in SEPARATORS:
        start += 1
    while start < part.start and text[start] in SEPARATORS:
        start += 1
    while end > part.end and text[end] not in SEPARATORS:
        end -= 1
    while end > part.end and text[end] in SEPARATORS:
        end -= 1
    return start, max(end + 1, part.end) if end < len(text) else len(text)


def _single_blanks(text: bytes) -> bytes:
    parts: list[int] = []
    for byte in text:
        if byte in _BLANKS:
            if parts and parts[-1] == 0x20:
                continue
            byte = 0x20
        parts.append(byte)
    return bytes(parts)


def _head(text: bytes, markup: Markup) -> bytes:
    """The beginning of a text without a match."""
    size = min(AVERAGE_WORD * markup.length * markup.fragments + AVERAGE_WORD, len(text))
    head = _single_blanks(text[:size])
    while len(head) > 1 and head[-1] not in SEPARATORS:
        head = head[:-1]
    return head.rstrip(_BLANKS)
