"""`read_query`: a query's text to a tree with its parameters filled in and words expanded by synonyms and stems."""

from __future__ import annotations

from collections.abc import Callable

from relay_models.embedded.search.arguments import BLANKS, display, parse_bound, parse_strictly
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.schema import FieldType, IndexSpec
from relay_models.embedded.search.index.tokenizer import fold, stem, unescape_each
from relay_models.embedded.search.syntax.legacy_parser import parse_query_v1
from relay_models.embedded.search.syntax.nodes import (
    ALL_FIELDS,
    DefaultVisitor,
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
from relay_models.embedded.search.syntax.parser import parse_query

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
    ordered: bool = False,
    bare: bool = False,
    limit: Callable[[Node | None], Node | None] | None = None,
) -> Node | None:
    """The tree of a query; None for one that finds nothing. Raises `SearchError`.

    `ordered`: the request limits the distance of words, or their order; `bare`: it wants neither scores nor marks.
    `limit` puts the request's other limits (its filters and keys) around the tree.
    """
    node = parse_query_v1(text, spec, stop_words) if dialect == 1 else parse_query(text, spec, params, stop_words)
    if node is not None:
        _ParameterFiller(params).visit(node)
    if limit is not None:
        node = limit(node)
    if node is None:
        return None
    check = _Check(spec, ordered, bare)
    if check.empty or check.unordered:
        # Only then does the real server check at all.
        check.visit(node)
    if not verbatim:
        _Expansion(spec, language or spec.language, expander).visit(node)
    return node


def _value(param: Param, params: dict[bytes, bytes]) -> bytes:
    if param.name not in params:
        raise SearchError(f"No such parameter `{display(param.name)}`")
    return params[param.name]


def _bound(bound: float | Param | None, params: dict[bytes, bytes]) -> float | None:
    if not isinstance(bound, Param):
        return bound
    value = _value(bound, params)
    if bound.end is not None:
        # An empty value leaves the bound unchanged.
        return parse_bound(value, lower=bound.end == "lower", sign=bound.sign) if value else 0.0
    number = parse_strictly(value.lstrip(BLANKS))
    if number is None:
        raise SearchError(f"Invalid numeric value ({display(value)}) for parameter `{display(bound.name)}`")
    return bound.sign * number


class _ParameterFiller(DefaultVisitor[None]):
    """Fills in the parameters of a tree, in place."""

    def __init__(self, params: dict[bytes, bytes], of_tag: bool = False) -> None:
        self._params = params
        self._of_tag = of_tag

    def visit_token(self, node: Token) -> None:
        if node.param is None:
            return
        value = _value(node.param, self._params)
        node.text = fold(unescape_each(value)) if node.folded else value
        node.param = None
        # Numbers are not stemmed.
        node.verbatim = node.verbatim or parse_strictly(value.lstrip(BLANKS)) is not None

    def visit_prefix(self, node: Prefix) -> None:
        self._word(node)

    def visit_pattern(self, node: Pattern) -> None:
        if node.param is not None:
            node.text, node.param = _value(node.param, self._params), None

    def visit_fuzzy(self, node: Fuzzy) -> None:
        self._word(node)

    def _word(self, node: Prefix | Fuzzy) -> None:
        if node.param is not None:
            value = _value(node.param, self._params)
            node.text, node.param = value if self._of_tag else fold(unescape_each(value)), None

    def visit_numeric(self, node: Numeric) -> None:
        node.low, node.high = _bound(node.low, self._params), _bound(node.high, self._params)

    def visit_tag(self, node: Tag) -> None:
        filler = _ParameterFiller(self._params, of_tag=True)
        for part in node.parts:
            filler.visit(part)

    def visit_other(self, node: Node) -> None:
        for child in node.children:
            self.visit(child)


class _Check(DefaultVisitor[None]):
    """Refuses empty ranges, empty words where they are not indexed, order where there is none."""

    def __init__(self, spec: IndexSpec, ordered: bool, bare: bool) -> None:
        self._spec = spec
        self._ordered = ordered
        self.empty = any(not field.index_empty for field in spec.fields if field.type is not FieldType.NUMERIC)
        self.unordered = [field for field in spec.fields if field.unordered]
        # Once a tag was seen, these hold for all words that follow, as on the real server. There one of the two shares
        # its bit with `bare`.
        self._in_tag, self._tag_with_empty = False, bare

    def visit_tag(self, node: Tag) -> None:
        self._in_tag = True
        self._tag_with_empty |= node.field.index_empty
        self.visit_other(node)

    def visit_token(self, node: Token) -> None:
        if self.empty and not node.text and not self._takes_empty(node):
            raise SearchError("Use `INDEXEMPTY` in field creation in order to index and query for empty strings")

    def visit_phrase(self, node: Phrase) -> None:
        if self.unordered and (self._ordered or _orders(node)):
            self._need_order(node)
        self.visit_other(node)

    def visit_numeric(self, node: Numeric) -> None:
        low, high = node.low, node.high
        if isinstance(low, float) and isinstance(high, float) and low > high:
            name = display(node.field.name)
            raise SearchError(f"Invalid numeric range (min > max): @{name}:[{low:f} {high:f}]")

    def visit_other(self, node: Node) -> None:
        for child in node.children:
            self.visit(child)

    def _need_order(self, node: Node) -> None:
        for field in self.unordered:
            # The real server takes a field's index in the schema for its bit in the mask.
            if node.fields >> field.number & 1:
                raise SearchError(
                    f"slop/inorder are not supported for field with undefined ordering `{display(field.name)}`"
                )

    def _takes_empty(self, node: Node) -> bool:
        if self._in_tag:
            return self._tag_with_empty
        if node.fields == ALL_FIELDS:
            return True
        texts = [field for field in self._spec.fields if field.type is FieldType.TEXT and field.indexed]
        looked_in = [field for field in texts if node.fields >> field.bit & 1]
        return not looked_in or any(field.index_empty for field in looked_in)


def _orders(node: Phrase) -> bool:
    """Whether a node itself limits the order or the distance of its words."""
    return not node.added and ((node.slop is not None and node.slop >= 0) or node.in_order is not None)


class _Expansion(DefaultVisitor[None]):
    """Adds to each word the other forms that it is looked up by."""

    def __init__(self, spec: IndexSpec, language: str, expander: bytes | None) -> None:
        self._spec = spec
        self._language = language
        everything = expander in (None, b"DEFAULT")
        self._stems = everything or expander == b"SBSTEM"
        self._synonyms = spec.synonym_forms if everything or expander == b"SYNONYM" else {}

    def visit_token(self, node: Token) -> None:
        if not node.verbatim:
            self._token(node)

    def visit_tag(self, node: Tag) -> None:
        """Tags have no other forms."""

    def visit_phrase(self, node: Phrase) -> None:
        if not node.exact:
            self.visit_other(node)

    def visit_other(self, node: Node) -> None:
        if not node.verbatim:
            for child in node.children:
                self.visit(child)

    def _token(self, node: Token) -> None:
        if not node.text:
            return
        if not self._stemmed(node):
            return
        node.expansions += self._synonyms.get(node.text, ())
        if not self._stems:
            return
        stemmed = stem(node.text, self._language)
        if stemmed is None:
            return
        node.expansions.append(b"+" + stemmed)
        if stemmed != node.text:
            node.expansions.append(stemmed)

    def _stemmed(self, node: Token) -> bool:
        """Whether any field that the word is looked for in has stems; excludes those that have none."""
        if node.fields == ALL_FIELDS:
            return True
        texts = [field for field in self._spec.fields if field.type is FieldType.TEXT and field.indexed]
        looked_in = [field for field in texts if node.fields >> field.bit & 1]
        for field in looked_in:
            if field.nostem:
                node.stemmed &= ~(1 << field.bit)
        return not all(field.nostem for field in looked_in)
