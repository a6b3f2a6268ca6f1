"""`scan`: cuts a dialect 2 query into symbols, byte by byte, as the real server's scanner does."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.tokenizer import unescape_each

__all__ = ["END", "Symbol", "SymbolReader", "scan"]

END: Final = "END"


class Symbol(NamedTuple):
    """One symbol: its kind, the offset and text for messages, and its content.

    `text` is what an error says it is near; symbols without a text keep the previous one, as on the real server.
    """

    kind: str
    offset: int
    text: bytes
    content: bytes = b""
    is_param: bool = False
    number: float = 0.0
    sign: int = 1
    silent: bool = False
    """Whether messages about this field leave out its name: the real server does not take it for a word."""


class SymbolReader:
    """A position in a query's symbols, which a parser advances; the last one is `END`."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._symbols = symbols
        self._at = 0

    @property
    def _next(self) -> Symbol:
        return self._symbols[self._at]

    def _wrong(self) -> SearchError:
        symbol = self._next
        return SearchError(f"Syntax error at offset {symbol.offset} near {display(symbol.text)}")

    def _take(self, *kinds: str) -> Symbol:
        symbol = self._symbols[self._at]
        if symbol.kind not in kinds:
            raise self._wrong()
        self._at += 1
        return symbol


_BLANKS: Final = b" \t\n\v\f\r"
_PUNCT = rb"!-/:-@\[-`{-~"
_TERM = rb"(?:[0-9A-Za-z_\x80-\xff]|\\[" + _PUNCT + rb"\s])+"
_NUMBER = rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_INF = rb"[+-]?[iI][nN][fF]"
_EXACT = rb"(?:\"(?:\\\"|[^\"])+\"|'(?:\\'|[^'])+')"
_ATTRIBUTE = rb"\$" + _TERM
_VERBATIM = rb"(?:\"(?:\\.|[^\"\\])+\"|'(?:\\.|[^'\\])+')"
_OPERAND = rb"(?:" + _INF + rb"|" + _NUMBER + rb"|[+-]?" + _ATTRIBUTE + rb")"


def _comparison(operator: bytes) -> bytes:
    return rb"@(" + _TERM + rb")\s*" + operator + rb"\s*(" + _OPERAND + rb")"


# What the first byte of a symbol may be: of words, numbers, infinities, and texts in quotes.
_OF_TERM, _OF_NUMBER, _OF_INF, _OF_EXACT = rb"[0-9A-Za-z_\x80-\xff\\]", rb"[0-9+.\-]", rb"[+\-iI]", rb"[\"']"
# Kind, first byte and pattern in the scanner's order: of the longest matches the first one counts.
_SYMBOLS: Final = (
    ("SIZE", rb"[0-9]", rb"[0-9]+"),
    ("NUMBER", _OF_NUMBER, _NUMBER),
    ("MODIFIER", rb"@", rb"@" + _TERM),
    ("ATTRIBUTE", rb"\$", _ATTRIBUTE),
    ("!=", rb"@", _comparison(rb"!=")),
    ("==", rb"@", _comparison(rb"==")),
    (">", rb"@", _comparison(rb">")),
    (">=", rb"@", _comparison(rb">=")),
    ("<", rb"@", _comparison(rb"<")),
    ("<=", rb"@", _comparison(rb"<=")),
    ("ARROW", rb"=", rb"=>"),
    ("AS", rb"[aA]", rb"[aA][sS]"),
    ("INF", _OF_INF, _INF),
    ("EMPTY", _OF_EXACT, rb"\"\"|''"),
    ("QUOTE", rb"\"", rb"\""),
    ("OR", rb"\|", rb"\|"),
    ("LP", rb"\(", rb"\("),
    ("RP", rb"\)", rb"\)"),
    ("LB", rb"\{", rb"\{"),
    ("RB", rb"\}", rb"\}"),
    ("COLON", rb":", rb":"),
    ("SEMICOLON", rb";", rb";"),
    ("MINUS", rb"-", rb"-"),
    ("TILDE", rb"~", rb"~"),
    ("STAR", rb"\*", rb"\*"),
    ("PERCENT", rb"%", rb"%"),
    ("LSQB", rb"\[", rb"\["),
    ("RSQB", rb"\]", rb"\]"),
    ("SKIP", rb"[\x00-\x20\x7f" + _PUNCT + rb"]", rb"[\x00-\x20\x7f" + _PUNCT + rb"]"),
    ("ISMISSING", rb"[iI]", rb"[iI][sS][mM][iI][sS][sS][iI][nN][gG]"),
    ("TERM", _OF_TERM, _TERM),
    ("EXACT", _OF_EXACT, _EXACT),
    ("PREFIX", _OF_TERM, _TERM + rb"\*"),
    ("PREFIX", _OF_NUMBER, _NUMBER + rb"\*"),
    ("PREFIX", rb"\$", _ATTRIBUTE + rb"\*"),
    ("PREFIX_EXACT", _OF_EXACT, _EXACT + rb"\*"),
    ("SUFFIX", rb"\*", rb"\*" + _TERM),
    ("SUFFIX", rb"\*", rb"\*" + _NUMBER),
    ("SUFFIX", rb"\*", rb"\*" + _ATTRIBUTE),
    ("SUFFIX_EXACT", rb"\*", rb"\*" + _EXACT),
    ("CONTAINS", rb"\*", rb"\*" + _TERM + rb"\*"),
    ("CONTAINS", rb"\*", rb"\*" + _NUMBER + rb"\*"),
    ("CONTAINS", rb"\*", rb"\*" + _ATTRIBUTE + rb"\*"),
    ("CONTAINS_EXACT", rb"\*", rb"\*" + _EXACT + rb"\*"),
    ("WILDCARD", rb"w", rb"w" + _VERBATIM),
)
# For each byte, the patterns of the symbols that may begin with it.
_PATTERNS: Final = tuple(
    tuple((kind, re.compile(pattern, re.DOTALL)) for kind, first, pattern in _SYMBOLS if re.match(first, bytes([byte])))
    for byte in range(256)
)
_COMPARISONS: Final = frozenset(("!=", "==", ">", ">=", "<", "<="))
_TYPED: Final = frozenset((
    "PREFIX", "PREFIX_EXACT", "SUFFIX", "SUFFIX_EXACT", "CONTAINS", "CONTAINS_EXACT", "WILDCARD",
))  # fmt: skip
_BARE: Final = frozenset(
    ("QUOTE", "OR", "LP", "RP", "LB", "RB", "COLON", "SEMICOLON", "MINUS", "TILDE", "STAR", "PERCENT", "LSQB", "RSQB")
)


@functools.lru_cache(maxsize=512)
def scan(query: bytes) -> tuple[Symbol, ...]:
    """The symbols of a query, the last of kind `END`."""
    symbols: list[Symbol] = []
    position, text, offset, silent = 0, b"", 0, False
    while position < len(query):
        kind, best, found = "SKIP", 0, None
        for name, pattern in _PATTERNS[query[position]]:
            match = pattern.match(query, position)
            if match is not None and match.end() - position > best:
                kind, best, found = name, match.end() - position, match
        if found is None:
            # For example an escape character that escapes nothing: the scanner skips it.
            position += 1
            continue
        end = position + best
        raw = found[0]
        if kind == "SKIP":
            position = end
            continue
        if kind in _COMPARISONS:
            # These leave the text and the offset for messages unchanged. A parameter's name includes the character
            # after it.
            operand = found[2] if b"$" not in found[2] else (found[2] + query[end : end + 1]).rstrip(_BLANKS + b"\0")
            field, *rest = _comparison_symbols(kind, position, found[1].rstrip(_BLANKS), operand)
            symbols += [field._replace(silent=silent), *rest]
            position = end
            continue
        offset = position
        if kind in _BARE:
            symbols.append(Symbol(kind, offset, text))
        else:
            # An arrow's text begins at its second character and is as long as the arrow.
            raw = query[offset : offset + 3] if kind == "ARROW" else raw
            symbol = _symbol(kind, offset, raw, query[end : end + 1])
            text, offset = symbol.text, symbol.offset
            if kind == "MODIFIER":
                symbol = symbol._replace(silent=silent)
            elif kind in _TYPED:
                silent = symbol.is_param or kind == "WILDCARD"
            symbols.append(symbol)
        position = end
    symbols.append(Symbol(END, offset, text))
    return tuple(symbols)


def _comparison_symbols(kind: str, offset: int, field: bytes, operand: bytes) -> tuple[Symbol, Symbol, Symbol]:
    sign, bare = 1, operand
    if operand[:1] in b"+-" and operand[1:2] == b"$":
        sign, bare = (-1 if operand[:1] == b"-" else 1), operand[1:]
    if bare[:1] == b"$":
        bound = Symbol("ATTRIBUTE", offset, bare[1:], bare[1:], True, sign=sign)
    else:
        bound = Symbol("NUMBER", offset, bare, bare, number=float(bare))
    return Symbol("MODIFIER", offset, field, field), Symbol(kind, offset, kind.encode()), bound


def _symbol(kind: str, offset: int, raw: bytes, following: bytes) -> Symbol:
    if kind in ("SIZE", "NUMBER"):
        return Symbol(kind, offset, raw, raw, number=float(raw))
    if kind == "INF":
        return Symbol("NUMBER", offset, raw, raw, number=float("-inf") if raw[:1] == b"-" else float("inf"))
    if kind in ("MODIFIER", "ATTRIBUTE"):
        return Symbol(kind, offset, raw[1:], raw[1:], kind == "ATTRIBUTE")
    if kind == "ARROW":
        return Symbol(kind, offset, raw[1:])
    if kind == "EMPTY":
        return Symbol("TERM", offset, b"", b"")
    if kind == "EXACT":
        return Symbol(kind, offset, raw[1:-1], raw[1:-1])
    if kind == "WILDCARD":
        content = raw[2:-1]
        if content[:1] == b"$":
            return Symbol(kind, offset + 2, content[1:], content[1:], True)
        return Symbol(kind, offset + 2, content, content)
    quoted = kind.endswith("_EXACT")
    base = kind.removesuffix("_EXACT")
    content = raw
    if base in ("SUFFIX", "CONTAINS"):
        content = content[1:]
    if base in ("PREFIX", "CONTAINS"):
        content = content[:-1]
    if quoted:
        content = content[1:-1]
    if base in ("PREFIX", "SUFFIX", "CONTAINS"):
        if content[:1] == b"$" and not quoted:
            return Symbol(base, offset, content[1:], content[1:], True)
        # The character after the word matters when its backslashes are removed.
        behind = following if base == "SUFFIX" and not quoted else b"*"
        return Symbol(base, offset, content, unescape_each(content, behind))
    return Symbol(kind, offset, raw, raw)
