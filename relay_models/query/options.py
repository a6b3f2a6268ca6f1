"""The types of what callers pass to queries: `Filter`, `OrderBy`, `OnCorrupt` and `OnIncomplete`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, Union

from relay_models._checks import check_choice, shown
from relay_models.columns.column import Column
from relay_models.columns.expressions import Expression
from relay_models.errors import QueryError

if TYPE_CHECKING:
    from relay_models.documents.find import Find

__all__ = ["Filter", "OnCorrupt", "OnIncomplete", "OrderBy", "RedisOmExpression", "check_limit", "check_outcomes"]


class RedisOmExpression(Protocol):
    """An expression that redis-om made of a field of another model."""

    left: Any
    right: Any


Filter: TypeAlias = Union[  # a forward reference has no |
    Expression, str, "Find[Any]", RedisOmExpression, Sequence["Expression | str"], None
]
"""Which documents: an expression (``Run.agent_id == "planner"``), text of the filter language
(``"agent = planner and duration > 2s"``), a query (``Run.find(…)``), a sequence of these that must all be met, or None
for every document."""

OrderBy: TypeAlias = str | Column[Any]
"""A column to sort by: ``"started_at"``, ``"-duration"`` (descending), ``"cost desc"`` or ``Run.started_at``."""

OnCorrupt: TypeAlias = Literal["raise", "skip"]
"""What to do about documents that cannot be read: raise `CorruptDocumentsError`, or collect them in ``corrupt``."""

OnIncomplete: TypeAlias = Literal["raise", "partial"]
"""What to do about an answer cut short: raise `IncompleteAnswerError`, or return what there is."""


def check_outcomes(**given: str) -> None:
    """Raise `InvalidConfigurationError` for what is neither ``"raise"`` nor the other choice of an option.

    Args:
        given: the value of each option, such as ``on_corrupt``.
    """
    for name, value in given.items():
        check_choice(name, value, ("raise", "partial" if name == "on_incomplete" else "skip"))


def check_limit(limit: int | None) -> None:
    """Raise `QueryError` for an invalid limit."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise QueryError(f"limit is a number of rows from 0 on, or None for all, not {shown(limit)}")
