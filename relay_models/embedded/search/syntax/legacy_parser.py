"""`parse_query_v1`: dialect 1 of the query language, which has its own grammar without parameters."""

from __future__ import annotations

import functools
import re
from typing import Final

from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.schema import FieldType, IndexSpec
from relay_models.embedded.search.index.tokenizer import fold, unescape_each
from relay_models.embedded.search.syntax.lexer import END, Symbol, SymbolReader
from relay_models.embedded.search.syntax.nodes import (
    Everything,
    Fuzzy,
    Node,
    Not,
    Numeric,
    Optional,
    Phrase,
    Prefix,
    Tag,
    Token,
    restrict,
)
from relay_models.embedded.search.syntax.parser import apply_attributes, intersect, unite

__all__ = ["parse_query_v1"]

_PUNCT = rb"!-/:-@\[-`{-~"
_TERM = rb"(?:[0-9A-Za-z_\x80-\xff]|\\[" + _PUNCT + rb"\s])+"
_NUMBER = rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?"
# In the scanner's order: of the longest matches the first one counts.
_PATTERNS: Final = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("NUMBER", _NUMBER),
        ("MODIFIER", rb"@" + _TERM),
        ("ATTRIBUTE", rb"\$" + _TERM),
        ("ARROW", rb"=>"),
        ("INF", rb"[+'-]?inf"),
        ("QUOTE", rb"\""),
        ("OR", rb"\|"),
        ("LP", rb"\("),
        ("RP", rb"\)"),
        ("LB", rb"\{"),
        ("RB", rb"\}"),
        ("COLON", rb":"),
        ("SEMICOLON", rb";"),
        ("MINUS", rb"-"),
        ("TILDE", rb"~"),
        ("STAR", rb"\*"),
        ("PERCENT", rb"%"),
        ("LSQB", rb"\["),
        ("RSQB", rb"\]"),
        ("SKIP", rb"[\x00-\x20\x7f" + _PUNCT + rb"]"),
        ("TERM", _TERM),
        ("PREFIX", _TERM + rb"\*"),
        ("PREFIX", _NUMBER + rb"\*"),
        ("SUFFIX", rb"\*" + _TERM),
        ("SUFFIX", rb"\*" + _NUMBER),
        ("CONTAINS", rb"\*" + _TERM + rb"\*"),
        ("CONTAINS", rb"\*" + _NUMBER + rb"\*"),
    )
)
_WITH_TEXT: Final = frozenset(("NUMBER", "MODIFIER", "ATTRIBUTE", "ARROW", "TERM", "PREFIX", "SUFFIX", "CONTAINS"))
# The precedence of a symbol compared with that of the current rule: the higher one wins.
_STARTS: Final = {
    "TILDE": 1,
    "QUOTE": 3,
    "MINUS": 5,
    "NUMBER": 6,
    "STOPWORD": 7,
    "TERM": 9,
    "PREFIX": 10,
    "SUFFIX": 10,
    "CONTAINS": 10,
    "PERCENT": 11,
    "LP": 13,
    "MODIFIER": 15,
}
_TILDE, _MINUS, _MODIFIER, _AND, _OR, _ARROW = 1, 5, 15, 16, 17, 19
_MAXIMUM_DEPTH = 250


@functools.lru_cache(maxsize=256)
def _scan(query: bytes) -> tuple[Symbol, ...]:
    symbols: list[Symbol] = []
    position, near, offset = 0, b"", 0
    while position < len(query):
        kind, end = "SKIP", position
        for name, pattern in _PATTERNS:
            match = pattern.match(query, position)
            if match is not None and match.end() > end:
                kind, end = name, match.end()
        end = max(end, position + 1)
        raw = query[position:end]
        if kind != "SKIP":
            offset = position
            if kind == "INF":
                near = raw
                number = float("-inf") if raw[:1] == b"-" else float("inf")
                symbols.append(Symbol("NUMBER", offset, raw, raw, number=number))
            elif kind in _WITH_TEXT:
                near = query[position + 1 : position + 3] if kind == "ARROW" else _content(kind, raw)
                number = float(raw) if kind == "NUMBER" else 0.0
                symbols.append(Symbol(kind, offset, near, near, number=number))
            else:
                symbols.append(Symbol(kind, offset, near))
        position = end
    symbols.append(Symbol(END, offset, near))
    return tuple(symbols)


def _content(kind: str, raw: bytes) -> bytes:
    if kind in ("MODIFIER", "ATTRIBUTE", "SUFFIX"):
        return raw[1:]
    return raw[1:-1] if kind == "CONTAINS" else raw[:-1] if kind == "PREFIX" else raw


def parse_query_v1(query: bytes, spec: IndexSpec, stop_words: bool = True) -> Node | None:
    """The tree of a query; None for one that finds nothing. Raises `SearchError`."""
    return _LegacyParser(query, spec, stop_words).parse()


class _LegacyParser(SymbolReader):
    def __init__(self, query: bytes, spec: IndexSpec, stop_words: bool) -> None:
        skipped = spec.words_to_skip if stop_words else frozenset()
        super().__init__(
            [
                symbol._replace(kind="STOPWORD")
                if symbol.kind == "TERM" and fold(symbol.content) in skipped
                else symbol
                for symbol in _scan(query)
            ]
        )
        self._spec = spec
        self._depth = 0

    def parse(self) -> Node | None:
        if self._next.kind == END:
            return None
        if self._next.kind == "STAR":
            self._at += 1
            self._take(END)
            return Everything()
        node = self._expression(0)
        self._take(END)
        return node

    def _expression(self, pending: int) -> Node | None:
        self._depth += 1
        if self._depth > _MAXIMUM_DEPTH:
            raise SearchError("Parser stack overflow. Try moving nested parentheses more to the left")
        node = self._primary()
        while True:
            kind = self._next.kind
            if kind == "ARROW" and pending < _ARROW:
                self._at += 1
                apply_attributes(node, self._attributes())
            elif kind == "OR" and pending < _OR:
                self._at += 1
                node = unite(node, self._expression(_OR), into_right=False)
            elif kind in _STARTS and pending < _STARTS[kind]:
                node = intersect(node, self._expression(_AND), into_right=False)
            else:
                break
        self._depth -= 1
        return node

    def _primary(self) -> Node | None:
        symbol = self._next
        kind = symbol.kind
        if kind == "MODIFIER":
            return self._field_clause()
        if kind in ("MINUS", "TILDE"):
            self._at += 1
            inner = self._expression(_MINUS if kind == "MINUS" else _TILDE)
            if inner is None:
                return None
            wrapper: Node = Not() if kind == "MINUS" else Optional()
            wrapper.children = [inner]
            return wrapper
        if kind == "LP":
            self._at += 1
            inner = self._expression(0)
            self._take("RP")
            return inner
        if kind == "QUOTE":
            return self._quoted()
        if kind in ("PREFIX", "SUFFIX", "CONTAINS"):
            self._at += 1
            return _part(symbol)
        if kind == "PERCENT":
            return self._fuzzy()
        if kind == "STOPWORD":
            self._at += 1
            return None
        if kind in ("TERM", "NUMBER"):
            return self._words()
        raise self._wrong()

    def _words(self) -> Node:
        """A word, or several in a row: these are one unit, for a field or a minus before them."""
        words = [_word(self._take("TERM", "NUMBER"))]
        # A number continues one word, but not several.
        while self._next.kind == "TERM" or (self._next.kind == "NUMBER" and len(words) == 1):
            words.append(_word(self._take("TERM", "NUMBER")))
        if len(words) == 1:
            return words[0]
        phrase = Phrase()
        phrase.children = [*words]
        return phrase

    def _quoted(self) -> Node:
        self._take("QUOTE")
        words = [_word(self._take("TERM", "NUMBER"))]
        while self._next.kind in ("TERM", "NUMBER") or (self._next.kind == "STOPWORD" and len(words) > 1):
            symbol = self._take("TERM", "NUMBER", "STOPWORD")
            if symbol.kind != "STOPWORD":
                words.append(_word(symbol))
        self._take("QUOTE")
        if len(words) == 1:
            words[0].verbatim = True
            return words[0]
        phrase = Phrase(exact=True)
        phrase.verbatim = True
        phrase.children = [*words]
        return phrase

    def _fuzzy(self) -> Node:
        distance = 0
        while self._next.kind == "PERCENT" and distance < 3:
            self._at += 1
            distance += 1
        symbol = self._take("TERM", "NUMBER", "STOPWORD")
        for _ in range(distance):
            self._take("PERCENT")
        return Fuzzy(fold(unescape_each(symbol.content)), distance, with_empty=False)

    def _attributes(self) -> list[tuple[bytes, bytes]]:
        self._take("LB")
        attributes: list[tuple[bytes, bytes]] = []
        while self._next.kind == "ATTRIBUTE":
            name = self._take("ATTRIBUTE").content
            self._take("COLON")
            attributes.append((name, self._take("TERM", "NUMBER").content))
            if self._next.kind != "SEMICOLON":
                break
            self._at += 1
        self._take("RB")
        return attributes

    def _field_clause(self) -> Node | None:
        names = [unescape_each(self._take("MODIFIER").content)]
        while self._next.kind == "OR":
            self._at += 1
            names.append(self._take("TERM", "NUMBER").content)
        self._take("COLON")
        if len(names) == 1 and self._next.kind == "LB":
            return self._tags(names[0])
        if len(names) == 1 and self._next.kind == "LSQB":
            return self._range(names[0])
        node = self._expression(_MODIFIER)
        mask = 0
        for name in names:
            field = self._spec.field(name)
            if field is not None and field.type is FieldType.TEXT and field.indexed:
                mask |= 1 << field.bit
        if node is not None:
            restrict(node, mask)
        return node

    def _number(self) -> tuple[float, bool]:
        including, sign = True, 1
        while self._next.kind in ("LP", "MINUS"):
            if self._take("LP", "MINUS").kind == "LP":
                including = False
            else:
                sign = -sign
        return sign * self._take("NUMBER").number, including

    def _range(self, name: bytes) -> Node | None:
        self._take("LSQB")
        low, with_low = self._number()
        high, with_high = self._number()
        if self._next.kind != "RSQB":
            self._number()
            self._take("TERM")
            self._take("RSQB")
            raise UnsupportedError("geo queries are")
        self._take("RSQB")
        field = self._spec.field(name)
        if field is None:
            return None
        return Numeric(field, low, high, with_low, with_high)

    def _tags(self, name: bytes) -> Node | None:
        self._take("LB")
        children: list[Node] = [self._tag()]
        # The closing brace is neither needed nor the end: another tag may follow it.
        while self._next.kind in ("OR", "RB"):
            if self._take("OR", "RB").kind == "OR":
                children.append(self._tag())
        field = self._spec.field(name)
        if field is None:
            return None
        tag = Tag(field)
        tag.children = children
        return tag

    def _tag(self) -> Node:
        symbol = self._take("TERM", "NUMBER", "STOPWORD", "PREFIX", "SUFFIX", "CONTAINS")
        if symbol.kind in ("PREFIX", "SUFFIX", "CONTAINS"):
            return _part(symbol)
        if symbol.kind == "STOPWORD" or self._next.kind not in ("TERM", "NUMBER"):
            return Token(symbol.content, folded=False)
        words = Phrase()
        words.children.append(_word(symbol))
        while self._next.kind in ("TERM", "NUMBER", "STOPWORD"):
            following = self._take("TERM", "NUMBER", "STOPWORD")
            if following.kind != "STOPWORD":
                words.children.append(_word(following))
        return words


def _word(symbol: Symbol) -> Token:
    return Token(fold(unescape_each(symbol.content)))


def _part(symbol: Symbol) -> Prefix:
    return Prefix(unescape_each(symbol.content), symbol.kind != "SUFFIX", symbol.kind != "PREFIX")
