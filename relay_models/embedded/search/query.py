"""From a query's text to a tree that is ready to run: parameters filled in, words expanded by synonyms and stems."""

from __future__ import annotations

import math

from relay_models.embedded.search.args import display, parse_double
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.nodes import (
    ALL_FIELDS,
    Fuzzy,
    Node,
    Numeric,
    Param,
    Pattern,
    Phrase,
    Prefix,
    Tag,
    Token,
)
from relay_models.embedded.search.parser import parse_query
from relay_models.embedded.search.schema import FieldType, IndexSpec
from relay_models.embedded.search.tokenizer import fold, stem

__all__ = ["read_query"]


def read_query(
    text: bytes,
    spec: IndexSpec,
    params: dict[bytes, bytes],
    *,
    dialect: int = 2,
    verbatim: bool = False,
    expander: bytes | None = None,
    language: str | None = None,
    stop_words: bool = True,
) -> Node | None:
    """The tree of a query; None for one that finds nothing. Raises `SearchError`."""
    if dialect == 1:
        from relay_models.embedded.search.parser_v1 import parse_query_v1

        node = parse_query_v1(text, spec, stop_words)
    else:
        node = parse_query(text, spec, params, stop_words)
    if node is None:
        return None
    _fill(node, params)
    if any(not field.index_empty for field in spec.fields if field.type is not FieldType.NUMERIC):
        # Only then does the real server look at all.
        _Check(spec).node(node)
    if not verbatim:
        _Expansion(spec, language or spec.language, expander).node(node)
    return node


def _value(param: Param, params: dict[bytes, bytes]) -> bytes:
    if param.name not in params:
        raise SearchError(f"No such parameter `{display(param.name)}`")
    return params[param.name]


def _bound(bound: float | Param | None, params: dict[bytes, bytes]) -> float | None:
    if not isinstance(bound, Param):
        return bound
    value = _value(bound, params)
    number = parse_double(value)
    if number is None or math.isnan(number):
        raise SearchError(f"Invalid numeric value ({display(value)}) for parameter `{display(bound.name)}`")
    return bound.sign * number


def _fill(node: Node, params: dict[bytes, bytes]) -> None:
    if isinstance(node, Token) and node.param is not None:
        value = _value(node.param, params)
        node.text = fold(value) if node.folded else value
        node.param = None
    elif isinstance(node, (Prefix, Pattern, Fuzzy)) and node.param is not None:
        value = _value(node.param, params)
        node.text = value if isinstance(node, Pattern) else fold(value)
        node.param = None
    elif isinstance(node, Numeric):
        node.low, node.high = _bound(node.low, params), _bound(node.high, params)
    for child in node.children:
        _fill(child, params)


class _Check:
    """Refuses ranges that hold nothing, and empty words where they are not indexed."""

    def __init__(self, spec: IndexSpec) -> None:
        self._spec = spec
        # Once a tag was seen, these hold for all words that follow, as on the real server.
        self._in_tag = self._tag_with_empty = False

    def node(self, node: Node) -> None:
        if isinstance(node, Tag):
            self._in_tag = True
            self._tag_with_empty |= node.field.index_empty
        elif isinstance(node, Token):
            if not node.text and not self._takes_empty(node):
                raise SearchError("Use `INDEXEMPTY` in field creation in order to index and query for empty strings")
        elif isinstance(node, Numeric):
            low, high = node.low, node.high
            if isinstance(low, float) and isinstance(high, float) and low > high:
                name = display(node.field.name)
                raise SearchError(f"Invalid numeric range (min > max): @{name}:[{low:f} {high:f}]")
        for child in node.children:
            self.node(child)

    def _takes_empty(self, node: Node) -> bool:
        if self._in_tag:
            return self._tag_with_empty
        if node.fields == ALL_FIELDS:
            return True
        texts = [field for field in self._spec.fields if field.type is FieldType.TEXT and field.indexed]
        looked_in = [field for field in texts if node.fields >> field.bit & 1]
        return not looked_in or any(field.index_empty for field in looked_in)


class _Expansion:
    """Adds to each word the other forms that it is looked up by."""

    def __init__(self, spec: IndexSpec, language: str, expander: bytes | None) -> None:
        self._spec = spec
        self._language = language
        everything = expander in (None, b"DEFAULT")
        self._stems = everything or expander == b"SBSTEM"
        self._synonyms = spec.synonym_forms if everything or expander == b"SYNONYM" else {}

    def node(self, node: Node) -> None:
        if node.verbatim:
            return
        if isinstance(node, Token):
            self._token(node)
        elif not isinstance(node, Tag) and not (isinstance(node, Phrase) and node.exact):
            for child in node.children:
                self.node(child)

    def _token(self, node: Token) -> None:
        if not node.text:
            return
        node.expansions += self._synonyms.get(node.text, ())
        if not self._stems or not self._stemmed(node):
            return
        stemmed = stem(node.text, self._language)
        if stemmed is None:
            return
        node.expansions.append(b"+" + stemmed)
        if stemmed != node.text:
            node.expansions.append(stemmed)

    def _stemmed(self, node: Token) -> bool:
        """Whether any field that the word is looked for in has stems."""
        if node.fields == ALL_FIELDS:
            return True
        texts = [field for field in self._spec.fields if field.type is FieldType.TEXT and field.indexed]
        return not all(field.nostem for field in texts if node.fields >> field.bit & 1)
