"""`SavedQuestion`: a named filter with columns and an order, as it is kept in a store."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from relay_models._checks import shown
from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.documents import Find, Run
from relay_models.errors import CorruptDocumentError, QueryError, UnknownColumnError
from relay_models.query.language.filters import as_expression
from relay_models.query.order import Order

__all__ = ["SavedQuestion", "check_name", "decode_questions", "encode_question"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class SavedQuestion:
    """A named question about runs.

    Args:
        name: letters, digits, ``_``, ``.`` and ``-``, at most 64.
        filter: text of the filter language; empty for all runs.
        columns: the columns to show, in order; empty for the usual ones.
        order: the column to sort by, with ``-`` in front for descending.

    Raises:
        QueryError: it is no name. The rest is checked when the question is saved: stores can have columns of their own.

    Example:
        ```python
        question = SavedQuestion("slow-today", "duration > 2s and started = today", order="-duration")
        ```
    """

    name: str
    filter: str = ""
    columns: tuple[str, ...] = ()
    order: str = "-started_at"

    def __post_init__(self) -> None:
        check_name(self.name)

    def check(self, columns: dict[str, Column[Any]]) -> None:
        """Check what is asked against the columns of a store's runs.

        Raises:
            QueryError: the filter, a column or the order means nothing.
        """
        if self.filter.strip():
            as_expression(self.filter, columns)
        for name in self.columns:
            if name not in columns or columns[name].kind is Kind.WORDS:
                known = [column.name for column in columns.values() if column.kind is not Kind.WORDS]
                raise UnknownColumnError(f"there is no column {shown(name)}; there are {', '.join(known)}", name, known)
        Order.parse(self.order, columns)

    def find(self) -> Find[Run]:
        """The question as a query, which a backend runs: ``backend.find_runs(question.find())``."""
        filters = (self.filter,) if self.filter.strip() else ()
        return Run.find(*filters).order_by(self.order)


def check_name(name: object) -> None:
    """Check the name of a question.

    Raises:
        QueryError: it is not one.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise QueryError(
            f"the name of a saved question is of letters, digits, _ . and -, at most 64 of them, not {shown(name)}"
        )


def encode_question(question: SavedQuestion) -> str:
    """A question as the JSON text that is kept."""
    return json.dumps({"filter": question.filter, "columns": list(question.columns), "order": question.order})


def decode_questions(reply: Any, key: bytes) -> tuple[list[SavedQuestion], dict[str, CorruptDocumentError]]:
    """The questions in a reply to JSON.GET, sorted by name, and the errors of those that cannot be read, by name.

    A later release may have saved a question of another shape: the others are read all the same.
    """
    shown_key = key.decode("utf-8", "backslashreplace")
    if reply is None:
        return [], {}
    try:
        (kept,) = json.loads(reply)
        named = sorted(kept.items())
    except (ValueError, TypeError, AttributeError) as error:
        return [], {"": CorruptDocumentError(shown_key, f"not saved questions: {error}")}
    questions, errors = [], {}
    for name, value in named:
        try:
            questions.append(_question(name, value))
        except (ValueError, TypeError, KeyError) as error:
            reason = (
                f"the saved question {shown(name)} is of another shape ({error!r}): delete it, or use a later release"
            )
            errors[name] = CorruptDocumentError(shown_key, reason)
    return questions, errors


def _question(name: str, value: dict[str, Any]) -> SavedQuestion:
    text, columns, order = value["filter"], value["columns"], value["order"]
    if not all(isinstance(part, str) for part in (text, order, *columns)):
        raise TypeError("not text")
    return SavedQuestion(name, text, tuple(columns), order)
