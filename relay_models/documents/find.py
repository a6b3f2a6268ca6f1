"""`Find`: a query as a value: which documents, in which order, how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from relay_models.columns.column import Column
from relay_models.errors import UnsupportedMethodError

__all__ = ["Find"]

DocumentType = TypeVar("DocumentType")


@dataclass(frozen=True, slots=True)
class Find(Generic[DocumentType]):
    """Which documents of a type, in which order; made by ``Run.find(…)`` and run by a backend.

    Every method returns a new query; nothing is sent until a backend runs it.

    Args:
        document: the document type.
        filters: what all documents meet: expressions, or text of the filter language.
        order: the column to sort by, with ``-`` in front for descending; None for the usual order.
        count: the maximum number of documents; None for the usual one.

    Example:
        ```python
        query = Run.find(Run.agent_id == "planner").order_by(-Run.duration).limit(10)
        page = await backend.find_runs(query)
        ```
    """

    document: type[DocumentType]
    filters: tuple[Any, ...] = ()
    order: str | None = None
    count: int | None = None

    def find(self, *filters: Any) -> Find[DocumentType]:
        """Narrow the query by more filters."""
        return replace(self, filters=(*self.filters, *filters))

    def order_by(self, column: str | Column[Any]) -> Find[DocumentType]:
        """Sort by a column: ``"-duration"`` or ``-Run.duration``."""
        return replace(self, order=column.name if isinstance(column, Column) else column)

    sort_by = order_by

    def limit(self, count: int) -> Find[DocumentType]:
        """Return at most this many documents."""
        return replace(self, count=count)

    def __iter__(self) -> Iterator[NoReturn]:
        raise self._untied()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in ("all", "first", "page", "exists", "update", "delete"):
                raise self._untied()
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _untied(self) -> UnsupportedMethodError:
        name = getattr(self.document, "__name__", "")
        run = f"backend.collection({name}).find(query), or begin with backend.bind({name}).find(…)"
        if getattr(self.document, "_settings", None) is None:
            run = "backend.find_runs(query)"
        return UnsupportedMethodError(f"a query is tied to no server: run it with {run}")

    def __str__(self) -> str:
        """The filter, the order and the limit, a line each."""
        filters = " and ".join(f"({part})" if len(self.filters) > 1 else str(part) for part in self.filters)
        lines = [f"filter: {filters or 'all'}"]
        if self.order is not None:
            lines.append(f"order:  {self.order}")
        if self.count is not None:
            lines.append(f"limit:  {self.count}")
        return "\n".join(lines)
