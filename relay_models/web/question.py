"""`Question`: which runs, which columns, in which order; all of it is in the URL."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from relay_models import Run
from relay_models.columns.column import Column, find_column
from relay_models.errors import QueryError, UnknownColumnError
from relay_models.views import known_columns

__all__ = ["PAGE_SIZES", "USUAL", "Question"]

USUAL = (
    "started_at",
    "agent_id",
    "duration",
    "status",
    "llm_calls",
    "tool_calls",
    "total_tokens",
    "cost",
    "models",
    "tools",
)
"""The columns that a list of runs has when none are chosen."""
NEWEST = "-started_at"
PAGE_SIZES = (25, 50, 100, 200)


_WORD = re.compile(r"\bor\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """Which runs, which columns, in which order, and which page.

    Args:
        filter: text of the filter language; empty for all runs.
        columns: the names of the columns to show; empty for the usual ones.
        order: the column to sort by, with ``-`` in front for descending.
        limit: rows per page.
        after: the cursor of the page; empty for the first.
        document: the store's type of runs.
    """

    filter: str = ""
    columns: tuple[str, ...] = ()
    order: str = NEWEST
    limit: int = 50
    after: str = ""
    document: type[Run] = Run

    @classmethod
    def parse(cls, parameters: Any, document: type[Run] = Run) -> Question:
        """Read the parameters of a URL, a multi-dict; `document` is the store's type of runs.

        Raises:
            QueryError: one means nothing.
        """
        text = parameters.get("limit") or "50"
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 500:
            raise QueryError(f"limit is a number from 1 to 500, not {text!r}")
        names = [part for item in parameters.getlist("columns") for part in item.split(",") if part.strip()]
        return cls(
            (parameters.get("filter") or "").strip(),
            tuple(dict.fromkeys(_column_name(name.strip(), document) for name in names)),
            (parameters.get("order") or NEWEST).strip(),
            int(text),
            parameters.get("after") or "",
            document,
        )

    @property
    def shown(self) -> tuple[Column[Any], ...]:
        """The columns to show.

        Raises:
            UnknownColumnError: one of them does not exist.
        """
        known = known_columns(self.document)
        if self.columns:
            return tuple(known[_column_name(name, self.document)] for name in self.columns)
        return tuple(known[name] for name in USUAL if name in known)

    @property
    def where(self) -> str | None:
        """The filter for a backend."""
        return self.filter or None

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a URL, without those that have their usual value."""
        given = {
            "filter": self.filter,
            "columns": ",".join(self.columns),
            "order": "" if self.order == NEWEST else self.order,
            "limit": "" if self.limit == 50 else str(self.limit),
            "after": self.after,
        }
        return {name: value for name, value in given.items() if value}

    def url(self, path: str = "/runs", extra: Mapping[str, str] | None = None, **changes: Any) -> str:
        """The URL of this question with some changes. All but a change of the page begin with the first page."""
        changes.setdefault("after", "")
        found = replace(self, **changes).parameters | dict(extra or {})
        return f"{path}?{urlencode(found)}" if found else path

    def narrowed(self, condition: str) -> str:
        """The filter, and another condition."""
        if not self.filter or self.filter.lower() == "all":
            return condition
        if condition in self.filter:
            return self.filter
        return f"({self.filter}) and {condition}" if _WORD.search(self.filter) else f"{self.filter} and {condition}"

    def sorted_by(self, column: Column[Any]) -> str:
        """The order after a click on the head of a column: the greatest first, then the other way round."""
        if self.order == f"-{column.name}":
            return column.name
        if self.order == column.name:
            return f"-{column.name}"
        return f"-{column.name}" if column.ordered else column.name

    @property
    def command(self) -> str:
        """The command line that lists the same runs."""
        parts = ["relay-models", "runs", "list"]
        if self.filter:
            parts += ["--where", self.filter]
        if self.order != NEWEST:
            parts += [f"--order={self.order}"]
        if self.columns:
            parts += ["--columns", ",".join(self.columns)]
        return shlex.join([*parts, "--limit", str(self.limit)])

    @property
    def python(self) -> str:
        """The Python code that finds the same runs."""
        filter = repr(self.filter) if self.filter else "None"
        return f"backend.find_runs({filter}, order_by={self.order!r}, limit={self.limit})"


def _column_name(name: str, document: type[Run]) -> str:
    known = known_columns(document)
    column = find_column(known, name)
    if column is None:
        raise UnknownColumnError(f"there is no column {name!r}; there are {', '.join(known)}")
    return column.name
