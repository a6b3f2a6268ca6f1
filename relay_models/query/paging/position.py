"""`Position`: a keyset position, where a page begins, so that pages stay right whatever is written between them."""

from __future__ import annotations

import base64
import binascii
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from relay_models._checks import shown
from relay_models.columns.column import Kind
from relay_models.columns.expressions import Compare, Equal, Expression, Missing, any_of, as_double
from relay_models.columns.tags import escape_tag
from relay_models.errors import QueryError
from relay_models.query.compiler import Values
from relay_models.query.order import Order, is_grouped
from relay_models.query.tag_values import is_hexadecimal

__all__ = ["Position"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Position:
    """A row in an order, after which a page begins; by default the beginning of the order.

    The rows without a value are a section of their own, at the end. Texts have no ranges in an index: where rows are
    sorted by one, those with the text of the last row are a section, and those with the texts beyond it another.
    """

    missing: bool = False
    beyond: bool = False
    value: Any = None
    ties: tuple[str, ...] = ()

    def next_section(self, order: Order) -> Position | None:
        """The beginning of the section after this one, if there is one."""
        if self.missing:
            return None
        if self.value is not None and not self.beyond and is_grouped(order.column):
            return Position(beyond=True, value=self.value)
        return Position(missing=True) if order.has_missing else None

    def after_ties(self, order: Order) -> Position | None:
        """The position after all rows that have this one's value."""
        return self.next_section(order) if self.missing else Position(beyond=True, value=self.value)

    def bounds(self, order: Order, values: Values) -> list[Expression]:
        """What narrows the filter to this section, as far as an index can."""
        column = order.column
        if self.missing:
            return [Missing(column)]
        if self.value is None:
            return [~Missing(column)] if order.may_lack_value else []
        if column.ordered:
            reach = "<" if order.descending else ">"
            return [Compare(column, reach if self.beyond else f"{reach}=", self.value)]
        if not is_grouped(column):
            return []
        if not self.beyond:
            return [Equal(column, self.value)]
        after = operator.lt if order.descending else operator.gt
        last = escape_tag(self.value)
        return [any_of([Equal(column, text) for text in values[column.index_name] if after(escape_tag(text), last)])]

    def tied(self, order: Order) -> list[Expression]:
        """What narrows the filter to the rows that have this position's value."""
        column = order.column
        if self.missing:
            return [Missing(column)]
        return [Compare(column, "==", self.value) if column.ordered else Equal(column, self.value)]

    def condition(self, order: Order, ties: Sequence[str]) -> list[Any]:
        """``FILTER …``: rows up to the last one, where the filter cannot say so.

        Among rows with the same value, those up to the last row's run id are done.
        """
        column = order.column
        is_compared = column.is_uuid and column.name not in ties and not self.missing
        if is_compared and self.value and is_hexadecimal(self.value):
            reach = f"{'<' if order.descending else '>'}{'' if self.beyond else '='}"
            return ["FILTER", f'exists(@{column.sort_name}) && (@{column.sort_name} {reach} "{self.value}")']
        if not self.ties or ties[0] != "run_id" or not is_hexadecimal(self.ties[0]):
            return []
        # A document without a run id, which is none of ours, would end the answer with an error.
        there = "exists(@run_id)"
        if order.column.name == "run_id":
            return ["FILTER", f'{there} && (@run_id {"<=" if order.descending else ">="} "{self.ties[0]}")']
        condition = f'@run_id >= "{self.ties[0]}"'
        if order.column.ordered and not self.missing:
            # All digits: conditions know no exponents.
            name = order.column.sort_name
            there += f" && exists(@{name})"
            condition = f"@{name} != {Decimal(self.value):f} || {condition}"
        return ["FILTER", f"{there} && ({condition})"]

    def after(self, values: dict[str, Any], order: Order, ties: Sequence[str]) -> Position | None:
        """The position after a row, or None where the row is not after this position."""
        if any(name not in values for name in ties):
            return None
        value = None if self.missing else order.column.read(values)
        if isinstance(value, int) and abs(value) >= 2**53:
            # What the index compares is a double.
            value = as_double(value)
        found = Position(self.missing, False, value, tuple(values[tie] for tie in ties))
        if order.column.is_uuid and isinstance(value, str) and isinstance(self.value, str) and value != self.value:
            is_later = escape_tag(value) > escape_tag(self.value)
            return found if is_later is not order.descending else None
        if (
            self.ties
            and value == self.value
            and tuple(map(escape_tag, found.ties)) <= tuple(map(escape_tag, self.ties))
        ):
            return None
        return found

    def encode(self, order: Order) -> str:
        """Encode as an opaque cursor for users."""
        state = to_json([_VERSION, str(order), self.missing, self.value, list(self.ties)])
        return base64.urlsafe_b64encode(state).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> Position:
        """Decode what `encode` made.

        Raises:
            QueryError: it is something else, or of a query with another order.
        """
        kinds = str if order.column.kind is Kind.TAG else (int, float)
        try:
            version, ordered, missing, value, ties = from_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if version != _VERSION or not isinstance(ties, list) or not all(isinstance(tie, str) for tie in ties):
                raise ValueError(text)
        except (ValueError, TypeError, AttributeError, binascii.Error):
            raise QueryError("after: this is no cursor; pass the one that the page before gave") from None
        if ordered != str(order) or not isinstance(value, (type(None),) if missing else kinds):
            raise QueryError(
                f"after: this cursor is of a query ordered by {shown(ordered)}, not by {shown(str(order))}"
            )
        return replace(cls(), missing=bool(missing), value=value, ties=tuple(ties))
