"""`RunQuery`: the query a user writes, as a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from relay_models.columns.expressions import Everything, Expression, all_of
from relay_models.errors import UnsupportedMethodError
from relay_models.query.language.filters import as_expression
from relay_models.query.paging.order import Order
from relay_models.query.paging.pager import OnCorrupt, OnIncomplete, RunPage, Scan, find_steps
from relay_models.query.tag_values import count_steps, value_steps

__all__ = [
    "OnCorrupt",
    "OnIncomplete",
    "Order",
    "RunPage",
    "RunQuery",
    "Scan",
    "count_steps",
    "find_steps",
    "value_steps",
]


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs, in which order; made by ``Run.find(…)`` and run by a backend: ``backend.find_runs(query)``.

    Every method gives a new query. Printed, it shows the filter and the command that is sent.
    """

    filter: Expression = field(default_factory=Everything)
    order: str = "-started_at"
    count: int | None = None

    @classmethod
    def of(cls, expressions: Sequence[Any]) -> RunQuery:
        """A query for what meets all `expressions`."""
        return cls(all_of([as_expression(expression) for expression in expressions]))

    def find(self, *expressions: Any) -> RunQuery:
        """The query narrowed by more expressions."""
        return replace(self, filter=all_of([self.filter, *map(as_expression, expressions)]))

    def order_by(self, column: Any) -> RunQuery:
        """Sorted by a column: ``"-duration"``."""
        from relay_models.documents.run import Run

        return replace(self, order=str(Order.parse(column, Run.columns())))

    sort_by = order_by

    def limit(self, count: int) -> RunQuery:
        """At most so many runs."""
        return replace(self, count=count)

    def all(self, backend: Any = None) -> Any:
        """All runs that it finds: ``await query.all(backend)``, or ``query.all(backend)`` with a sync backend."""
        return self._bound("all", backend).find_runs(self.filter, order_by=self.order, limit=self.count)

    def page(self, backend: Any = None, **options: Any) -> Any:
        """`RedisBackend.find_runs` with this query."""
        return self._bound("page", backend).find_runs(self.filter, order_by=self.order, **options)

    def count_all(self, backend: Any = None) -> Any:
        """How many runs it finds: `RedisBackend.count_runs`."""
        return self._bound("count_all", backend).count_runs(self.filter)

    def _bound(self, method: str, backend: Any) -> Any:
        if backend is None:
            raise UnsupportedMethodError(
                f"a query is tied to no server: query.{method}(backend), or backend.find_runs(query)"
            )
        return backend

    def __iter__(self) -> Iterator[NoReturn]:
        self._bound("all", None)
        yield from ()

    def __str__(self) -> str:
        lines = [f"filter:  {self.filter}", f"order:   {self.order}"]
        if self.count is not None:
            lines.append(f"limit:   {self.count}")
        return "\n".join([*lines, f"command: {show_command(self)}"])

    def __repr__(self) -> str:
        return f"<RunQuery {self.filter}>"


def show_command(query: RunQuery, alias: str = "…@run") -> str:
    """The command for the first page as a person reads it; where values must be listed first, that command."""
    from relay_models.documents.run import Run

    command = next(find_steps(Run, alias, query.filter, order_by=query.order, limit=query.count or 50), None)
    if command is None:
        return "(none: no run can meet the filter)"
    return " ".join(part if isinstance(part, str) and part and part.isprintable() and " " not in part else repr(part)
                    if isinstance(part, str | bytes) else str(part) for part in command)  # fmt: skip
