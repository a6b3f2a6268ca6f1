"""Expressions as text of the filter language, which parses to the same expression."""

from __future__ import annotations

from relay_models.columns import expressions as ast
from relay_models.columns.expressions import Expression

__all__ = ["print_expression", "quote"]

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
_PATTERNS = {"prefix": "startswith", "suffix": "endswith", "contains": "contains", "glob": "~"}


def quote(text: str) -> str:
    """A text as a quoted value; what cannot be seen is written as its code."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text) + '"'


def print_expression(node: Expression) -> str:
    """The text of an expression."""
    return _print(node, 0)


# How tightly a node binds: a node inside another that binds tighter is put into parentheses.
_OR, _AND, _NOT = 1, 2, 3


def _print(node: Expression, outer: int) -> str:
    match node:
        case ast.Everything():
            return "all"
        case ast.Or(()):
            return "none"
        case ast.Or(parts):
            one_of = _one_of(node)
            if one_of:
                return one_of
            return _group(" or ".join(_print(part, _OR) for part in parts), outer >= _OR)
        case ast.And(parts):
            return _group(" and ".join(_print(part, _AND) for part in parts), outer >= _AND)
        case ast.Not(part):
            return _negated(part)
    return _condition(node, False)


def _negated(part: Expression) -> str:
    if isinstance(part, ast.Equal | ast.Missing | ast.Pattern | ast.Words) or (
        isinstance(part, ast.Compare) and part.operator == "=="
    ):
        return _condition(part, True)
    one_of = _one_of(part)
    if one_of:
        return one_of.replace(" in (", " not in (", 1)
    return f"not {_print(part, _NOT)}"


def _one_of(node: Expression) -> str | None:
    """Equality with several texts of one column, as ``column in (…)``."""
    if not isinstance(node, ast.Or) or len(node.parts) < 2:
        return None
    names = {part.column.name if isinstance(part, ast.Equal) else "" for part in node.parts}
    if len(names) > 1 or "" in names:
        return None
    texts = ", ".join(quote(part.value) for part in node.parts if isinstance(part, ast.Equal))
    return f"{names.pop()} in ({texts})"


def _condition(node: Expression, negated: bool) -> str:
    from relay_models.query.language.literals import print_number, print_span, print_time

    no = "not " if negated else ""
    match node:
        case ast.Equal(column, value):
            return f"{column.name} {'!=' if negated else '='} {quote(value)}"
        case ast.Compare(column, operator, number):
            write = {"time": print_time, "duration": print_span}.get(column.kind, print_number)
            sign = "!=" if negated else "=" if operator == "==" else operator
            return f"{column.name} {sign} {write(number)}"
        case ast.Pattern(column, "glob", value):
            return f"{column.name} {'!~' if negated else '~'} {quote(value)}"
        case ast.Pattern(column, how, value):
            return f"{column.name} {no}{_PATTERNS[how]} {quote(value)}"
        case ast.Words(column, query):
            return f"{column.name} {'!~' if negated else '~'} {quote(query.text)}"
        case ast.Missing(column):
            return f"{column.name} is {'present' if negated else 'missing'}"
    raise TypeError(f"no text for {type(node).__name__}")


def _group(text: str, needed: bool) -> str:
    return f"({text})" if needed else text
