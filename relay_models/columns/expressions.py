"""`Expression`: the tree of a condition over columns, its meaning in plain Python, and its text.

What a node means, how it is written and how it is visited is declared on its class. A new class is complete when it
has all abstract methods, and a `Visitor` when it has one for each class: mypy finds what is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from relay_models._checks import shown
from relay_models._glob import Glob
from relay_models._time import print_duration, print_instant
from relay_models.columns.info import ColumnInfo
from relay_models.columns.kind import Kind
from relay_models.columns.words import WordQuery
from relay_models.errors import QueryError

__all__ = [
    "NOTHING",
    "And",
    "Compare",
    "Condition",
    "Contains",
    "EndsWith",
    "Equal",
    "Everything",
    "Expression",
    "Like",
    "Matchable",
    "Missing",
    "Not",
    "Or",
    "Pattern",
    "StartsWith",
    "Visitor",
    "Words",
    "all_of",
    "any_of",
    "as_double",
    "every_run",
    "quote",
    "values_of",
]

Result = TypeVar("Result")

Values = Mapping[str, Any]
"""Stored values by column name; None or no entry is no value."""


@runtime_checkable
class Matchable(Protocol):
    """What an expression can be applied to: a document."""

    def matched_values(self, names: Collection[str]) -> Values:
        """The stored values of at least these columns."""


class Expression(ABC):
    """A condition that a document meets or not; combine with ``&``, ``|`` and ``~``.

    A comparison with a column that has no value is false, and its negation true: ``~(Run.cost > 1)`` also finds the
    runs whose cost is unknown. Printed, it is text of the filter language that parses to the same expression.
    """

    __slots__ = ()

    def __and__(self, other: Any) -> Expression:
        return all_of([self, _operand(other, "&")])

    def __rand__(self, other: Any) -> Expression:
        return all_of([_operand(other, "&"), self])

    def __or__(self, other: Any) -> Expression:
        return any_of([self, _operand(other, "|")])

    def __ror__(self, other: Any) -> Expression:
        return any_of([_operand(other, "|"), self])

    def __invert__(self) -> Expression:
        return Not(self)

    def __bool__(self) -> bool:
        raise QueryError(
            "an expression is neither true nor false: combine expressions with &, | and ~ (each in parentheses), "
            "not with 'and', 'or', 'not' or a chain such as 1 < column < 2"
        )

    def matches(self, item: Matchable | Values) -> bool:
        """Whether an item meets the condition, in plain Python.

        Args:
            item: a document such as `Run`, or a mapping of column names to stored values (times and durations in
                microseconds, lists for columns of several texts). For a record, give ``Run.of(record)``.

        Raises:
            QueryError: it is neither, or the condition is about words and the document was read without its record.
        """
        if isinstance(item, Mapping):
            return self.accepts(item)
        if isinstance(item, Matchable):
            return self.accepts(item.matched_values({node.column.stored_in for node in self.conditions()}))
        raise QueryError(
            f"an expression is matched against a document or a mapping of stored values, not {type(item).__name__}; "
            "the document of a RunRecord is Run.of(record)"
        )

    @abstractmethod
    def accepts(self, values: Values) -> bool:
        """`matches`, over stored values."""

    @abstractmethod
    def visit(self, visitor: Visitor[Result]) -> Result:
        """Call the visitor's method for this class."""

    @abstractmethod
    def text(self, outer: int = 0) -> str:
        """The text of the filter language; in parentheses where the node around it binds tighter (`outer`)."""

    def negated_text(self) -> str:
        """The text of the negation."""
        return f"not {self.text(_NOT)}"

    def inner(self) -> tuple[Expression, ...]:
        """The expressions that this one joins or negates."""
        return ()

    def walk(self) -> Iterator[Expression]:
        """This node and all below it."""
        waiting: list[Expression] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.inner())

    def conditions(self) -> Iterator[Condition]:
        """The conditions in it, each about one column."""
        return (node for node in self.walk() if isinstance(node, Condition))

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<{self}>"


class Visitor(ABC, Generic[Result]):
    """What is done with the nodes of an expression: one method for each class of nodes."""

    @abstractmethod
    def everything(self, node: Everything) -> Result: ...
    @abstractmethod
    def equal(self, node: Equal) -> Result: ...
    @abstractmethod
    def compare(self, node: Compare) -> Result: ...
    @abstractmethod
    def pattern(self, node: Pattern) -> Result: ...
    @abstractmethod
    def words(self, node: Words) -> Result: ...
    @abstractmethod
    def missing(self, node: Missing) -> Result: ...
    @abstractmethod
    def conjunction(self, node: And) -> Result: ...
    @abstractmethod
    def disjunction(self, node: Or) -> Result: ...
    @abstractmethod
    def negation(self, node: Not) -> Result: ...


@dataclass(frozen=True, slots=True, repr=False)
class Everything(Expression):
    """True for every document."""

    def accepts(self, values: Values) -> bool:
        return True

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.everything(self)

    def text(self, outer: int = 0) -> str:
        return "all"


class Condition(Expression):
    """A condition on one column; equal to the same condition on the column of the same name."""

    __slots__ = ()
    column: ColumnInfo

    def _identity(self) -> tuple[Any, ...]:
        return tuple(
            value.name if name == "column" else value
            for name, value in ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), self._identity()))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Equal(Condition):
    """The text, or one of the texts, is exactly `value`."""

    column: ColumnInfo
    value: str

    def accepts(self, values: Values) -> bool:
        found = self.column.read(values)
        if found is None:
            return False
        return self.value in found if self.column.kind is Kind.TAGS else bool(self.value == found)

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.equal(self)

    def text(self, outer: int = 0) -> str:
        return f"{self.column.name} = {quote(self.value)}"

    def negated_text(self) -> str:
        return f"{self.column.name} != {quote(self.value)}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Compare(Condition):
    """A number against a value, as the doubles that the index keeps."""

    column: ColumnInfo
    operator: str
    value: int | float

    def accepts(self, values: Values) -> bool:
        found = self.column.read(values)
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

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.compare(self)

    def text(self, outer: int = 0) -> str:
        return self._written("=" if self.operator == "==" else self.operator)

    def negated_text(self) -> str:
        return self._written("!=") if self.operator == "==" else f"not {self.text()}"

    def _written(self, sign: str) -> str:
        match self.column.kind:
            case Kind.TIME:
                value = print_instant(self.value)
            case Kind.DURATION:
                value = print_duration(self.value)
            case _:
                value = repr(self.value)
        return f"{self.column.name} {sign} {value}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pattern(Condition):
    """The text, or one of the texts, fits `value`; what that means is said by the subclass.

    A server expands patterns to 200 values and drops the rest silently. So a query lists the values that fit, and all
    patterns compile in the same way.
    """

    column: ColumnInfo
    value: str

    verb: ClassVar[str]
    """How it is written in the filter language."""

    @abstractmethod
    def fits(self, text: str) -> bool:
        """Whether one text fits."""

    @property
    def fits_all(self) -> bool:
        """Whether every text fits."""
        return not self.value

    @property
    def prefix(self) -> str:
        """What all texts begin with that fit."""
        return ""

    def accepts(self, values: Values) -> bool:
        found = self.column.read(values)
        if found is None:
            return False
        return any(map(self.fits, found)) if self.column.kind is Kind.TAGS else self.fits(found)

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.pattern(self)

    def text(self, outer: int = 0) -> str:
        return f"{self.column.name} {self.verb} {quote(self.value)}"

    def negated_text(self) -> str:
        return f"{self.column.name} not {self.verb} {quote(self.value)}"


class StartsWith(Pattern):
    """It begins with `value`."""

    __slots__ = ()
    verb = "startswith"

    def fits(self, text: str) -> bool:
        return text.startswith(self.value)

    @property
    def prefix(self) -> str:
        return self.value


class EndsWith(Pattern):
    """It ends with `value`."""

    __slots__ = ()
    verb = "endswith"

    def fits(self, text: str) -> bool:
        return text.endswith(self.value)


class Contains(Pattern):
    """`value` is a part of it."""

    __slots__ = ()
    verb = "contains"

    def fits(self, text: str) -> bool:
        return self.value in text


class Like(Pattern):
    """It fits `value`, a pattern in which ``*`` is any characters and ``?`` any one."""

    __slots__ = ()
    verb = "~"

    def fits(self, text: str) -> bool:
        return Glob.of(self.value).fits(text)

    @property
    def fits_all(self) -> bool:
        return bool(self.value) and not self.value.strip("*")

    def negated_text(self) -> str:
        return f"{self.column.name} !~ {quote(self.value)}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Words(Condition):
    """The running text has these words."""

    column: ColumnInfo
    query: WordQuery

    @classmethod
    def of(cls, column: ColumnInfo, text: str) -> Words:
        """Parse what a user typed; `QueryError` where it holds no word."""
        return cls(column, WordQuery.parse(text))

    def accepts(self, values: Values) -> bool:
        return self.query.accepts(_words_in(values, self.column) or ())

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.words(self)

    def text(self, outer: int = 0) -> str:
        return f"{self.column.name} ~ {quote(self.query.text)}"

    def negated_text(self) -> str:
        return f"{self.column.name} !~ {quote(self.query.text)}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Missing(Condition):
    """There is no value."""

    column: ColumnInfo

    def accepts(self, values: Values) -> bool:
        if self.column.kind is Kind.WORDS:
            return not _words_in(values, self.column)
        found = self.column.read(values)
        return found is None or (self.column.kind in (Kind.TAGS, Kind.SCORES) and not found)

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.missing(self)

    def text(self, outer: int = 0) -> str:
        return f"{self.column.name} is missing"

    def negated_text(self) -> str:
        return f"{self.column.name} is present"


# How tightly a node binds: a node inside another that binds tighter is put into parentheses.
_OR, _AND, _NOT = 1, 2, 3


@dataclass(frozen=True, slots=True, repr=False)
class And(Expression):
    """All parts are true."""

    parts: tuple[Expression, ...]

    def accepts(self, values: Values) -> bool:
        return all(part.accepts(values) for part in self.parts)

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.conjunction(self)

    def text(self, outer: int = 0) -> str:
        return _group(" and ".join(part.text(_AND) for part in self.parts), outer >= _AND)

    def inner(self) -> tuple[Expression, ...]:
        return self.parts


@dataclass(frozen=True, slots=True, repr=False)
class Or(Expression):
    """At least one part is true; without parts, never."""

    parts: tuple[Expression, ...]

    def accepts(self, values: Values) -> bool:
        return any(part.accepts(values) for part in self.parts)

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.disjunction(self)

    def text(self, outer: int = 0) -> str:
        if not self.parts:
            return "none"
        return self._one_of("in") or _group(" or ".join(part.text(_OR) for part in self.parts), outer >= _OR)

    def negated_text(self) -> str:
        return self._one_of("not in") or f"not {self.text(_NOT)}"

    def _one_of(self, operator: str) -> str:
        """Equality with several texts of one column as ``column in (…)``; empty for anything else."""
        texts = [part.value for part in self.parts if isinstance(part, Equal)]
        names = {part.column.name for part in self.parts if isinstance(part, Equal)}
        if len(names) != 1 or not 2 <= len(texts) == len(self.parts):
            return ""
        return f"{names.pop()} {operator} ({', '.join(map(quote, texts))})"

    def inner(self) -> tuple[Expression, ...]:
        return self.parts


@dataclass(frozen=True, slots=True, repr=False)
class Not(Expression):
    """The part is false."""

    part: Expression

    def accepts(self, values: Values) -> bool:
        return not self.part.accepts(values)

    def visit(self, visitor: Visitor[Result]) -> Result:
        return visitor.negation(self)

    def text(self, outer: int = 0) -> str:
        return self.part.negated_text()

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


def values_of(expressions: Iterable[Expression]) -> set[str]:
    """Names of the columns that expressions mention."""
    return {node.column.name for expression in expressions for node in expression.conditions()}


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def quote(text: str) -> str:
    """A text as a quoted value of the filter language; what cannot be seen is written as its code."""
    if text.isalnum():
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text) + '"'


def _group(text: str, needed: bool) -> str:
    return f"({text})" if needed else text


def _operand(value: Any, operator: Literal["&", "|"]) -> Expression:
    if isinstance(value, Expression):
        return value
    if type(value).__module__.startswith("redis_om"):
        raise QueryError(
            f"{operator} does not join our expressions with redis-om's: "
            + (
                "give both in a list, [a, b], which is true where both are"
                if operator == "&"
                else "write the condition with our columns, such as Run.agent_id"
            )
        )
    raise QueryError(
        f"{operator} joins expressions, and {shown(value)} is none; put each comparison in parentheses: "
        f"(a == 1) {operator} (b == 2)"
    )


def _words_in(values: Values, column: ColumnInfo) -> Any:
    if column.name not in values:
        raise QueryError(f"{column!r} cannot be matched here: the record, which has the words, was not fetched")
    return values[column.name]
