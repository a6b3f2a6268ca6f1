"""`TableColumn`: the columns of the exported tables of runs, calls and aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

from relay_models._checks import check_list, shown
from relay_models.columns.column import Kind, find_column
from relay_models.columns.info import ColumnInfo
from relay_models.columns.scores import ScoreColumn
from relay_models.documents import Document, Run
from relay_models.errors import InvalidConfigurationError, UnknownColumnError

__all__ = [
    "CALL_COLUMNS",
    "RUN_COLUMNS",
    "TableColumn",
    "TableRows",
    "document_columns",
    "python_type",
    "score_column",
    "select_columns",
]

TableRows = Literal["runs", "calls"]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table.

    Args:
        name: Its name.
        kind: What it holds; an instant is an aware datetime in UTC, a duration a timedelta, both in microseconds.
        about: What it means.
        by_default: Whether the table has it when no columns are named.
        signed: Whether counts may be below zero.
        python: The type of the values, where the kind does not tell: `bool` for texts, `date` for times.
    """

    name: str
    kind: Kind
    about: str
    by_default: bool = True
    signed: bool = False
    python: type | None = None

    @property
    def type(self) -> Kind | type:
        """What frames and files choose the column's type by."""
        return self.python or self.kind


def python_type(column: ColumnInfo) -> type | None:
    """The type of a column's single values, where its kind does not tell; None for others."""
    of = column.type.python
    return next((known for known in (bool, date) if known is of or known in get_args(of)), None)


# Columns of the store that a table only has when they are named.
_NOT_USUAL = ("updated_at", "tags", "notes", "scores")


def score_column(name: str) -> ScoreColumn | None:
    """The score that a table's column holds; None for other columns."""
    found = find_column(Run.columns(), name) if "." in name else None
    return found if isinstance(found, ScoreColumn) else None


def document_columns(document: type[Document]) -> tuple[TableColumn, ...]:
    """Every column of a document class that can be read. All scores of a document are one text, a JSON object."""
    return tuple(
        TableColumn(
            column.name,
            Kind.TAG if column.kind is Kind.SCORES else column.kind,
            column.about,
            by_default=column.own or column.name not in _NOT_USUAL,
            signed=column.own,
            python=None if column.kind is Kind.TAGS else python_type(column),
        )
        for column in document.columns().values()
        if column.kind is not Kind.WORDS
    )


RUN_COLUMNS: tuple[TableColumn, ...] = document_columns(Run)
"""Every column of `Run` that can be read; one score is a column named ``score.helpfulness``."""

CALL_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("agent_id", Kind.TAG, "The agent."),
    TableColumn("run_id", Kind.TAG, "The run's UUID."),
    TableColumn("call", Kind.COUNT, "The call's position in its run, from 1."),
    TableColumn("kind", Kind.TAG, "llm or tool."),
    TableColumn("name", Kind.TAG, "The provider of an LLM call, or the tool."),
    TableColumn("started_at", Kind.TIME, "When the call began."),
    TableColumn("ended_at", Kind.TIME, "When it ended; none if unfinished."),
    TableColumn("duration", Kind.DURATION, "From start to end; none if unfinished."),
    TableColumn("model", Kind.TAG, "The model that answered."),
    TableColumn("finish_reason", Kind.TAG, "Why the answer ended."),
    TableColumn("prompt_tokens", Kind.COUNT, "Tokens of the prompt."),
    TableColumn("output_tokens", Kind.COUNT, "Tokens of the answer."),
    TableColumn("total_tokens", Kind.COUNT, "Tokens of both."),
    TableColumn("cache_read_tokens", Kind.COUNT, "Prompt tokens read from a cache."),
    TableColumn("tool_call_count", Kind.COUNT, "Tool calls that the answer requested."),
    TableColumn("cost", Kind.NUMBER, "Cost of the call."),
    TableColumn("request", Kind.TAG, "The annotated request as JSON.", by_default=False),
    TableColumn("response", Kind.TAG, "The annotated response as JSON.", by_default=False),
)


def select_columns(known: Iterable[TableColumn], names: Sequence[str] | None, table: str) -> tuple[TableColumn, ...]:
    """Return the columns to write, in the order asked for.

    Args:
        known: The columns of the table.
        names: Which of them; None for all that the table has by default.
        table: What the table holds, for messages.

    Raises:
        InvalidConfigurationError: `names` is a single text, or empty.
        UnknownColumnError: The table has no such column.
    """
    if names is None:
        return tuple(column for column in known if column.by_default)
    if isinstance(names, str):
        raise InvalidConfigurationError(f"columns is a list of names, such as [{shown(names)}]")
    names = check_list("columns", names, str, "names")
    by_name = {column.name: column for column in known}
    if table == "runs":
        scores = [name for name in names if score_column(name)]
        by_name |= {name: TableColumn(name, Kind.NUMBER, "A score.") for name in scores}
    for name in names:
        if name not in by_name:
            raise UnknownColumnError(
                f"a table of {table} has no column {shown(name)}; it has {', '.join(by_name)}", name, by_name
            )
    if not names:
        raise InvalidConfigurationError("columns is empty; leave it out for the default columns")
    return tuple(by_name[name] for name in dict.fromkeys(names))
