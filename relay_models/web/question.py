"""`Question`: which documents, which columns, in which order; all of it is in the URL."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from relay_models import Document, Run
from relay_models._checks import shown
from relay_models.columns.column import Column, Kind, find_column
from relay_models.errors import QueryError, UnknownColumnError
from relay_models.views import known_columns, model_name

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
MOST_USUAL = 10
"""Maximum number of columns that a list of other documents has when none are chosen."""
PAGE_SIZES = (25, 50, 100, 200)

# The quoted texts, parentheses and words of a filter.
_TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()"']+|\S""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """Which documents, which columns, in which order, and which page.

    Args:
        filter: text of the filter language; empty for all.
        columns: the names of the columns to show; empty for the usual ones.
        order: the column to sort by, with ``-`` in front for descending; empty for the newest first.
        limit: rows per page.
        after: the cursor of the page; empty for the first.
        document: the store's type of runs, or a model of a user's.
    """

    filter: str = ""
    columns: tuple[str, ...] = ()
    order: str = ""
    limit: int = 50
    after: str = ""
    document: type[Document] = Run

    @classmethod
    def parse(cls, parameters: Any, document: type[Document] = Run) -> Question:
        """Read the parameters of a URL, a multi-dict; `document` is the type that is asked for.

        Raises:
            QueryError: one means nothing.
        """
        text = parameters.get("limit") or "50"
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 500:
            raise QueryError(f"limit is a number from 1 to 500, not {shown(text)}")
        names = [part for item in parameters.getlist("columns") for part in item.split(",") if part.strip()]
        question = cls(
            (parameters.get("filter") or "").strip(),
            tuple(dict.fromkeys(_column_name(name.strip(), document) for name in names)),
            (parameters.get("order") or "").strip(),
            int(text),
            parameters.get("after") or "",
            document,
        )
        return replace(question, order="") if question.order == question.newest else question

    @property
    def is_about_runs(self) -> bool:
        """Whether runs are asked for, not documents of a user's model."""
        return not self.document.is_own_model()

    @property
    def newest(self) -> str:
        """The order that a list has when none is chosen."""
        return "-started_at" if self.is_about_runs else "-stored_at"

    @property
    def order_by(self) -> str:
        """The order."""
        return self.order or self.newest

    @property
    def path(self) -> str:
        """The path of the list."""
        return "/runs" if self.is_about_runs else f"/models/{quote(model_name(self.document), safe='')}"

    @property
    def shown(self) -> tuple[Column[Any], ...]:
        """The columns to show.

        Raises:
            UnknownColumnError: one of them does not exist.
        """
        known = known_columns(self.document)
        if self.columns:
            return tuple(known[_column_name(name, self.document)] for name in self.columns)
        if self.is_about_runs:
            return tuple(known[name] for name in USUAL if name in known)
        own = [name for name in known if name not in ("pk", "stored_at", "updated_at")][:MOST_USUAL]
        return tuple(known[name] for name in ("stored_at", *own))

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
            "order": self.order,
            "limit": "" if self.limit == 50 else str(self.limit),
            "after": self.after,
        }
        return {name: value for name, value in given.items() if value}

    def url(self, path: str = "", extra: Mapping[str, str] | None = None, **changes: Any) -> str:
        """The URL of this question with some changes. All but a change of the page begin with the first page.

        Args:
            path: below the list's own path, such as ``/export``; a path of its own where it is none.
            extra: further parameters.
            changes: of the attributes.
        """
        changes.setdefault("after", "")
        found = replace(self, **changes).parameters | dict(extra or {})
        path = f"{self.path}{path}"
        return f"{path}?{urlencode(found)}" if found else path

    def narrowed(self, condition: str, *others: str) -> str:
        """The filter, and other conditions."""
        if others:
            return replace(self, filter=self.narrowed(condition)).narrowed(*others)
        if not self.filter or self.filter.lower() == "all":
            return condition
        parts = _conditions(self.filter)
        if not parts:
            return f"({self.filter}) and {condition}"
        return self.filter if set(parts).issuperset(_conditions(condition)) else f"{self.filter} and {condition}"

    def has(self, condition: str) -> bool:
        """Whether the filter is, or joins by ``and``, a condition."""
        return self._normal(condition) in map(self._normal, _conditions(self.filter))

    def toggled(self, condition: str) -> str:
        """The filter without a condition that it has, or with it in place of those on the same column."""
        parts = _conditions(self.filter)
        column, _ = self._normal(condition)
        kept = [part for part in parts if self._normal(part)[0] != column]
        if self.has(condition):
            return " and ".join(kept)
        if len(kept) == len(parts):
            return self.narrowed(condition)
        return " and ".join([*kept, condition])

    def _normal(self, condition: str) -> tuple[str, str]:
        """The column that a simple condition begins with, by its full name, and the rest; no column for others."""
        name = _TOKEN.match(condition)
        column = find_column(known_columns(self.document), name[0].lower()) if name else None
        return ("", condition) if name is None or column is None else (column.name, condition[name.end() :].strip())

    def is_sortable(self, column: Column[Any]) -> bool:
        """Whether the list can be sorted by a column."""
        return column.ordered or column.kind is Kind.TAG

    def sorted_by(self, column: Column[Any]) -> str:
        """The order after a click on the head of a column: the greatest first, then the other way round."""
        if self.order_by == f"-{column.name}":
            return column.name
        if self.order_by == column.name:
            return f"-{column.name}"
        return f"-{column.name}" if column.ordered else column.name

    @property
    def command(self) -> str:
        """The command line that lists the same runs; empty for other documents, which have no command."""
        if not self.is_about_runs:
            return ""
        parts = ["relay-models", "runs", "list"]
        if self.filter:
            parts += ["--where", self.filter]
        if self.order:
            parts += [f"--order={self.order}"]
        if self.columns:
            parts += ["--columns", ",".join(self.columns)]
        return shlex.join([*parts, "--limit", str(self.limit)])

    @property
    def python(self) -> str:
        """The Python code that finds the same documents."""
        filter = repr(self.filter) if self.filter else "None"
        find = "runs" if self.is_about_runs else f"collection({self.document.__name__})"
        return f"backend.{find}.find({filter}, order_by={self.order_by!r}, limit={self.limit})"


def _conditions(filter: str) -> tuple[str, ...]:
    """What a filter joins by ``and``; nothing where it joins alternatives by ``or``."""
    found: list[str] = []
    begins, depth, is_range = 0, 0, False
    for token in _TOKEN.finditer(filter):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        word = "" if depth else token[0].lower()
        if word == "or":
            return ()
        if word == "between":
            is_range = True
        elif word == "and" and is_range:
            is_range = False
        elif word == "and":
            found.append(filter[begins : token.start()].strip())
            begins = token.end()
    return (*found, filter[begins:].strip())


def _column_name(name: str, document: type[Document]) -> str:
    known = known_columns(document)
    column = find_column(known, name)
    if column is None:
        raise UnknownColumnError(f"there is no column {shown(name)}; there are {', '.join(known)}", name, known)
    return column.name
