"""Orders of rows, and places in them: where a page begins, so that it is right whatever is written meanwhile."""

from __future__ import annotations

import base64
import binascii
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from relay_models.columns.column import Column, Kind, find_column
from relay_models.columns.expressions import Compare, Equal, Expression, Missing, any_of, as_double
from relay_models.columns.tags import escape_tag
from relay_models.errors import QueryError, UnknownColumnError
from relay_models.query.compiler import Values
from relay_models.query.tag_values import is_hexadecimal

__all__ = ["Order", "Place", "by_groups"]


@dataclass(frozen=True, slots=True)
class Order:
    """By which column rows are sorted; ties by run id (or agent) ascending, rows without a value last."""

    column: Column[Any]
    descending: bool

    @classmethod
    def parse(cls, text: Any, columns: dict[str, Column[Any]]) -> Order:
        """Read ``"started_at"``, ``"-started_at"`` or ``"started_at desc"`` (descending), or ``Run.started_at``.

        The short names of the filter language are welcome, too.

        Raises:
            UnknownColumnError: there is no such column.
            QueryError: it is a column that rows cannot be sorted by.
        """
        name = text.name if isinstance(text, Column) else text
        if not isinstance(name, str):
            raise QueryError(f"order_by is the name of a column, with - in front for descending, not {text!r}")
        words = name.strip().lstrip("+-").split()
        descending = name.strip().startswith("-")
        if len(words) == 2 and words[1].lower() in ("asc", "desc"):
            descending = descending != (words.pop().lower() == "desc")
        short = " ".join(words)
        column = find_column(columns, short)
        sortable = [known.name for known in columns.values() if known.ordered or known.kind is Kind.TAG]
        if column is None:
            raise UnknownColumnError(f"order_by: there is no column {name!r}; rows are sorted by {', '.join(sortable)}")
        if column.name not in sortable:
            raise QueryError(
                f"order_by: {column!r} ({column.kind}) has no order; rows are sorted by {', '.join(sortable)}"
            )
        return cls(column, descending)

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.column.name}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the order a page begins: in which part of it, and after which row.

    The rows without a value are a part of their own, at the end. Texts have no ranges in an index: where rows are
    sorted by one, those with the text of the last row are a part, and those with the texts beyond it another.
    """

    missing: bool = False
    beyond: bool = False
    value: Any = None
    ties: tuple[str, ...] = ()

    def further(self, order: Order) -> Place | None:
        """The part after this one, if there is any."""
        if self.missing:
            return None
        if self.value is not None and not self.beyond and by_groups(order.column):
            return Place(beyond=True, value=self.value)
        return Place(missing=True) if order.column.nullable else None

    def bounds(self, order: Order, values: Values) -> list[Expression]:
        """What narrows the filter to this part, as far as an index can."""
        column = order.column
        if self.missing:
            return [Missing(column)]
        if self.value is None:
            return [~Missing(column)] if column.nullable else []
        if column.ordered:
            return [Compare(column, "<=" if order.descending else ">=", self.value)]
        if not by_groups(column):
            return []
        if not self.beyond:
            return [Equal(column, self.value)]
        after = operator.lt if order.descending else operator.gt
        place = escape_tag(self.value)
        return [any_of([Equal(column, text) for text in values[column.name] if after(escape_tag(text), place)])]

    def filter(self, order: Order, ties: Sequence[str]) -> list[Any]:
        """``FILTER …``: among rows with the same value, those before the last row's run id are done."""
        if not self.ties or ties[0] != "run_id" or not is_hexadecimal(self.ties[0]):
            return []
        # A document without a run id, which is none of ours, would end the answer with an error.
        there = "exists(@run_id)"
        if order.column.name == "run_id":
            return ["FILTER", f'{there} && (@run_id {"<=" if order.descending else ">="} "{self.ties[0]}")']
        condition = f'@run_id >= "{self.ties[0]}"'
        if order.column.ordered and not self.missing:
            # All digits: conditions know no exponents.
            there += f" && exists(@{order.column.name})"
            condition = f"@{order.column.name} != {Decimal(self.value):f} || {condition}"
        return ["FILTER", f"{there} && ({condition})"]

    def after(self, values: dict[str, Any], order: Order, ties: Sequence[str]) -> Place | None:
        """The place after a row, or None where the row is not after this place."""
        if any(name not in values for name in ties):
            return None
        value = None if self.missing else values.get(order.column.name)
        if isinstance(value, int) and abs(value) >= 2**53:
            # What the index compares is a double.
            value = as_double(value)
        found = Place(self.missing, False, value, tuple(values[tie] for tie in ties))
        if (
            self.ties
            and value == self.value
            and tuple(map(escape_tag, found.ties)) <= tuple(map(escape_tag, self.ties))
        ):
            return None
        return found

    def encode(self, order: Order) -> str:
        """As an opaque text for users."""
        state = to_json([1, str(order), self.missing, self.value, list(self.ties)])
        return base64.urlsafe_b64encode(state).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> Place:
        """Read what `encode` wrote; QueryError where it is something else."""
        kinds = str if order.column.kind is Kind.TAG else (int, float)
        try:
            version, ordered, missing, value, ties = from_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if version != 1 or not isinstance(ties, list) or not all(isinstance(tie, str) for tie in ties):
                raise ValueError(text)
        except (ValueError, TypeError, binascii.Error):
            raise QueryError("after: this is no cursor; pass what a page gave as next") from None
        if ordered != str(order) or not isinstance(value, (type(None),) if missing else kinds):
            raise QueryError(f"after: this cursor is of a query ordered by {ordered!r}, not by {str(order)!r}")
        return cls(bool(missing), False, value, tuple(ties))


def by_groups(column: Column[Any]) -> bool:
    """Rows are sorted by a text that several may share, with characters that no condition of a server can hold."""
    return column.kind is Kind.TAG and not column.is_uuid
