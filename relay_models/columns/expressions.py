"""The tree of an expression over columns, and its plain meaning in Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from relay_models.columns.words import WordQuery
from relay_models.errors import QueryError

if TYPE_CHECKING:
    from relay_models.columns.column import Column

__all__ = [
    "NOTHING",
    "And",
    "Compare",
    "Equal",
    "Everything",
    "Expression",
    "Missing",
    "Not",
    "Or",
    "Pattern",
    "Words",
    "all_of",
    "any_of",
    "every_run",
]


class Expression:
    """A condition that a document meets or not; combine with ``&``, ``|`` and ``~``.

    A comparison with a column that has no value is false, and its negation true: ``~(Run.cost > 1)`` also finds the
    runs whose cost is unknown. Printed, it is text of the filter language that parses to the same expression.
    """

    __slots__ = ()

    def __and__(self, other: Any) -> Expression:
        return all_of([self, _expression(other, "&")])

    def __rand__(self, other: Any) -> Expression:
        return all_of([_expression(other, "&"), self])

    def __or__(self, other: Any) -> Expression:
        return any_of([self, _expression(other, "|")])

    def __ror__(self, other: Any) -> Expression:
        return any_of([_expression(other, "|"), self])

    def __invert__(self) -> Expression:
        return Not(self)

    def __bool__(self) -> bool:
        raise QueryError(
            "an expression is neither true nor false: combine expressions with &, | and ~ (each in parentheses), "
            "not with 'and', 'or', 'not' or a chain such as 1 < column < 2"
        )

    def matches(self, run: Any) -> bool:
        """Whether a run meets the condition, by plain Python.

        `run` is a document such as `Run`, a `RunRecord`, or a mapping of column names to stored values (times and
        durations in microseconds, lists for columns of several texts).
        """
        words = any(isinstance(node, _Named) and node.column.kind == "words" for node in self.walk())
        return self.accepts(_values_of(run, words))

    def accepts(self, values: Mapping[str, Any]) -> bool:
        """`matches`, over stored values by column name; None or no entry is no value."""
        raise NotImplementedError

    def walk(self) -> Iterator[Expression]:
        """This node and all below it."""
        waiting: list[Expression] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.inner())

    def inner(self) -> tuple[Expression, ...]:
        """The expressions that this one joins or negates."""
        return ()

    def __str__(self) -> str:
        from relay_models.columns.printing import print_expression

        return print_expression(self)

    def __repr__(self) -> str:
        return f"<{self}>"


@dataclass(frozen=True, slots=True, repr=False)
class Everything(Expression):
    """True for every document."""

    def accepts(self, values: Mapping[str, Any]) -> bool:
        return True


class _Named(Expression):
    """A condition on one column: equal if it is the same condition on the column of the same name."""

    __slots__ = ()
    column: Column[Any]

    def _identity(self) -> tuple[Any, ...]:
        return tuple(
            value.name if name == "column" else value
            for name, value in ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), self._identity()))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Equal(_Named):
    """The text, or one of the texts, is exactly `value`."""

    column: Column[Any]
    value: str

    def accepts(self, values: Mapping[str, Any]) -> bool:
        found = values.get(self.column.name)
        if found is None:
            return False
        return self.value in found if self.column.kind == "texts" else bool(self.value == found)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Compare(_Named):
    """A number against a value, as the doubles that the index keeps."""

    column: Column[Any]
    operator: str
    value: int | float

    def accepts(self, values: Mapping[str, Any]) -> bool:
        found = values.get(self.column.name)
        if found is None:
            return False
        left, right = as_double(found), as_double(self.value)
        match self.operator:
            case "==":
                return left == right
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case _:
                return left >= right


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pattern(_Named):
    """The text, or one of the texts, begins with, ends with, contains or fits `value`."""

    column: Column[Any]
    how: str
    """``prefix``, ``suffix``, ``contains`` or ``glob``."""
    value: str

    def accepts(self, values: Mapping[str, Any]) -> bool:
        found = values.get(self.column.name)
        if found is None:
            return False
        if self.column.kind == "texts":
            return any(self.fits(text) for text in found)
        return self.fits(found)

    def fits(self, text: str) -> bool:
        """Whether one text fits."""
        match self.how:
            case "prefix":
                return text.startswith(self.value)
            case "suffix":
                return text.endswith(self.value)
            case "contains":
                return self.value in text
            case _:
                return _glob(self.value).fullmatch(text) is not None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Words(_Named):
    """The running text has these words."""

    column: Column[Any]
    query: WordQuery

    @classmethod
    def of(cls, column: Column[Any], text: str) -> Words:
        """Parse what a user typed; `QueryError` where it holds no word."""
        return cls(column, WordQuery.parse(text))

    def accepts(self, values: Mapping[str, Any]) -> bool:
        words = values.get(self.column.name)
        if words is None and self.column.name not in values:
            raise _no_words(self.column)
        return self.query.accepts(words or ())


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Missing(_Named):
    """There is no value."""

    column: Column[Any]

    def accepts(self, values: Mapping[str, Any]) -> bool:
        found = values.get(self.column.name)
        if found is None and self.column.kind == "words" and self.column.name not in values:
            raise _no_words(self.column)
        return found is None or (self.column.kind in ("texts", "words") and not found)


@dataclass(frozen=True, slots=True, repr=False)
class And(Expression):
    """All parts are true."""

    parts: tuple[Expression, ...]

    def accepts(self, values: Mapping[str, Any]) -> bool:
        return all(part.accepts(values) for part in self.parts)

    def inner(self) -> tuple[Expression, ...]:
        return self.parts


@dataclass(frozen=True, slots=True, repr=False)
class Or(Expression):
    """At least one part is true; without parts, never."""

    parts: tuple[Expression, ...]

    def accepts(self, values: Mapping[str, Any]) -> bool:
        return any(part.accepts(values) for part in self.parts)

    def inner(self) -> tuple[Expression, ...]:
        return self.parts


@dataclass(frozen=True, slots=True, repr=False)
class Not(Expression):
    """The part is false."""

    part: Expression

    def accepts(self, values: Mapping[str, Any]) -> bool:
        return not self.part.accepts(values)

    def inner(self) -> tuple[Expression, ...]:
        return (self.part,)

    def __invert__(self) -> Expression:
        return self.part


NOTHING = Or(())
"""True for no document."""


def every_run() -> Expression:
    """The explicit filter that every document meets."""
    return Everything()


def all_of(parts: Sequence[Expression]) -> Expression:
    """True where all parts are; of nothing: true for every document."""
    return _joined(And, parts, Everything())


def any_of(parts: Sequence[Expression]) -> Expression:
    """True where at least one part is; of nothing: true for none."""
    return _joined(Or, parts, NOTHING)


def _joined(kind: type[And] | type[Or], parts: Sequence[Expression], empty: Expression) -> Expression:
    flat: list[Expression] = []
    for part in parts:
        # An empty Or stays: it is a value of its own.
        if isinstance(part, kind) and part.parts:
            flat.extend(part.parts)
        else:
            flat.append(part)
    if not flat:
        return empty
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def as_double(value: float) -> float:
    """The double nearest to a number; infinite where there is none."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


@cache
def _glob(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        else:
            parts.append(re.escape(next(characters, "\\") if character == "\\" else character))
    return re.compile("".join(parts), re.DOTALL)


def _expression(value: Any, operator: Literal["&", "|"]) -> Expression:
    if isinstance(value, Expression):
        return value
    from relay_models.query.language.redis_om import is_redis_om, translate

    if is_redis_om(value):
        return translate(value)
    raise QueryError(
        f"{operator} joins expressions, and {value!r} is none; put each comparison in parentheses: "
        f"(a == 1) {operator} (b == 2)"
    )


def _no_words(column: Column[Any]) -> QueryError:
    return QueryError(f"{column!r} cannot be matched here: the record, which has the words, was not fetched")


def _values_of(run: Any, words: bool) -> Mapping[str, Any]:
    if isinstance(run, Mapping):
        return run
    stored = getattr(run, "stored_values", None)
    if stored is not None:
        values = dict(stored())
        if words and (found := run.words()) is not None:
            values["text"] = found
        return values
    from relay_models.documents.run_columns import run_columns, run_words

    values = run_columns(run)
    return {**values, "text": run_words(run)} if words else values


def values_of(expressions: Iterable[Expression]) -> set[str]:
    """Names of the columns that expressions mention."""
    return {node.column.name for expression in expressions for node in expression.walk() if isinstance(node, _Named)}
