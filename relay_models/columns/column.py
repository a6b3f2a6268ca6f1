"""`Column`: a column of a document, what it holds, and the operators that make expressions of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from relay_models.columns import expressions as ast
from relay_models.columns.values import plain_value, tag_value
from relay_models.errors import UnsupportedOperatorError

if TYPE_CHECKING:
    from relay_models.columns.expressions import Expression

__all__ = ["Column", "Kind"]

T = TypeVar("T")


class Kind(StrEnum):
    """What a column holds, and so which operators it has."""

    TAG = "text"
    """One exact text."""
    TAGS = "texts"
    """A set of exact texts, sorted; empty where there are none."""
    COUNT = "count"
    """An integer from 0 on."""
    NUMBER = "number"
    """A float."""
    TIME = "time"
    """An instant: stored as epoch microseconds (UTC), read as an aware datetime."""
    DURATION = "duration"
    """Stored as microseconds, read as a timedelta."""
    WORDS = "words"
    """Words of running text, searched and never read."""


_COMPARED = "==, !=, <, <=, >, >=, in_, not_in, between, missing, present"
OPERATORS = {
    Kind.TAG: "==, !=, in_ (<<), not_in (>>), startswith, endswith, contains, like, missing, present",
    Kind.TAGS: "==, contains (both: has the text), !=, contains_any (<<), contains_all, not_in (>>), startswith, "
    "endswith, like, missing, present",
    Kind.COUNT: _COMPARED,
    Kind.NUMBER: _COMPARED,
    Kind.TIME: _COMPARED,
    Kind.DURATION: _COMPARED,
    Kind.WORDS: "matches (%), missing, present",
}
_ORDERED = frozenset({Kind.COUNT, Kind.NUMBER, Kind.TIME, Kind.DURATION})


class Column(Generic[T]):
    """A column of a document type; on the class (``Run.duration``) it makes expressions, on an object it is the value.

    Written as a field's annotation, ``Column[timedelta | None]`` is the plain type at run time, and for a type
    checker a column on the class and a ``timedelta | None`` on an object.

    Args:
        name: as in the document, in results and in the filter language.
        kind: what it holds.
        about: one line of meaning, and where the value comes from.
        unit: of the stored number.
        nullable: there may be no value.
        choices: all texts there are, where they are few and known.
        document: name of the document type, for messages.
    """

    __slots__ = ("about", "choices", "document", "kind", "name", "nullable", "unit")

    def __init__(
        self,
        name: str,
        kind: Kind,
        about: str = "",
        *,
        unit: str = "",
        nullable: bool = False,
        choices: tuple[str, ...] = (),
        document: str = "Run",
    ) -> None:
        self.name = name
        self.kind = kind
        self.about = about
        self.unit = unit
        self.nullable = nullable
        self.choices = choices
        self.document = document

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Column[T]: ...
        @overload
        def __get__(self, instance: object, owner: type) -> T: ...
        def __get__(self, instance: object, owner: type) -> Any: ...
        def __set__(self, instance: object, value: T) -> None: ...

    else:

        def __class_getitem__(cls, item):
            return item

    @property
    def path(self) -> str:
        """Where the values are in the JSON document, as the index reads them."""
        return f"$.{self.name}[*]" if self.kind is Kind.TAGS else f"$.{self.name}"

    @property
    def ordered(self) -> bool:
        """It holds numbers: it can be compared, sorted and summed."""
        return self.kind in _ORDERED

    def __repr__(self) -> str:
        return f"{self.document}.{self.name}"

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Expression:  # type: ignore[override]
        """Equal; for a column of several texts: one of them is `other`. ``== None`` is `missing`."""
        if other is None:
            return self.missing()
        if self.kind in (Kind.TAG, Kind.TAGS):
            return ast.Equal(self, tag_value(self, other, "=="))
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Expression:  # type: ignore[override]
        """Not `==`, so also true where there is no value."""
        return ast.Not(self == other)

    def __lt__(self, other: Any) -> Expression:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Expression:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Expression:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Expression:
        return self._compare(">=", other)

    def __neg__(self) -> str:
        """For ``order_by``: by this column, from the greatest."""
        return f"-{self.name}"

    def between(self, low: Any, high: Any) -> Expression:
        """At least `low` and at most `high`."""
        return self._compare(">=", low) & self._compare("<=", high)

    def in_(self, values: Iterable[Any]) -> Expression:
        """Equal to one of `values`; for a column of several texts: one of them is. No values: true for none."""
        if isinstance(values, str | bytes):
            raise self._refused("in_", f"takes several values: in_([{values!r}])")
        return ast.any_of([self == value for value in values])

    def not_in(self, values: Iterable[Any]) -> Expression:
        """Not `in_`."""
        return ~self.in_(values)

    __lshift__ = in_
    __rshift__ = not_in

    def contains(self, value: Any) -> Expression:
        """A column of several texts has `value`; a column of one text has it somewhere inside."""
        if self.kind is Kind.TAGS:
            return ast.Equal(self, tag_value(self, value, "contains"))
        return self._pattern("contains", "contains", value)

    def contains_any(self, values: Iterable[Any]) -> Expression:
        """At least one of `values` is in the column. No values: true for none."""
        self._only("contains_any", Kind.TAGS)
        return self.in_(values)

    def contains_all(self, values: Iterable[Any]) -> Expression:
        """Each of `values` is in the column. No values: true for all."""
        self._only("contains_all", Kind.TAGS)
        if isinstance(values, str | bytes):
            raise self._refused("contains_all", f"takes several values: contains_all([{values!r}])")
        return ast.all_of([self == value for value in values])

    def startswith(self, value: Any) -> Expression:
        """The text, or one of the texts, begins with `value`."""
        return self._pattern("startswith", "prefix", value)

    def endswith(self, value: Any) -> Expression:
        """The text, or one of the texts, ends with `value`."""
        return self._pattern("endswith", "suffix", value)

    def like(self, value: Any) -> Expression:
        """The text, or one of them, fits a pattern: ``*`` is any characters, ``?`` any one.

        A backslash takes the next character as it is.
        """
        return self._pattern("like", "glob", value)

    def matches(self, words: str) -> Expression:
        """The running text has all these words; ``"quoted words"`` as a phrase; ``word*`` any word that begins so.

        Case, punctuation and accents written as combining marks do not count.
        """
        self._only("matches", Kind.WORDS)
        return ast.Words.of(self, words)

    def __mod__(self, other: Any) -> Expression:
        return self.matches(other) if self.kind is Kind.WORDS else self.like(other)

    def missing(self) -> Expression:
        """There is no value (no text, for a column of several)."""
        return ast.Missing(self)

    def present(self) -> Expression:
        """There is a value."""
        return ~self.missing()

    def _compare(self, operator: str, value: Any) -> Expression:
        self._only(operator, *_ORDERED)
        if value is None:
            raise self._refused(operator, "does not take None: use missing() or present()")
        return plain_value(self, operator, value)

    def _pattern(self, operator: str, how: str, value: Any) -> Expression:
        self._only(operator, Kind.TAG, Kind.TAGS)
        return ast.Pattern(self, how, tag_value(self, value, operator))

    def _only(self, operator: str, *kinds: Kind) -> None:
        if self.kind not in kinds:
            raise self._refused(operator)

    def _refused(self, operator: str, why: str = "") -> UnsupportedOperatorError:
        if why:
            return UnsupportedOperatorError(f"{self!r}: {operator} {why}")
        return UnsupportedOperatorError(
            f"{self!r} ({self.kind}) has no operator {operator}; it has {OPERATORS[self.kind]}"
        )
