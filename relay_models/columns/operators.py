"""`operator`: declares a method of `Column` as an operator, with the kinds it applies to and its text.

`OPERATORS` is made of these declarations. The messages, the parser of the filter language and the tables of the
manual read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, TypeVar, cast

from relay_models.columns.info import ColumnInfo
from relay_models.columns.kind import NUMERIC, Kind
from relay_models.errors import UnsupportedOperatorError

__all__ = ["ALL_KINDS", "COMPARABLE", "OPERATORS", "TEXTUAL", "Operator", "operator", "operator_for", "refused"]

TEXTUAL = frozenset({Kind.TAG, Kind.TAGS})
"""The kinds that are stored as exact texts."""
ALL_KINDS = frozenset(Kind)
COMPARABLE = TEXTUAL | NUMERIC
"""The kinds that are compared with a value."""

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of columns.

    Args:
        method: the method of `Column`.
        python: how it is written in Python.
        texts: how it is written in the filter language, the usual way first; none where it has no text of its own.
        kinds: the kinds of columns that have it.
        about: what it means, for the manual.
        example: a filter with it, for the manual.
    """

    method: str
    python: str
    texts: tuple[str, ...]
    kinds: frozenset[Kind]
    about: str
    example: str


OPERATORS: dict[str, Operator] = {}
"""All operators by their methods, in the order of their declaration."""


def operator(
    python: str, *texts: str, kinds: Iterable[Kind], about: str, example: str = ""
) -> Callable[[Method], Method]:
    """Declare a method of `Column` as an operator; called on a column of another kind, it raises.

    Args:
        python: how it is written in Python.
        texts: how it is written in the filter language.
        kinds: the kinds of columns that have it.
        about: what it means, for the manual.
        example: a filter with it, for the manual.
    """

    def declare(method: Method) -> Method:
        declared = Operator(method.__name__, python, texts, frozenset(kinds), about, example)
        OPERATORS[method.__name__] = declared

        @wraps(method)
        def checked(self: ColumnInfo, *arguments: Any) -> Any:
            if self.kind not in declared.kinds:
                raise refused(self, python.partition(" ")[0])
            return method(self, *arguments)

        return cast(Method, checked)

    return declare


@cache
def operator_for(kind: Kind, text: str) -> Operator | None:
    """The operator that a text of the filter language is on columns of a kind; None where they have none."""
    return next((found for found in OPERATORS.values() if text in found.texts and kind in found.kinds), None)


def refused(column: ColumnInfo, name: str, *, in_text: bool = False) -> UnsupportedOperatorError:
    """The error for an operator that a column does not have: it lists those that it has.

    Args:
        column: the column.
        name: the operator, as it was written.
        in_text: whether it was written in the filter language.
    """
    has = [
        (known.texts[0] if in_text else known.python)
        for known in OPERATORS.values()
        if column.kind in known.kinds and (known.texts or not in_text)
    ]
    who = column.name if in_text else repr(column)
    return UnsupportedOperatorError(f"{who} ({column.kind}) has no operator {name}; it has {', '.join(has)}")
