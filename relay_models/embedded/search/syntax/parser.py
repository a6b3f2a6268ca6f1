"""`parse_query`: dialects 2 and later of the query language, with the real grammar's precedences."""

from __future__ import annotations

from dataclasses import replace

from relay_models.embedded.search.arguments import display, parse_double
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.tokenizer import SEPARATORS, fold, unescape_each
from relay_models.embedded.search.syntax.lexer import END, Symbol, SymbolReader, scan
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    Everything,
    Fuzzy,
    Missing,
    Node,
    Not,
    Numeric,
    Optional,
    Param,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
    Union,
    restrict,
)

__all__ = ["apply_attributes", "exact_phrase", "intersect", "parse_query", "unite"]

# The precedences that decide whether a rule ends or takes the next symbol: the higher one wins.
_OR, _MINUS, _AND, _ARROW, _COLON = 4, 12, 13, 14, 15
_STARTS = {
    "ISMISSING": 5,
    "MODIFIER": 6,
    "EXACT": 8,
    "TERM": 9,
    "AS": 9,
    "QUOTE": 10,
    "LP": 11,
    "TILDE": 12,
    "MINUS": 12,
    "NUMBER": 18,
    "SIZE": 19,
    "PREFIX": 23,
    "SUFFIX": 23,
    "CONTAINS": 23,
    "PERCENT": 24,
    "ATTRIBUTE": 25,
    "WILDCARD": 26,
}
_TERMS = frozenset(("TERM", "AS", "ISMISSING", "EXACT", "NUMBER", "SIZE", "ATTRIBUTE"))
_AFFIXES = frozenset(("PREFIX", "SUFFIX", "CONTAINS"))
_MAXIMUM_DEPTH = 250
_BETWEEN_WORDS = SEPARATORS.replace(b"$", b"")


def parse_query(query: bytes, spec: IndexSpec, params: dict[bytes, bytes], stop_words: bool = True) -> Node | None:
    """The tree of a query; None for one that finds nothing (an empty one, stop words only). Raises `SearchError`."""
    return _QueryParser(query, spec, params, stop_words).parse()


def exact_phrase(text: bytes) -> Phrase:
    """The words between quotes, which must be next to each other."""
    phrase = Phrase(exact=True)
    phrase.verbatim = True
    word, escaped = bytearray(), False
    for byte in text + b" ":
        if byte in _BETWEEN_WORDS and not escaped:
            if word:
                phrase.children.append(Token(fold(unescape_each(bytes(word)))))
                word.clear()
            continue
        word.append(byte)
        escaped = not escaped and byte == 0x5C
    return phrase


def intersect(left: Node | None, right: Node | None, *, into_right: bool = True) -> Node | None:
    """Both, in one flat phrase where that is possible; in dialect 1 only the left one is extended."""
    if left is None or right is None:
        return left or right
    if isinstance(left, Phrase) and not left.exact and left.fields == ALL_FIELDS:
        left.children.append(right)
        return left
    if into_right and isinstance(right, Phrase) and not right.exact and right.fields == ALL_FIELDS:
        right.children.append(left)
        return right
    both = Phrase()
    both.children = [left, right]
    return both


def unite(left: Node | None, right: Node | None, *, into_right: bool = True) -> Node | None:
    """Either, in one flat union where that is possible; in dialect 1 only the left one is extended."""
    if left is None or right is None:
        return left or right
    if isinstance(left, Union) and left.fields == ALL_FIELDS:
        left.children.append(right)
        return left
    if into_right and isinstance(right, Union) and right.fields == ALL_FIELDS:
        right.children.append(left)
        return right
    either = Union()
    either.children = [left, right]
    return either


def apply_attributes(node: Node | None, attributes: list[tuple[bytes, bytes]]) -> None:
    """Set the attributes of ``=> {$name: value; …}``."""
    if node is None:
        return
    for name, value in attributes:
        word, number = name.lower(), parse_double(value)
        wrong = SearchError(f"Invalid value ({display(value)}) for `{display(name)}`")
        if word == b"weight":
            if number is None or number < 0:
                raise wrong
            node.weight = number
        elif word == b"slop":
            if number is None or number != int(number) or number < -1:
                raise wrong
            node.slop = int(number)
        elif word in (b"inorder", b"phonetic"):
            if value.lower() not in (b"true", b"false", b"1", b"0"):
                raise wrong
            if word == b"inorder":
                node.in_order = value.lower() in (b"true", b"1")
        else:
            raise SearchError(f"Invalid attribute {display(name)}")


class _QueryParser(SymbolReader):
    def __init__(self, query: bytes, spec: IndexSpec, params: dict[bytes, bytes], stop_words: bool) -> None:
        super().__init__(scan(query))
        self._spec = spec
        self._params = params
        self._stop_words = spec.words_to_skip if stop_words else frozenset()
        self._depth = 0

    def parse(self) -> Node | None:
        if self._next.kind == END:
            return None
        depth = 0
        while self._symbols[depth].kind == "LP":
            depth += 1
        if self._symbols[depth].kind == "STAR":
            self._at = depth + 1
            for _ in range(depth):
                self._take("RP")
            self._refuse_vectors()
            self._take(END)
            return Everything()
        node, _ = self._expression(0, False)
        self._take(END)
        return node

    def _refuse_vectors(self) -> None:
        if self._next.kind == "ARROW" and self._symbols[self._at + 1].kind == "LSQB":
            raise UnsupportedError("vector queries are")

    def _expression(self, pending: int, text_only: bool) -> tuple[Node | None, bool]:
        """Parse everything that binds tighter than the `pending` rule. Returns the node, and whether it is all text."""
        self._depth += 1
        if self._depth > _MAXIMUM_DEPTH:
            raise SearchError("Parser stack overflow. Try moving nested parentheses more to the left")
        node, is_text = self._primary(text_only)
        while True:
            kind = self._next.kind
            if kind == "ARROW" and pending < _ARROW:
                self._refuse_vectors()
                self._at += 1
                apply_attributes(node, self._attributes())
            elif kind == "OR" and pending < _OR:
                self._at += 1
                right, right_is_text = self._expression(_OR, text_only)
                node, is_text = unite(node, right), is_text and right_is_text
            elif self._joins(kind, text_only) and pending < self._strength(kind, text_only):
                right, right_is_text = self._expression(_AND, text_only)
                node, is_text = intersect(node, right), is_text and right_is_text
            else:
                break
        self._depth -= 1
        return node, is_text

    def _joins(self, kind: str, text_only: bool) -> bool:
        return kind in _STARTS and not (text_only and kind == "MODIFIER")

    def _strength(self, kind: str, text_only: bool) -> int:
        return _STARTS["TERM"] if text_only and kind == "ISMISSING" else _STARTS[kind]

    def _primary(self, text_only: bool) -> tuple[Node | None, bool]:
        symbol = self._next
        kind = symbol.kind
        if kind == "MODIFIER" and not text_only:
            return self._field_clause(), False
        if kind == "ISMISSING" and not text_only:
            return self._missing(), False
        if kind in ("MINUS", "TILDE"):
            self._at += 1
            inner, is_text = self._expression(_MINUS, text_only)
            if inner is None:
                return None, is_text
            wrapper: Node = Not() if kind == "MINUS" else Optional()
            wrapper.children = [inner]
            return wrapper, is_text
        if kind == "LP":
            self._at += 1
            inner, is_text = self._expression(0, text_only)
            self._take("RP")
            return inner, is_text
        if kind == "EXACT":
            self._at += 1
            return exact_phrase(symbol.content), True
        if kind == "QUOTE":
            self._at += 1
            name = self._take("ATTRIBUTE")
            self._take("QUOTE")
            token = Token(fold(unescape_each(b"$" + name.content)))
            token.verbatim = True
            return token, True
        if kind in _AFFIXES or kind == "WILDCARD":
            return self._part(), True
        if kind == "PERCENT":
            return self._fuzzy(), True
        if kind in _TERMS:
            self._at += 1
            if kind in ("TERM", "AS", "ISMISSING") and fold(symbol.content) in self._stop_words:
                return None, True
            return _term(symbol), True
        raise self._wrong()

    def _part(self) -> Node:
        symbol = self._take("PREFIX", "SUFFIX", "CONTAINS", "WILDCARD")
        param = Param(symbol.content) if symbol.is_param else None
        if symbol.kind == "WILDCARD":
            return Pattern(symbol.content, param)
        starts, ends = symbol.kind != "SUFFIX", symbol.kind != "PREFIX"
        return Prefix(symbol.content, starts, ends, param)

    def _fuzzy(self) -> Node:
        distance = 0
        while self._next.kind == "PERCENT" and distance < 3:
            self._at += 1
            distance += 1
        symbol = self._take(*_TERMS)
        for _ in range(distance):
            self._take("PERCENT")
        param = Param(symbol.content) if symbol.is_param else None
        return Fuzzy(fold(unescape_each(symbol.content)), distance, param)

    def _attributes(self) -> list[tuple[bytes, bytes]]:
        self._take("LB")
        attributes: list[tuple[bytes, bytes]] = []
        while self._next.kind == "ATTRIBUTE":
            name = self._take("ATTRIBUTE").content
            self._take("COLON")
            value = self._take(*_TERMS)
            content = value.content
            if value.is_param and content in self._params:
                content = self._params[content]
            attributes.append((name, content))
            if self._next.kind != "SEMICOLON":
                break
            self._at += 1
        self._take("RB")
        return attributes

    # Fields

    def _field(self, symbol: Symbol, name: bytes) -> FieldSpec:
        field = self._spec.field(name)
        if field is None:
            raise SearchError(f"Unknown field {_where(symbol, name)}")
        return field

    def _expect(self, field: FieldSpec, type: FieldType, symbol: Symbol) -> None:
        if field.type is not type:
            raise SearchError(f"Expected a {type} field {_where(symbol, unescape_each(symbol.content))}")

    def _missing(self) -> Node:
        self._take("ISMISSING")
        self._take("LP")
        symbol = self._take("MODIFIER")
        name = unescape_each(symbol.content)
        field = self._field(symbol, name)
        self._take("RP")
        if not field.index_missing:
            raise SearchError(f"'ismissing' requires defining the field with 'INDEXMISSING' {_where(symbol, name)}")
        return Missing(field)

    def _field_clause(self) -> Node | None:
        symbol = self._take("MODIFIER")
        field = self._field(symbol, unescape_each(symbol.content))
        kind = self._next.kind
        if kind == "OR":
            return self._several_fields(symbol, field)
        if kind in ("!=", "==", ">", ">=", "<", "<="):
            return self._comparison(symbol, field)
        self._take("COLON")
        if self._next.kind == "LB":
            return self._tags(symbol, field)
        if self._next.kind == "LSQB":
            return self._range(symbol, field)
        node, _ = self._expression(_COLON, True)
        self._expect(field, FieldType.TEXT, symbol)
        if node is not None:
            restrict(node, 1 << field.bit if field.indexed else 0)
        return node

    def _several_fields(self, symbol: Symbol, field: FieldSpec) -> Node | None:
        mask, known = 0, [(symbol, field)]
        while self._next.kind == "OR":
            self._at += 1
            other = self._take("TERM", "AS", "ISMISSING", "EXACT", "NUMBER", "SIZE")
            self._expect(known[0][1], FieldType.TEXT, known[0][0])
            found = self._field(other, other.content)
            self._expect(found, FieldType.TEXT, other)
            known.append((other, found))
        for _, each in known:
            mask |= 1 << each.bit if each.indexed else 0
        self._take("COLON")
        node, _ = self._expression(_COLON, True)
        if node is not None:
            restrict(node, mask)
        return node

    def _comparison(self, symbol: Symbol, field: FieldSpec) -> Node:
        operator = self._next.kind
        self._at += 1
        bound = self._bound(self._take("NUMBER", "ATTRIBUTE", "SIZE"))
        self._expect(field, FieldType.NUMERIC, symbol)
        if operator in ("==", "!="):
            node: Node = Numeric(field, bound, bound)
            if operator == "!=":
                outer = Not()
                outer.children = [node]
                return outer
            return node
        if operator[0] == ">":
            return Numeric(field, bound, None, with_low=operator == ">=")
        return Numeric(field, None, bound, with_high=operator == "<=")

    def _bound(self, symbol: Symbol, sign: int = 1) -> float | Param:
        if symbol.is_param:
            return Param(symbol.content, sign * symbol.sign)
        return sign * symbol.number

    def _number(self) -> tuple[float | Param, bool]:
        """A bound of a range, and whether it is part of it."""
        including = True
        if self._next.kind == "LP":
            self._at += 1
            including = False
        sign, turned = 1, 0
        while self._next.kind == "MINUS":
            self._at += 1
            sign, turned = -sign, turned + 1
        if turned > 1:
            return self._bound(self._take("NUMBER", "SIZE"), sign), including
        return self._bound(self._take("NUMBER", "SIZE", "ATTRIBUTE"), sign), including

    def _range(self, symbol: Symbol, field: FieldSpec) -> Node:
        self._take("LSQB")
        if self._next.kind in ("TERM", "AS", "ISMISSING", "EXACT"):
            self._at += 1
            if self._next.kind not in ("ATTRIBUTE", "LP"):
                self._number()
            self._take("ATTRIBUTE")
            self._take("RSQB")
            raise UnsupportedError("vector and geometry queries are")
        low, with_low = self._number()
        if self._next.kind == "RSQB" and with_low:
            self._at += 1
            self._expect(field, FieldType.NUMERIC, symbol)
            return Numeric(field, low, low)
        high, with_high = self._number()
        if with_low and with_high and self._next.kind not in ("RSQB", "LP"):
            self._number()
            self._take(*_TERMS)
            self._take("RSQB")
            raise SearchError(f"Expected a GEO field {_where(symbol, symbol.content)}")
        self._take("RSQB")
        self._expect(field, FieldType.NUMERIC, symbol)
        if isinstance(low, Param):
            low = replace(low, end="lower")
        if isinstance(high, Param):
            high = replace(high, end="upper")
        return Numeric(field, low, high, with_low, with_high)

    def _tags(self, symbol: Symbol, field: FieldSpec) -> Node:
        self._take("LB")
        tag = Tag(field)
        while True:
            tag.children.append(self._tag())
            if self._next.kind != "OR":
                break
            self._at += 1
        self._take("RB")
        self._expect(field, FieldType.TAG, symbol)
        return tag

    def _tag(self) -> Node:
        if self._next.kind in _AFFIXES or self._next.kind == "WILDCARD":
            return self._part()
        symbol = self._take(*_TERMS)
        if self._next.kind not in _TERMS:
            return _term(symbol, folded=False)
        words = Phrase()
        words.children.append(_term(symbol))
        while self._next.kind in _TERMS:
            words.children.append(_term(self._take(*_TERMS)))
        return words


def _where(symbol: Symbol, name: bytes) -> str:
    return f"at offset {symbol.offset}" + ("" if symbol.silent else f" near {display(name)}")


def _term(symbol: Symbol, folded: bool = True) -> Token:
    """A word; `folded` False keeps it as it was written, for TAG fields."""
    if symbol.is_param:
        return Token(b"", Param(symbol.content), folded)
    if symbol.kind in ("NUMBER", "SIZE"):
        token = Token(symbol.content, folded=False)
        token.verbatim = True
        return token
    return Token(fold(unescape_each(symbol.content)) if folded else symbol.content, folded=folded)
