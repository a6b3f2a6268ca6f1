"""Expressions as FT query text with PARAMS: what a user gives never becomes query syntax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay_models.columns import expressions as ast
from relay_models.columns.expressions import Expression, as_double
from relay_models.columns.tags import escape_tag, words_column
from relay_models.errors import QueryError

if TYPE_CHECKING:
    from relay_models.columns.column import Column

__all__ = ["CompiledFilter", "Values", "compile_filter", "needed_values"]

Values = Mapping[str, Sequence[str]]
"""All values that a column has in the index, by column name."""


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A query and its parameters. `nothing` says that no document can match and none need be asked for."""

    query: str
    params: tuple[str, ...] = ()
    """Names and values in turn, the values escaped for the server."""
    nothing: bool = False

    def arguments(self) -> list[str | int]:
        """``PARAMS …`` for a command, if there are any."""
        return ["PARAMS", len(self.params), *self.params] if self.params else []


def needed_values(expression: Expression) -> dict[str, tuple[str, ...]]:
    """The columns whose values must be known to compile an expression, as patterns are applied to them.

    A server expands a pattern to 200 values and drops the rest without a word, so patterns are applied here, and the
    query names the values that fit. What is given beside a column are the beginnings that its values must have one
    of to matter; none means all values. (Run ids are as many as runs: they are only listed by their beginning.)
    """
    needed: dict[str, list[str] | None] = {}
    for node in expression.walk():
        if isinstance(node, ast.Pattern) and not _fits_all(node):
            starts = [node.value] if node.how == "prefix" and node.column.name == "run_id" else None
            _add(needed, node.column.name, starts)
        elif isinstance(node, ast.Words) and any(begins for _, begins in node.query.phrases):
            _add(needed, words_column(node.column), None)
    return {name: tuple(starts or ()) for name, starts in needed.items()}


def _add(needed: dict[str, list[str] | None], name: str, starts: list[str] | None) -> None:
    known = needed.setdefault(name, [])
    needed[name] = None if known is None or starts is None else known + starts


def compile_filter(expression: Expression, values: Values | None = None) -> CompiledFilter:
    """Compile for FT.SEARCH and FT.AGGREGATE with DIALECT 2; `values` as `needed_values` asks for.

    Raises:
        QueryError: the expression is nested hundreds of levels deep.
    """
    compiler = _Compiler(values or {})
    try:
        query = compiler.compile(expression, False)
    except RecursionError:
        raise QueryError("the expression is nested too deeply") from None
    if query is _NEVER:
        return CompiledFilter("", nothing=True)
    if query is _ALWAYS:
        return CompiledFilter("*")
    return CompiledFilter(query, tuple(compiler.params))


# Marks for conditions that are decided without the server.
_ALWAYS, _NEVER = "*", ""


def _fits_all(node: ast.Pattern) -> bool:
    return not node.value.strip("*") if node.how == "glob" and node.value else not node.value and node.how != "glob"


@dataclass(slots=True)
class _Compiler:
    values: Values
    params: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def compile(self, node: Expression, negated: bool) -> str:
        """The query of a node or of its negation; negations stand at the leaves, so each half is what it says."""
        match node:
            case ast.Not(part):
                return self.compile(part, not negated)
            case ast.Everything():
                return _NEVER if negated else _ALWAYS
            case ast.And(parts):
                return self._join(parts, negated, every=not negated)
            case ast.Or(parts):
                return self._join(parts, negated, every=negated)
        query = self._leaf(node)
        if not negated:
            return query
        if query is _ALWAYS or query is _NEVER:
            return _NEVER if query is _ALWAYS else _ALWAYS
        return query[1:] if query.startswith("-") else f"-{query}"

    def _join(self, parts: Sequence[Expression], negated: bool, every: bool) -> str:
        neutral, decisive = (_ALWAYS, _NEVER) if every else (_NEVER, _ALWAYS)
        queries: list[str] = []
        tags: dict[str, list[str]] = {}
        for part in parts:
            # Alternatives on one column are one clause: an IN of a thousand values is no tree of a thousand nodes.
            if isinstance(part, ast.Equal) and not every and not negated:
                tags.setdefault(part.column.name, []).append(part.value)
                continue
            query = self.compile(part, negated)
            if query is decisive:
                return decisive
            if query is not neutral:
                queries.append(query)
        queries.extend(self._tags(name, texts) for name, texts in tags.items())
        if not queries:
            return neutral
        unique = list(dict.fromkeys(queries))
        return unique[0] if len(unique) == 1 else f"({(' ' if every else ' | ').join(unique)})"

    def _leaf(self, node: Expression) -> str:
        match node:
            case ast.Equal(column, value):
                return self._tags(column.name, [value])
            case ast.Pattern(column):
                return self._pattern(node)
            case ast.Compare(column, operator, value):
                return _range(column.name, operator, as_double(value), value)
            case ast.Missing(column) if not column.nullable:
                return _NEVER
            case ast.Missing(column):
                # A numeric range over all numbers tells whether there is one; texts have their own index for that.
                if column.ordered:
                    return f"-@{column.name}:[-inf +inf]"
                return f"ismissing(@{words_column(column) if column.kind == 'words' else column.name})"
            case ast.Words(column, query):
                phrases = [self._phrase(column, *phrase) for phrase in query.phrases]
                if any(phrase is _NEVER for phrase in phrases):
                    return _NEVER
                return f"({' '.join(phrases)})" if len(phrases) > 1 else phrases[0]
        raise TypeError(f"no query for {type(node).__name__}")

    def _pattern(self, node: ast.Pattern) -> str:
        name = node.column.name
        if _fits_all(node):
            return f"-ismissing(@{name})" if node.column.nullable else _ALWAYS
        return self._tags(name, [text for text in self.values.get(name, ()) if node.fits(text)])

    def _phrase(self, column: Column[Any], words: tuple[str, ...], begins: bool) -> str:
        # Words are ASCII letters, digits and underscores: they cannot be anything else in a query.
        *exact, last = words
        ends = [last]
        if begins:
            ends = [word for word in self.values.get(words_column(column), ()) if word.startswith(last)]
        if not exact or not ends:
            return self._tags(words_column(column), ends)
        phrases = " | ".join(f'"{" ".join([*exact, end])}"' for end in ends)
        return f"@{column.name}:({phrases})"

    def _tags(self, name: str, texts: Iterable[str]) -> str:
        places = [self._param(escape_tag(text)) for text in dict.fromkeys(texts)]
        return f"@{name}:{{{' | '.join(places)}}}" if places else _NEVER

    def _param(self, value: str) -> str:
        name = self.names.get(value)
        if name is None:
            name = self.names[value] = f"p{len(self.names)}"
            # The server takes a backslash in a parameter as the start of an escape.
            self.params += (name, value.replace("\\", "\\\\"))
        return f"${name}"


def _range(name: str, operator: str, value: float, exact: int | float) -> str:
    infinite = value in (float("inf"), float("-inf"))
    if infinite:
        # Stored numbers are finite: the comparison is true for all that there are, or for none.
        above = value > 0
        if operator == "==" or (operator in ("<", "<=")) != above:
            return _NEVER
        return f"@{name}:[-inf +inf]"
    number = str(exact) if isinstance(exact, int) and abs(exact) < 2**53 else repr(value)
    match operator:
        case "==":
            return f"@{name}:[{number} {number}]"
        case "<":
            return f"@{name}:[-inf ({number}]"
        case "<=":
            return f"@{name}:[-inf {number}]"
        case ">":
            return f"@{name}:[({number} +inf]"
        case _:
            return f"@{name}:[{number} +inf]"
