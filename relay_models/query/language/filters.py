"""`as_expression`: the expression that a filter means, whatever it is given as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_models._checks import shown
from relay_models.columns.column import Column, find_column
from relay_models.columns.expressions import Everything, Expression, all_of, values_of
from relay_models.documents.find import Find
from relay_models.errors import QueryError, UnknownColumnError
from relay_models.query.language.redis_om import is_redis_om, translate

__all__ = ["as_expression"]


def as_expression(filter: Any, columns: Mapping[str, Column[Any]]) -> Expression:
    """The expression that a filter means.

    Args:
        filter: an expression, text of the filter language, an expression of redis-om, a query made by
            ``Run.find(…)``, a list of these that must all be true, or None for every document.
        columns: the columns there are, by name: ``Run.columns()``.

    Raises:
        QueryError: it is none of these, or blank text.
        UnknownColumnError: it names a column that there is not.
    """
    match filter:
        case None:
            return Everything()
        case Expression():
            return _checked(filter, columns)
        case str():
            # lazy: lark and its grammar are only loaded for text
            from relay_models.query.language.parser import parse_filter

            return parse_filter(filter, columns)
        case list() | tuple():
            return all_of([as_expression(part, columns) for part in filter])
        case Find():
            return as_expression(filter.filters, columns)
    if is_redis_om(filter):
        return translate(filter, columns)
    raise QueryError(
        f"a filter is an expression such as Run.agent_id == 'planner', text of the filter language, or None for "
        f"everything; not {shown(filter)} ({type(filter).__name__})"
    )


def _checked(filter: Expression, columns: Mapping[str, Column[Any]]) -> Expression:
    unknown = sorted({name for name in values_of([filter]) if find_column(columns, name) is None})
    if unknown:
        raise UnknownColumnError(
            f"there is no column {', '.join(unknown)} here; there are {', '.join(columns)}", unknown[0], columns
        )
    return filter
