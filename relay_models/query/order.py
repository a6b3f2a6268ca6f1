"""`Order`: the column that rows are sorted by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relay_models._checks import shown
from relay_models.columns.column import Column, Kind, find_column
from relay_models.columns.info import SORT_REST, rest_steps
from relay_models.columns.scores import ScoreColumn
from relay_models.errors import QueryError, UnknownColumnError
from relay_models.query.options import OrderBy

__all__ = ["Order", "is_grouped", "parse_direction"]


def parse_direction(text: str) -> tuple[str, bool]:
    """The name in ``"name"``, ``"-name"`` or ``"name desc"``, and whether the order is descending."""
    short = text.strip().lstrip("+-").strip()
    descending = text.strip().startswith("-")
    words = short.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].lower() in ("asc", "desc"):
        return words[0], descending != (words[1].lower() == "desc")
    return short, descending


@dataclass(frozen=True, slots=True)
class Order:
    """The column that rows are sorted by; ties by run id (or agent) ascending, rows without a value last.

    With `omits_missing`, rows without a value are left out. With `is_merged`, the server merges the rows of several
    shards, which send it numbers in twelve digits.
    """

    column: Column[Any]
    descending: bool = False
    omits_missing: bool = False
    is_merged: bool = False

    @property
    def has_missing(self) -> bool:
        """Whether rows without a value follow at the end."""
        return self.may_lack_value and not self.omits_missing

    @property
    def may_lack_value(self) -> bool:
        """Whether rows without a value are asked for apart from the others."""
        return self.column.nullable or self._is_split

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a server sorts rows."""
        return (self.column.sort_name, SORT_REST) if self._is_split else self.column.sort_names

    @property
    def steps(self) -> list[str | int]:
        """What of an aggregate makes the values of `names`, where the index has none."""
        return [*self.column.sort_steps(), *(rest_steps(self.column.sort_name) if self._is_split else ())]

    @property
    def _is_split(self) -> bool:
        """Whether rows are sorted by a number and by what twelve digits leave of it."""
        return self.is_merged and self.column.kind is Kind.NUMBER and len(self.column.sort_names) == 1

    @classmethod
    def parse(cls, text: OrderBy, columns: dict[str, Column[Any]]) -> Order:
        """Parse ``"started_at"``, ``"-started_at"`` or ``"started_at desc"`` (descending), or ``Run.started_at``.

        The short names of the filter language are accepted, too.

        Raises:
            UnknownColumnError: there is no such column.
            QueryError: it is a column that rows cannot be sorted by.
        """
        name = text.name if isinstance(text, Column) else text
        if not isinstance(name, str):
            raise QueryError(f"order_by is the name of a column, with - in front for descending, not {shown(text)}")
        short, descending = parse_direction(name)
        try:
            column = find_column(columns, short)
        except ValueError as error:
            raise QueryError(f"order_by: {error}") from None
        sortable = [known.name for known in columns.values() if known.ordered or known.kind is Kind.TAG]
        if column is None:
            raise UnknownColumnError(
                f"order_by: there is no column {shown(name)}; rows are sorted by {', '.join(sortable)}", name, sortable
            )
        if column.kind is Kind.SCORES:
            raise QueryError(f"order_by: rows are sorted by one score, such as score.helpfulness, not by {column!r}")
        if column.name not in sortable and not isinstance(column, ScoreColumn):
            raise QueryError(
                f"order_by: {column!r} ({column.kind}) has no order; rows are sorted by {', '.join(sortable)}"
            )
        return cls(column, descending)

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.column.name}"


def is_grouped(column: Column[Any]) -> bool:
    """Whether rows are sorted by a text that several may share, and that no condition of a server can compare."""
    return column.kind is Kind.TAG and not column.is_uuid
