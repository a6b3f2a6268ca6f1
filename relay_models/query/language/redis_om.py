"""`translate`: expressions made by redis-om's own field proxies, as expressions over our columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from redis_om.model.model import Expression as OmExpression, ExpressionProxy, NegatedExpression, Operators

from relay_models._checks import shown
from relay_models.columns.column import Column
from relay_models.columns.expressions import Expression, all_of, any_of
from relay_models.errors import QueryError, UnknownColumnError, UnsupportedOperatorError

__all__ = ["is_redis_om", "translate"]

_OPERATORS: dict[Operators, Callable[[Column[Any], Any], Expression]] = {
    Operators.EQ: lambda column, value: column == value,
    Operators.NE: lambda column, value: column != value,
    Operators.LT: lambda column, value: column < value,
    Operators.LE: lambda column, value: column <= value,
    Operators.GT: lambda column, value: column > value,
    Operators.GE: lambda column, value: column >= value,
    Operators.IN: lambda column, value: column.in_(value),
    Operators.NOT_IN: lambda column, value: column.not_in(value),
    Operators.LIKE: lambda column, value: column % value,
    Operators.STARTSWITH: lambda column, value: column.startswith(value),
    Operators.ENDSWITH: lambda column, value: column.endswith(value),
    Operators.CONTAINS: lambda column, value: column.contains(value),
}


def is_redis_om(value: Any) -> bool:
    """Whether redis-om made it."""
    return isinstance(value, OmExpression | NegatedExpression)


def translate(value: Any, columns: Mapping[str, Column[Any]]) -> Expression:
    """Translate to the same condition over our columns, by the names of the fields.

    Raises:
        UnknownColumnError: there is no column of a field's name.
        QueryError: it is joined with something else than expressions of redis-om.
        UnsupportedOperatorError: the column has no such operator.
    """
    if isinstance(value, NegatedExpression):
        return ~translate(value.expression, columns)
    if not isinstance(value, OmExpression):
        raise QueryError(
            f"redis-om's expressions are joined with each other only, not with {shown(value)}; "
            "give both in a list, [a, b]"
        )
    if value.op in (Operators.AND, Operators.OR):
        parts = [translate(value.left, columns), translate(value.right, columns)]
        return all_of(parts) if value.op is Operators.AND else any_of(parts)
    field = value.left.field if isinstance(value.left, ExpressionProxy) else value.left
    name = getattr(field, "name", None)
    if value.parents or not isinstance(name, str) or name not in columns:
        raise UnknownColumnError(f"there is no column {shown(name)}; there are {', '.join(columns)}", name, columns)
    make = _OPERATORS.get(value.op)
    if make is None:
        raise UnsupportedOperatorError(f"the operator {value.op} has no meaning on {columns[name]!r}")
    return make(columns[name], value.right)
