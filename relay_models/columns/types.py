"""`column_type`: what the annotation of a column means to the index, and how its values are stored and read."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

from typing_extensions import TypeAliasType

from relay_models._time import datetime_of, microseconds_of
from relay_models.columns.kind import Kind
from relay_models.errors import InvalidConfigurationError

__all__ = ["GREATEST_INTEGER", "LEAST_INTEGER", "ColumnType", "as_stored", "column_type", "rounded"]

_INDEXABLE = (
    "str, bool, int, float, Decimal, UUID, datetime, date, timedelta, an Enum or a Literal of texts, a list or a set "
    "of texts, any of them or None, and with text=True running text that is searched by its words"
)
_COLLECTIONS: tuple[type, ...] = (list, set, frozenset, tuple)


# Integers that RedisJSON keeps; others become the nearest double.
LEAST_INTEGER, GREATEST_INTEGER = -(2**63), 2**64 - 1


def as_stored(value: Any) -> Any:
    """A value that is stored as it is."""
    return value


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What an annotation means to the index.

    Args:
        kind: what the column holds.
        python: the type of its values, without None.
        nullable: there may be no value.
        choices: all texts there are, where they are few and known.
        members: the values of an enum by the names of its members, aliases too.
        is_uuid: the texts are UUIDs.
        store: from a value, which is not None, to what is stored.
        load: from what is stored, which is not None, to a value; None where they are the same.
        empty: makes the value of a document that has none, for collections.
        item: the type of the items, for collections.
    """

    kind: Kind
    python: Any = str
    nullable: bool = False
    choices: tuple[str, ...] = ()
    members: Mapping[str, str | int] = field(default_factory=dict, compare=False)
    is_uuid: bool = False
    store: Callable[[Any], Any] = as_stored
    load: Callable[[Any], Any] | None = None
    empty: Callable[[], Any] | None = None
    item: ColumnType | None = None

    def checked(self, stored: Any) -> Any:
        """A stored value that a user's function gave, if the index takes such.

        Raises:
            ValueError: the index would refuse it, and with it the document.
        """
        if not _FITS.get(self.kind, _is_integer)(stored):
            raise ValueError(f"{stored!r} is no {getattr(self.python, '__name__', self.python)} that an index takes")
        return stored


def _is_integer(stored: Any) -> bool:
    return isinstance(stored, int) and not isinstance(stored, bool)


# What an index takes, by what a column holds; integers for all other kinds.
_FITS: dict[Kind, Callable[[Any], bool]] = {
    Kind.TAG: lambda stored: isinstance(stored, str),
    Kind.TAGS: lambda stored: isinstance(stored, list) and all(isinstance(text, str) for text in stored),
    Kind.NUMBER: lambda stored: (
        isinstance(stored, int | float) and not isinstance(stored, bool) and math.isfinite(stored)
    ),
}


def rounded(value: float) -> float:
    """What a column of floats keeps of one: 15 significant digits, none past the 22nd decimal.

    RedisJSON reads more digits than these inexactly, so that an index would not find a value that has them. It also
    removes what sums leave behind: 0.1 + 0.2 is 0.3.
    """
    if abs(value) < 1e-7:
        return round(value, 22)
    return float(f"{value:.15g}")


def column_type(annotation: Any, *, text: bool = False, is_uuid: bool = False) -> ColumnType:
    """The column type of an annotation.

    Args:
        annotation: such as ``str | None`` or ``list[str]``.
        text: the column is searched by its words.
        is_uuid: a column of texts holds UUIDs as text.

    Raises:
        InvalidConfigurationError: no index has values of that type; the message says which it has.
    """
    annotation, nullable = _without_none(annotation)
    if text:
        return ColumnType(Kind.WORDS, annotation, nullable=True)
    origin = get_origin(annotation)
    if origin is dict and get_args(annotation) == (str, float):
        return ColumnType(Kind.SCORES, annotation, nullable=True, store=dict, empty=dict)
    if origin in _COLLECTIONS:
        return _collection(annotation, origin)
    return _single(annotation, nullable, is_uuid)


def _single(annotation: Any, nullable: bool, is_uuid: bool = False) -> ColumnType:
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        if all(isinstance(choice, str) for choice in choices):
            return ColumnType(Kind.TAG, str, nullable, choices)
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return _enum(annotation, nullable)
        if annotation is str:
            return ColumnType(Kind.TAG, str, nullable, is_uuid=is_uuid)
        found = _SCALARS.get(annotation)
        if found is not None:
            kind, store, load = found
            choices = ("false", "true") if annotation is bool else ()
            is_uuid = annotation is UUID
            return ColumnType(kind, annotation, nullable, choices, is_uuid=is_uuid, store=store, load=load)
    raise _unknown(annotation)


def _collection(annotation: Any, origin: type) -> ColumnType:
    arguments = get_args(annotation)
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        raise _unknown(annotation)
    item = _single(_named(arguments[0]), False)
    if item.kind is not Kind.TAG:
        raise _unknown(annotation)
    store, read = item.store, item.load

    def load(stored: Any) -> Any:
        return origin(stored if read is None else map(read, stored))

    return ColumnType(
        Kind.TAGS,
        annotation,
        nullable=True,
        choices=item.choices,
        members=item.members,
        is_uuid=False,
        store=lambda values: sorted({store(value) for value in values}),
        load=None if origin is list and read is None else load,
        empty=origin,
        item=item,
    )


def _enum(annotation: type[Enum], nullable: bool) -> ColumnType:
    values = [member.value for member in annotation]
    members = {name: member.value for name, member in annotation.__members__.items()}
    if all(isinstance(value, str) for value in values):
        return ColumnType(Kind.TAG, annotation, nullable, tuple(values), members, store=_plain, load=annotation)
    if all(_is_integer(value) and LEAST_INTEGER <= value <= GREATEST_INTEGER for value in values):
        return ColumnType(Kind.COUNT, annotation, nullable, members=members, store=_plain, load=annotation)
    raise InvalidConfigurationError(
        f"the values of {annotation.__name__} are neither all texts nor all integers from -2^63 to 2^64 - 1"
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    annotation = _named(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) == 1:
            return _without_none(parts[0])[0], True
    return annotation, False


def _named(annotation: Any) -> Any:
    """What a `NewType`, a type alias or ``Annotated`` stands for."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        else:
            return annotation


def _unknown(annotation: Any) -> InvalidConfigurationError:
    if isinstance(annotation, TypeVar):
        return InvalidConfigurationError(
            f"a column has one type in the index, and {annotation} is any: declare the column in the subclasses"
        )
    name = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    return InvalidConfigurationError(f"no index has values of the type {name}; it has {_INDEXABLE}")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _store_time(value: Any) -> int:
    if type(value) is datetime and value.tzinfo is UTC:
        return microseconds_of(value)
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise ValueError(f"{value!r} has no time zone")
    microseconds = value if isinstance(value, int) else getattr(value, "microseconds", None)
    return microseconds if isinstance(microseconds, int) else microseconds_of(value)


def _store_date(value: date) -> int:
    return microseconds_of(datetime.combine(value, time(), UTC))


def _store_integer(value: int) -> int:
    if not LEAST_INTEGER <= value <= GREATEST_INTEGER:
        raise ValueError(f"{value} is beyond the integers that are stored, which are from -2^63 to 2^64 - 1")
    return int(value)


def _store_decimal(value: Decimal | float) -> int | float:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a number that can be stored")
        stored = int(value) if value == value.to_integral_value() else rounded(float(value))
        if Decimal(repr(stored)) != value or abs(value) > 2**53:
            raise ValueError(f"{value} has more digits than the index keeps exactly, which are 15")
        return stored
    return value


_SCALARS: dict[type, tuple[Kind, Callable[[Any], Any], Callable[[Any], Any] | None]] = {
    bool: (Kind.TAG, lambda value: "true" if value else "false", lambda stored: stored == "true"),
    UUID: (Kind.TAG, str, UUID),
    int: (Kind.COUNT, _store_integer, None),
    float: (Kind.NUMBER, rounded, float),
    Decimal: (Kind.NUMBER, _store_decimal, lambda stored: Decimal(repr(stored))),
    datetime: (Kind.TIME, _store_time, datetime_of),
    date: (Kind.TIME, _store_date, lambda stored: datetime_of(stored).date()),
    timedelta: (Kind.DURATION, microseconds_of, lambda stored: timedelta(0, 0, stored)),
}
