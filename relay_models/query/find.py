"""`Query`: a filter, an order and a limit as a value, made by ``Run.find(…)`` and run by a backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from relay_models.columns.expressions import Everything, Expression, all_of
from relay_models.errors import UnsupportedMethodError
from relay_models.query.language.filters import as_expression
from relay_models.query.options import Filter, OnCorrupt, OnIncomplete, OrderBy
from relay_models.query.paging.order import Order
from relay_models.query.paging.pager import find_steps

if TYPE_CHECKING:
    from relay_models.documents.base import Document

__all__ = ["Query", "show_command"]

D = TypeVar("D", bound="Document")
Found_co = TypeVar("Found_co", covariant=True)
Count_co = TypeVar("Count_co", covariant=True)


class _Finds(Protocol[Found_co]):
    """A backend: its find_runs, async or sync."""

    def find_runs(
        self,
        filter: Filter = None,
        *,
        order_by: OrderBy | None = None,
        limit: int | None = 50,
        after: str | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> Found_co: ...


class _Counts(Protocol[Count_co]):
    """A backend: its count_runs, async or sync."""

    def count_runs(self, filter: Filter = None) -> Count_co: ...


@dataclass(frozen=True, slots=True)
class Query(Generic[D]):
    """Which documents, in which order: made by ``Run.find(…)``, run by ``backend.runs.find(query)``.

    Every method returns a new query. Printed, it shows the filter and the command for the first page.
    """

    document: type[D]
    filter: Expression = field(default_factory=Everything)
    order: str = ""
    count: int | None = None

    @classmethod
    def of(cls, document: type[D], expressions: Sequence[Filter]) -> Query[D]:
        """A query for the documents that meet all `expressions`."""
        columns = document.columns()
        return cls(document, all_of([as_expression(expression, columns) for expression in expressions]))

    def find(self, *expressions: Filter) -> Query[D]:
        """Narrow the query by more expressions."""
        columns = self.document.columns()
        more = [as_expression(expression, columns) for expression in expressions]
        return replace(self, filter=all_of([self.filter, *more]))

    def order_by(self, column: OrderBy) -> Query[D]:
        """Sort by a column: ``"-duration"``."""
        return replace(self, order=str(Order.parse(column, self.document.columns())))

    sort_by = order_by

    def limit(self, count: int) -> Query[D]:
        """Set the maximum number of rows."""
        return replace(self, count=count)

    def all(self, backend: _Finds[Found_co] | None = None) -> Found_co:
        """Find all runs: ``await query.all(backend)``, or ``query.all(backend)`` with a sync backend."""
        return _bound("all", backend).find_runs(self.filter, order_by=self.order or None, limit=self.count)

    def page(
        self,
        backend: _Finds[Found_co] | None = None,
        *,
        limit: int | None = 50,
        after: str | None = None,
        columns: bool = False,
        on_corrupt: OnCorrupt = "raise",
        on_incomplete: OnIncomplete = "raise",
    ) -> Found_co:
        """Find a page of runs; the options are those of `RedisBackend.find_runs`."""
        return _bound("page", backend).find_runs(
            self.filter,
            order_by=self.order or None,
            limit=limit if self.count is None else self.count,
            after=after,
            columns=columns,
            on_corrupt=on_corrupt,
            on_incomplete=on_incomplete,
        )

    def count_all(self, backend: _Counts[Count_co] | None = None) -> Count_co:
        """Count the runs: `RedisBackend.count_runs`."""
        return _bound("count_all", backend).count_runs(self.filter)

    def __iter__(self) -> Iterator[NoReturn]:
        _bound("all", None)
        yield from ()

    def __str__(self) -> str:
        lines = [f"filter:  {self.filter}", f"order:   {self.order or '-started_at'}"]
        if self.count is not None:
            lines.append(f"limit:   {self.count}")
        return "\n".join([*lines, f"command: {show_command(self)}"])

    def __repr__(self) -> str:
        return f"<Query of {self.document.__name__}: {self.filter}>"


B = TypeVar("B")


def _bound(method: str, backend: B | None) -> B:
    if backend is None:
        raise UnsupportedMethodError(
            f"a query is tied to no server: query.{method}(backend), or backend.find_runs(query)"
        )
    return backend


def show_command(query: Query[Any], alias: str = "…@run") -> str:
    """The command for the first page as a person reads it; where values must be listed first, that command."""
    order = query.order or ("-started_at" if "started_at" in query.document.columns() else "agent_id")
    command = next(find_steps(query.document, alias, query.filter, order_by=order, limit=query.count or 50), None)
    if command is None:
        return "(none: no document can meet the filter)"
    return " ".join(map(_readable, command))


def _readable(part: object) -> str:
    if isinstance(part, str) and part and part.isprintable() and " " not in part:
        return part
    return repr(part) if isinstance(part, str | bytes) else str(part)
