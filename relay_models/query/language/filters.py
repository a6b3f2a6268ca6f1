"""What a filter may be given as: an expression, redis-om's, text of the filter language, or a query."""

from __future__ import annotations

from typing import Any

from relay_models.columns.column import Column
from relay_models.columns.expressions import Everything, Expression, all_of, values_of
from relay_models.errors import QueryError, UnknownColumnError
from relay_models.query.language.redis_om import is_redis_om, translate

__all__ = ["as_expression"]


def as_expression(filter: Any, columns: dict[str, Column[Any]] | None = None) -> Expression:
    """The expression that `filter` means; None means every document, explicitly.

    Raises:
        QueryError: it is none of these, or blank text.
    """
    if filter is None:
        return Everything()
    if isinstance(filter, Expression):
        _check_columns(filter, columns)
        return filter
    if is_redis_om(filter):
        return translate(filter, columns)
    if isinstance(filter, str):
        from relay_models.query.language.parser import parse_filter

        return parse_filter(filter, columns=columns)
    if isinstance(filter, list | tuple):
        return all_of([as_expression(part, columns) for part in filter])
    inner = getattr(filter, "filter", None)
    if isinstance(inner, Expression):
        return inner
    raise QueryError(
        f"a filter is an expression such as Run.agent_id == 'planner', text of the filter language, or None for "
        f"everything; not {filter!r} ({type(filter).__name__})"
    )


def _check_columns(filter: Expression, columns: dict[str, Column[Any]] | None) -> None:
    if columns is None:
        from relay_models.documents.run import Run

        columns = Run.columns()
    unknown = values_of([filter]) - columns.keys()
    if unknown:
        raise UnknownColumnError(
            f"there is no column {', '.join(sorted(unknown))} here; there are {', '.join(columns)}"
        )
