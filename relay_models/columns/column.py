"""`Column`: a column of a document type, with the operators that make expressions of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, overload

from relay_models.columns import expressions as ast
from relay_models.columns.expressions import Expression
from relay_models.columns.info import ColumnInfo, Origin, find_column
from relay_models.columns.kind import NUMERIC, Kind
from relay_models.columns.operators import ALL_KINDS, COMPARABLE, OPERATORS, TEXTUAL, operator, operator_for
from relay_models.columns.values import bounds_of, tag_value
from relay_models.errors import UnsupportedOperatorError

__all__ = ["COLUMN", "OPERATORS", "Column", "Kind", "Origin", "find_column", "operator_for"]

T = TypeVar("T")

COLUMN = "relay_models column"
"""Marks, in the metadata of a field, that its annotation is ``Column[…]``."""


class Column(ColumnInfo, Generic[T]):
    """A column of a document type; on the class (``Run.duration``) it makes expressions, on an object it is the value.

    Written as a field's annotation, ``Column[timedelta | None]`` is the plain type at run time, and for a type
    checker a column on the class and a ``timedelta | None`` on an object.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Column[T]: ...
        @overload
        def __get__(self, instance: object, owner: type) -> T: ...
        def __get__(self, instance: object, owner: type) -> Any: ...
        def __set__(self, instance: object, value: T) -> None: ...

    else:

        def __class_getitem__(cls, item):
            return Annotated[item, COLUMN]

        def __get__(self, instance, owner):
            # While a document class is made, a column of a base would be taken for the default of the field.
            if instance is None and "_columns" not in vars(owner) and hasattr(owner, "_columns"):
                raise AttributeError(self.name)
            return self

    __hash__ = object.__hash__

    @operator("==", "=", "==", kinds=COMPARABLE, about="is exactly this; of several texts, one is",
              example="agent = planner")  # fmt: skip
    def __eq__(self, other: Any) -> Expression:  # type: ignore[override]
        """Equal; for a column of several texts: one of them is `other`. ``== None`` is `missing`."""
        if other is None:
            return self.missing()
        if self.kind in TEXTUAL:
            return ast.Equal(self, tag_value(self, other, "=="))
        return self._compare("==", other)

    @operator("!=", "!=", "<>", kinds=COMPARABLE, about="is not; also where there is no value",
              example="agent != planner")  # fmt: skip
    def __ne__(self, other: Any) -> Expression:  # type: ignore[override]
        """Not `==`, so also true where there is no value."""
        return ast.Not(self == other)

    @operator("<", "<", kinds=NUMERIC, about="is less", example="cost < 0.5")
    def __lt__(self, other: Any) -> Expression:
        return self._compare("<", other)

    @operator("<=", "<=", kinds=NUMERIC, about="is at most", example="calls <= 3")
    def __le__(self, other: Any) -> Expression:
        return self._compare("<=", other)

    @operator(">", ">", kinds=NUMERIC, about="is greater", example="duration > 2s")
    def __gt__(self, other: Any) -> Expression:
        return self._compare(">", other)

    @operator(">=", ">=", kinds=NUMERIC, about="is at least", example="started >= -24h")
    def __ge__(self, other: Any) -> Expression:
        return self._compare(">=", other)

    @operator("in_ (<<)", "in", kinds=COMPARABLE, about="is one of several", example='model in (gpt-4.1, "o4-mini")')
    def in_(self, values: Iterable[Any]) -> Expression:
        """Equal to one of `values`; for a column of several texts: one of them is. No values: true for none."""
        return ast.any_of([self == value for value in self._several("in_", values)])

    @operator("not_in (>>)", "not in", kinds=COMPARABLE, about="is none of several", example="model not in (gpt-4.1)")
    def not_in(self, values: Iterable[Any]) -> Expression:
        """Not `in_`."""
        return ~self.in_(values)

    @operator("between", "between", kinds=NUMERIC, about="is at least the one and at most the other",
              example="duration between 100ms and 1m30s")  # fmt: skip
    def between(self, low: Any, high: Any) -> Expression:
        """At least `low` and at most `high`."""
        return self._compare(">=", low) & self._compare("<=", high)

    @operator("has", "has", kinds={Kind.TAGS}, about="one of the texts is exactly this", example="tools has search")
    def has(self, value: Any) -> Expression:
        """One of the texts is exactly `value`."""
        return ast.Equal(self, tag_value(self, value, "=="))

    @operator("has_any", "has any", kinds={Kind.TAGS}, about="one of the texts is one of these",
              example="tools has any (search, calculator)")  # fmt: skip
    def has_any(self, values: Iterable[Any]) -> Expression:
        """At least one of `values` is in the column. No values: true for none."""
        return ast.any_of([self.has(value) for value in self._several("has_any", values)])

    @operator("has_all", "has all", kinds={Kind.TAGS}, about="each of these is one of the texts",
              example="tools has all (search, calculator)")  # fmt: skip
    def has_all(self, values: Iterable[Any]) -> Expression:
        """Each of `values` is in the column. No values: true for all."""
        return ast.all_of([self.has(value) for value in self._several("has_all", values)])

    @operator("has_none", "has none", kinds={Kind.TAGS}, about="none of these is one of the texts",
              example="tools has none (search, calculator)")  # fmt: skip
    def has_none(self, values: Iterable[Any]) -> Expression:
        """None of `values` is in the column. No values: true for all."""
        return ~self.has_any(self._several("has_none", values))

    @operator("contains", "contains", kinds=TEXTUAL, about="the text, or one of them, has this as a part",
              example="tool contains sql")  # fmt: skip
    def contains(self, value: Any) -> Expression:
        """`value` is a part of the text, or of one of the texts."""
        return ast.Contains(self, tag_value(self, value, "contains"))

    @operator("startswith", "startswith", kinds=TEXTUAL, about="the text, or one of them, begins with this",
              example="tool startswith sql")  # fmt: skip
    def startswith(self, value: Any) -> Expression:
        """The text, or one of the texts, begins with `value`."""
        return ast.StartsWith(self, tag_value(self, value, "startswith"))

    @operator("endswith", "endswith", kinds=TEXTUAL, about="the text, or one of them, ends with this",
              example="tool endswith query")  # fmt: skip
    def endswith(self, value: Any) -> Expression:
        """The text, or one of the texts, ends with `value`."""
        return ast.EndsWith(self, tag_value(self, value, "endswith"))

    @operator("like (%)", "~", "like", kinds=TEXTUAL,
              about="the text, or one of them, fits a pattern: `*` is any characters, `?` any one",
              example='tool ~ "sql*"')  # fmt: skip
    def like(self, value: Any) -> Expression:
        """The text, or one of them, fits a pattern: ``*`` is any characters, ``?`` any one.

        A backslash takes the next character literally.
        """
        return ast.Like(self, tag_value(self, value, "like"))

    @operator("matches (%)", "~", "matches", "=", "==", kinds={Kind.WORDS},
              about="has all these words; a quoted phrase in this order; `word*` begins so",
              example='text matches "disk full"')  # fmt: skip
    def matches(self, words: str) -> Expression:
        """The running text has all these words; ``"quoted words"`` as a phrase; ``word*`` any word that begins so.

        Case, punctuation and accents written as combining marks do not count.
        """
        return ast.Words.of(self, words)

    @operator("missing", "is missing", kinds=ALL_KINDS, about="there is no value (also `is null`, `is empty`)",
              example="cost is missing")  # fmt: skip
    def missing(self) -> Expression:
        """There is no value (no text, for a column of several)."""
        return ast.Missing(self)

    @operator("present", "is present", kinds=ALL_KINDS, about="there is a value", example="ended is present")
    def present(self) -> Expression:
        """There is a value."""
        return ~self.missing()

    __lshift__ = in_
    __rshift__ = not_in

    def __mod__(self, other: Any) -> Expression:
        return self.matches(other) if self.kind is Kind.WORDS else self.like(other)

    def __neg__(self) -> str:
        """For ``order_by``: by this column, from the greatest."""
        return f"-{self.name}"

    def _compare(self, sign: str, value: Any) -> Expression:
        if value is None:
            raise self._takes(sign, "does not take None: use missing() or present()")
        return ast.all_of([ast.Compare(self, *bound) for bound in bounds_of(self, sign, value)])

    def _several(self, name: str, values: Iterable[Any]) -> list[Any]:
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise self._takes(name, f"takes several values: {name}([{values!r}])")
        return list(values)

    def _takes(self, name: str, what: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(f"{self!r}: {name} {what}")
