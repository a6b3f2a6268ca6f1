"""`compile_filter`: expressions as FT query text with PARAMS; what a user gives never becomes query syntax."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from relay_models.columns import expressions as ast
from relay_models.columns.expressions import Expression, Visitor, as_double
from relay_models.columns.info import ColumnInfo
from relay_models.columns.kind import Kind
from relay_models.columns.scores import ScoreColumn, score_range
from relay_models.columns.tags import tag_parameter, words_column
from relay_models.errors import QueryError

__all__ = ["CompiledFilter", "Fitting", "Values", "compile_filter", "fitting_values", "needed_values"]

Values = Mapping[str, Sequence[str]]
"""All values that a column has in the index, by its name there."""
Fitting = Mapping[ast.Pattern, Sequence[str]]
"""The values that fit each pattern of a filter, as `fitting_values` finds them."""


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

    def having(self, column: ColumnInfo, text: str) -> CompiledFilter:
        """This filter, and a column of texts has this one."""
        name = f"has{len(self.params)}"
        return self._narrowed(f"@{column.index_name}:{{${name}}}", (name, tag_parameter(text)))

    def having_any(self, column: ColumnInfo, *, is_so: bool = True) -> CompiledFilter:
        """This filter, and a column of texts has any, or none."""
        return self._narrowed(f"{'-' if is_so else ''}ismissing(@{column.index_name})")

    def _narrowed(self, clause: str, params: tuple[str, ...] = ()) -> CompiledFilter:
        query = clause if self.query == _ALWAYS else f"({self.query}) {clause}"
        return CompiledFilter(query, self.params + params, self.nothing)


def needed_values(expression: Expression) -> dict[str, tuple[str, ...]]:
    """The columns whose values must be known to compile an expression, as patterns are applied to them.

    A server expands a pattern to 200 values and drops the rest silently, so patterns are applied here, and the query
    names the values that fit. With each column come prefixes, one of which its values must have to matter; none means
    all values. (There are as many UUIDs as documents: they are only listed by a prefix.)
    """
    needed: dict[str, list[str] | None] = {}
    for node in expression.walk():
        if isinstance(node, ast.Pattern) and not node.fits_all:
            starts = [node.prefix] if node.column.is_uuid and node.prefix else None
            _add(needed, node.column.index_name, starts)
        elif isinstance(node, ast.Words) and any(begins for _, begins in node.query.phrases):
            _add(needed, words_column(node.column), None)
    return {name: tuple(starts or ()) for name, starts in needed.items()}


def _add(needed: dict[str, list[str] | None], name: str, starts: list[str] | None) -> None:
    known = needed.setdefault(name, [])
    needed[name] = None if known is None or starts is None else known + starts


def fitting_values(expression: Expression, values: Values) -> Fitting:
    """The values that fit each pattern of an expression: the same however often it is compiled."""
    patterns = (node for node in expression.walk() if isinstance(node, ast.Pattern) and not node.fits_all)
    return {node: list(filter(node.fits, values.get(node.column.index_name, ()))) for node in patterns}


def compile_filter(
    expression: Expression, values: Values | None = None, fitting: Fitting | None = None
) -> CompiledFilter:
    """Compile for FT.SEARCH and FT.AGGREGATE with DIALECT 2.

    Args:
        expression: which documents.
        values: the values of columns, as `needed_values` asks for.
        fitting: what `fitting_values` gave for an expression that is a part of this one.

    Raises:
        QueryError: the expression is nested hundreds of levels deep.
    """
    compiler = _Compiler(values or {}, fitting or {})
    try:
        query = expression.visit(compiler)
    except RecursionError:
        raise QueryError("the expression is nested too deeply") from None
    if query is _NEVER:
        return CompiledFilter("", nothing=True)
    if query is _ALWAYS:
        return CompiledFilter("*")
    return CompiledFilter(query, tuple(compiler.params))


# Marks for conditions that are decided without the server.
_ALWAYS, _NEVER = "*", ""


class _Compiler(Visitor[str]):
    """Makes query text of nodes. Negations are moved down to the conditions, so that each half is what it says."""

    def __init__(self, values: Values, fitting: Fitting) -> None:
        self.values = values
        self.fitting = fitting
        self.params: list[str] = []
        self.names: dict[str, str] = {}

    def everything(self, node: ast.Everything) -> str:
        return _ALWAYS

    def conjunction(self, node: ast.And) -> str:
        return self._join(node.parts, every=True)

    def disjunction(self, node: ast.Or) -> str:
        return self._join(node.parts, every=False)

    def negation(self, node: ast.Not) -> str:
        part = node.part
        match part:
            case ast.Not():
                return part.part.visit(self)
            case ast.And():
                return self._join([~inner for inner in part.parts], every=False)
            case ast.Or():
                return self._join([~inner for inner in part.parts], every=True)
        return _negated(part.visit(self))

    def equal(self, node: ast.Equal) -> str:
        return self._tags(node.column.index_name, [node.value])

    def compare(self, node: ast.Compare) -> str:
        if isinstance(node.column, ScoreColumn):
            return self._tags(node.column.stored_in, score_range(node.column.key, node.operator, node.value))
        return _range(node.column.index_name, node.operator, as_double(node.value), node.value)

    def pattern(self, node: ast.Pattern) -> str:
        name = node.column.index_name
        if node.fits_all:
            return f"-ismissing(@{name})" if node.column.nullable else _ALWAYS
        known = self.fitting.get(node)
        return self._tags(name, filter(node.fits, self.values.get(name, ())) if known is None else known)

    def words(self, node: ast.Words) -> str:
        phrases = [self._phrase(node.column, *phrase) for phrase in node.query.phrases]
        if any(phrase is _NEVER for phrase in phrases):
            return _NEVER
        return f"({' '.join(phrases)})" if len(phrases) > 1 else phrases[0]

    def missing(self, node: ast.Missing) -> str:
        column = node.column
        if not column.nullable:
            return _NEVER
        if isinstance(column, ScoreColumn):
            return _negated(self._tags(column.stored_in, score_range(column.key, "<", float("inf"))))
        # A numeric range over all numbers shows whether there is one; texts have their own index for that.
        if column.ordered:
            return f"-@{column.index_name}:[-inf +inf]"
        return f"ismissing(@{words_column(column) if column.kind is Kind.WORDS else column.index_name})"

    def _join(self, parts: Iterable[Expression], *, every: bool) -> str:
        neutral, decisive = (_ALWAYS, _NEVER) if every else (_NEVER, _ALWAYS)
        # In their order, each once. Equal texts of one column, or their negations, are one clause: an IN of a thousand
        # values is not a tree of a thousand nodes.
        queries: dict[str, None] = {}
        tags: dict[str, list[str]] = {}
        for part in _merged(parts) if every else parts:
            alike = part if not every else part.part if isinstance(part, ast.Not) else None
            if isinstance(alike, ast.Equal):
                tags.setdefault(alike.column.index_name, []).append(alike.value)
                continue
            query = part.visit(self)
            if query is decisive:
                return decisive
            if query is not neutral:
                queries[query] = None
        for name, texts in tags.items():
            clause = self._tags(name, texts)
            queries[f"-{clause}" if every else clause] = None
        if not queries:
            return neutral
        return next(iter(queries)) if len(queries) == 1 else f"({(' ' if every else ' | ').join(queries)})"

    def _phrase(self, column: ColumnInfo, words: tuple[str, ...], begins: bool) -> str:
        # Words are ASCII letters, digits and underscores: they cannot be anything else in a query.
        *exact, last = words
        ends = [last]
        if begins:
            ends = [word for word in self.values.get(words_column(column), ()) if word.startswith(last)]
        if not exact or not ends:
            return self._tags(words_column(column), ends)
        phrases = " | ".join(f'"{" ".join([*exact, end])}"' for end in ends)
        return f"@{column.index_name}:({phrases})"

    def _tags(self, name: str, texts: Iterable[str]) -> str:
        parameters = [self._param(text) for text in dict.fromkeys(texts)]
        return f"@{name}:{{{' | '.join(parameters)}}}" if parameters else _NEVER

    def _param(self, text: str) -> str:
        name = self.names.get(text)
        if name is None:
            name = self.names[text] = f"p{len(self.names)}"
            self.params += (name, tag_parameter(text))
        return f"${name}"


def _merged(parts: Iterable[ast.Expression]) -> Iterator[ast.Expression | _Between]:
    """The parts of a conjunction, with a lower and an upper bound of a column as one range.

    Two ranges would be two lists of documents on the server, each of which may be most of them.
    """
    listed = list(parts)
    bounds: dict[tuple[str, bool], int] = {}
    for place, part in enumerate(listed):
        if isinstance(part, ast.Compare) and _is_bound(part):
            bounds.setdefault((part.column.name, part.operator in (">", ">=")), place)
    for place, part in enumerate(listed):
        if isinstance(part, ast.Compare):
            is_low = part.operator in (">", ">=")
            other = bounds.get((part.column.name, not is_low))
            if other is not None and bounds.get((part.column.name, is_low)) == place:
                if place < other:
                    yield _Between(*((part, listed[other]) if is_low else (listed[other], part)))
                continue
        yield part


@dataclass(frozen=True, slots=True)
class _Between:
    """A lower and an upper bound of one column."""

    low: ast.Compare
    high: ast.Compare

    def visit(self, compiler: _Compiler) -> str:
        low, high = as_double(self.low.value), as_double(self.high.value)
        if low > high or (low == high and (self.low.operator, self.high.operator) != (">=", "<=")):
            return _NEVER
        return f"@{self.low.column.index_name}:[{_bound(self.low)} {_bound(self.high)}]"


def _is_bound(node: ast.Compare) -> bool:
    """Whether a comparison is one end of a range."""
    is_finite = abs(as_double(node.value)) < float("inf")
    return is_finite and node.operator != "==" and not isinstance(node.column, ScoreColumn)


def _bound(node: ast.Compare) -> str:
    number = _number(as_double(node.value), node.value)
    return f"({number}" if node.operator in ("<", ">") else number


def _negated(query: str) -> str:
    if query is _ALWAYS or query is _NEVER:
        return _NEVER if query is _ALWAYS else _ALWAYS
    return query[1:] if query.startswith("-") else f"-{query}"


def _range(name: str, operator: str, value: float, exact: int | float) -> str:
    infinite = value in (float("inf"), float("-inf"))
    if infinite:
        # Stored numbers are finite: the comparison is true for all that there are, or for none.
        above = value > 0
        if operator == "==" or (operator in ("<", "<=")) != above:
            return _NEVER
        return f"@{name}:[-inf +inf]"
    number = _number(value, exact)
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


def _number(value: float, exact: int | float) -> str:
    return str(exact) if isinstance(exact, int) and abs(exact) < 2**53 else repr(value)
