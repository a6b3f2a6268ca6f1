"""`parse_expression`: APPLY and FILTER expressions, with the real grammar's precedences, as functions of a row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from relay_models.embedded.search.aggregate.functions import FUNCTIONS, to_number, truth
from relay_models.embedded.search.arguments import display
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.sorting import compare
from relay_models.embedded.search.index.documents import Value, single
from relay_models.embedded.search.numbers import INVALID

__all__ = ["Absent", "Expression", "parse_expression"]

Row = dict[bytes, Value]
Evaluate = Callable[[Row], Value]


class Absent(SearchError):
    """A property that the row does not have."""


class Expression(NamedTuple):
    """A parsed expression: the function, and the properties it reads from rows."""

    evaluate: Evaluate
    properties: tuple[bytes, ...]
    comparisons: tuple[tuple[bytes, str], ...] | None = None
    """The properties compared with literals, and the literals' kinds ("string", "number"), where that is everything.

    Each of these properties was tested with exists before. None where the expression contains anything else.
    """


class _Symbol(NamedTuple):
    kind: str
    offset: int
    text: bytes


_PUNCT = rb"!-/:-@\[-`{-~"
_ESCAPED = rb"\\[" + _PUNCT + rb"\s]"
_PATTERNS: Final = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("number", rb"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"),
        ("property", rb"@(?:[0-9A-Za-z_\x80-\xff]|" + _ESCAPED + rb")+"),
        ("symbol", rb"[A-Za-z][A-Za-z0-9_]*"),
        ("inf", rb"[+'-]?inf"),
        ("op", rb"==|!=|<=|>=|&&|\|\||[()+\-*/%^!<>,]"),
        ("string", rb"\"(?:" + _ESCAPED + rb"|[^\"\n])*\"|'(?:" + _ESCAPED + rb"|[^'\n])*'"),
        ("skip", rb"[\x00-\x20\x7f" + _PUNCT + rb"]"),
    )
)
# Left and right binding powers; the power is right-associative.
_BINDING: Final = {
    "||": (1, 2),
    "&&": (3, 4),
    "==": (7, 8),
    "!=": (7, 8),
    "<": (7, 8),
    "<=": (7, 8),
    ">": (7, 8),
    ">=": (7, 8),
    "+": (9, 10),
    "-": (9, 10),
    "*": (11, 12),
    "/": (11, 12),
    "%": (11, 12),
    "^": (14, 13),
}
_NOT_CHAINED: Final = frozenset(("==", "!=", "<", "<=", ">", ">="))
_NOT = 6
_MAXIMUM_DEPTH = 200


def _scan(text: bytes) -> list[_Symbol]:
    symbols: list[_Symbol] = []
    position, near, offset = 0, b"", 0
    while position < len(text):
        kind, end = "skip", position + 1
        best = position
        for name, pattern in _PATTERNS:
            match = pattern.match(text, position)
            if match is not None and match.end() > best:
                kind, best = name, match.end()
        end = max(end, best)
        if kind != "skip":
            raw = text[position:end]
            offset = position
            if kind == "op":
                symbols.append(_Symbol(raw.decode(), offset, near))
            else:
                near = raw[1:] if kind == "property" else raw
                symbols.append(_Symbol(kind, offset, near))
        position = end
    symbols.append(_Symbol("end", offset, near))
    return symbols


@lru_cache(maxsize=1024)
def parse_expression(text: bytes) -> Expression:
    """Parse an expression. Raises `SearchError`."""
    return _ExpressionParser(text).parse()


class _ExpressionParser:
    def __init__(self, text: bytes) -> None:
        self._symbols = _scan(text)
        self._at = 0
        self._depth = 0
        self._properties: dict[bytes, None] = {}
        self._negated: dict[Evaluate, Evaluate] = {}

    def parse(self) -> Expression:
        evaluate = self._expression(0)
        if self._symbols[self._at].kind != "end":
            raise self._wrong()
        return Expression(evaluate, tuple(self._properties), _comparisons(self._symbols))

    def _wrong(self) -> SearchError:
        symbol = self._symbols[self._at]
        return SearchError(f"Syntax error at offset {symbol.offset} near '{display(symbol.text)}'")

    def _expression(self, least: int) -> Evaluate:
        self._depth += 1
        if self._depth > _MAXIMUM_DEPTH:
            raise SearchError("the expression is nested too deeply")
        left, compared = self._primary(), False
        while True:
            operator = self._symbols[self._at].kind
            binding = _BINDING.get(operator)
            if binding is None or binding[0] < least:
                break
            if operator in _NOT_CHAINED:
                if compared:
                    raise self._wrong()
                compared = True
            self._at += 1
            left = _operation(operator, left, self._expression(binding[1]))
        self._depth -= 1
        return left

    def _primary(self) -> Evaluate:
        symbol = self._symbols[self._at]
        kind = symbol.kind
        if kind == "(":
            self._at += 1
            inner = self._expression(0)
            self._expect(")")
            return inner
        if kind == "!":
            self._at += 1
            inner = self._expression(_NOT)
            if inner in self._negated:
                # A double negation is the value itself.
                return self._negated[inner]

            def negated(row: Row) -> Value:
                return float(not truth(inner(row)))

            self._negated[negated] = inner
            return negated
        if kind in ("number", "inf"):
            self._at += 1
            number = float(symbol.text.lstrip(b"'"))
            return lambda row: number
        if kind == "string":
            self._at += 1
            text = re.sub(rb"\\([" + _PUNCT + rb"\s])", rb"\1", symbol.text[1:-1])
            return lambda row: text
        if kind == "property":
            self._at += 1
            return self._property(symbol.text)
        if kind == "symbol":
            self._at += 1
            if self._symbols[self._at].kind == "(":
                return self._call(symbol)
            if symbol.text == b"NULL":
                return lambda row: None
            raise SearchError(f"Unknown symbol '{display(symbol.text)}'")
        raise self._wrong()

    def _expect(self, kind: str) -> None:
        if self._symbols[self._at].kind != kind:
            raise self._wrong()
        self._at += 1

    def _property(self, name: bytes) -> Evaluate:
        self._properties[name] = None

        def get(row: Row) -> Value:
            try:
                return row[name]
            except KeyError:
                raise Absent(
                    "Could not find the value for a parameter name, consider using EXISTS if applicable"
                    f" for {display(name)}"
                ) from None

        return get

    def _call(self, symbol: _Symbol) -> Evaluate:
        self._at += 1
        arguments: list[Evaluate] = []
        if self._symbols[self._at].kind != ")":
            arguments.append(self._expression(0))
            while self._symbols[self._at].kind == ",":
                self._at += 1
                arguments.append(self._expression(0))
        self._expect(")")
        name = display(symbol.text)
        known = FUNCTIONS.get(name.lower())
        if known is None:
            raise SearchError(f"Unknown function name '{name}'")
        function, least, most = known
        if not least <= len(arguments) <= most:
            wanted = f"{least} arguments" if least == most else f"between {least} and {most} arguments"
            raise SearchError(f"Function '{name}' expects {wanted}, but got {len(arguments)}")
        if name.lower() == "exists":
            return _exists(arguments[0])
        if len(arguments) == 1:
            only = arguments[0]
            return lambda row: function([only(row)])
        return lambda row: function([argument(row) for argument in arguments])


def _comparisons(symbols: list[_Symbol]) -> tuple[tuple[bytes, str], ...] | None:
    """The expressions that have `Expression.comparisons`: ``exists(@a) && … && (@a < 1 || @a == "b" …)``."""
    kinds = [symbol.kind for symbol in symbols]
    guarded: set[bytes] = set()
    at = 0
    while kinds[at : at + 5] == ["symbol", "(", "property", ")", "&&"] and symbols[at].text.lower() == b"exists":
        guarded.add(symbols[at + 2].text)
        at += 5
    found: list[tuple[bytes, str]] = []
    while kinds[at] != "end":
        if kinds[at] == "property":
            name, operator, literal = symbols[at].text, kinds[at + 1], kinds[min(at + 2, len(kinds) - 1)]
            if name not in guarded or operator not in _NOT_CHAINED or literal not in ("string", "number"):
                return None
            found.append((name, literal))
            at += 3
        elif kinds[at] in ("(", ")", "&&", "||"):
            at += 1
        else:
            return None
    return tuple(found)


def _exists(argument: Evaluate) -> Evaluate:
    """Whether there is a value, null included."""

    def exists(row: Row) -> Value:
        try:
            argument(row)
        except Absent:
            return 0.0
        return 1.0

    return exists


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if left != left:
        return left
    if left == 0:
        return INVALID
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _modulo(left: float, right: float) -> float:
    if left != left or right != right:
        return left if left != left else right
    if right == 0 or math.isinf(left):
        return INVALID
    return math.fmod(left, right)


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return math.copysign(math.inf, left) if right % 2 == 1 else math.inf
    except ValueError:
        if left:
            return INVALID
        return math.copysign(math.inf, left) if right % 2 == 1 else math.inf


_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
    "%": _modulo,
    "^": _power,
}
_COMPARISONS: Final[dict[str, Callable[[int], bool]]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def _operation(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    if operator == "&&":
        return lambda row: float(truth(left(row)) and truth(right(row)))
    if operator == "||":
        return lambda row: float(truth(left(row)) or truth(right(row)))
    if operator == "==":
        return lambda row: float(_equal(left(row), right(row)))
    if operator == "!=":
        return lambda row: float(not _equal(left(row), right(row)))
    if operator in _COMPARISONS:
        fits = _COMPARISONS[operator]
        return lambda row: float(fits(_ordered(left(row), right(row))))
    calculate = _ARITHMETIC[operator]

    def evaluate(row: Row) -> Value:
        one, other = left(row), right(row)
        if type(one) is not float or type(other) is not float:
            one, other = to_number(one), to_number(other)
            if one is None or other is None:
                raise SearchError("Could not convert value to a number")
        return calculate(one, other)

    return evaluate


def _comparable(left: Value, right: Value) -> tuple[Value, Value]:
    """Two values for a comparison, in which a list counts as an empty text compared with anything but a list."""
    left, right = single(left), single(right)
    if type(left) is list and type(right) is not list:
        return b"", right
    if type(right) is list and type(left) is not list:
        return left, b""
    return left, right


def _ordered(left: Value, right: Value) -> int:
    lists = (type(single(left)) is list, type(single(right)) is list)
    left, right = _comparable(left, right)
    if lists[0] != lists[1] and type(right if lists[0] else left) is float:
        raise SearchError("Error converting string '(null)' to number")
    for one, other in ((left, right), (right, left)):
        if type(one) is float and type(other) is bytes and to_number(other) is None:
            raise SearchError(f"Error converting string '{display(other)}' to number")
    return compare(left, right)


def _equal(left: Value, right: Value) -> bool:
    left, right = _comparable(left, right)
    if (left is None) != (right is None):
        return False
    if type(left) is float and type(right) is bytes:
        return to_number(right) == left
    if type(left) is bytes and type(right) is float:
        return to_number(left) == right
    return compare(left, right) == 0
