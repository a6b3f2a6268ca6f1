"""The columns of the two tables, one row per run and one row per call, and how to read them from what is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from relay_models.errors import InvalidConfigurationError, UnknownColumnError

__all__ = ["CALL_COLUMNS", "RUN_COLUMNS", "TableColumn", "TableRows", "Type", "choose"]

TableRows = Literal["runs", "calls"]


class Type(StrEnum):
    """What a column holds."""

    TEXT = "text"
    TEXTS = "texts"
    """A list of texts, never None."""
    COUNT = "count"
    """An unsigned integer of up to 64 bits."""
    NUMBER = "number"
    TIME = "time"
    """An instant: an aware datetime in UTC, to the microsecond."""
    DURATION = "duration"
    """A timedelta, to the microsecond."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column's name, what it holds, and what it means."""

    name: str
    type: Type
    about: str
    usual: bool = True
    """Part of the table unless `columns` says otherwise."""


RUN_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("agent_id", Type.TEXT, "the agent"),
    TableColumn("run_id", Type.TEXT, "the run's UUID"),
    TableColumn("status", Type.TEXT, "running or completed"),
    TableColumn("started_at", Type.TIME, "when the run began"),
    TableColumn("ended_at", Type.TIME, "when it ended; none while running"),
    TableColumn("duration", Type.DURATION, "from beginning to end; none while running"),
    TableColumn("calls", Type.COUNT, "calls, of both kinds"),
    TableColumn("llm_calls", Type.COUNT, "LLM calls"),
    TableColumn("tool_calls", Type.COUNT, "tool calls"),
    TableColumn("unfinished_calls", Type.COUNT, "calls without an end"),
    TableColumn("providers", Type.TEXTS, "names of the LLM calls"),
    TableColumn("models", Type.TEXTS, "models that answered"),
    TableColumn("tools", Type.TEXTS, "names of the tool calls"),
    TableColumn("finish_reasons", Type.TEXTS, "why the answers ended"),
    TableColumn("prompt_tokens", Type.COUNT, "sum over the calls; none where no call tells"),
    TableColumn("output_tokens", Type.COUNT, "sum over the calls; none where no call tells"),
    TableColumn("total_tokens", Type.COUNT, "sum over the calls; none where no call tells"),
    TableColumn("cache_read_tokens", Type.COUNT, "sum over the calls; none where no call tells"),
    TableColumn("cost", Type.NUMBER, "sum over the calls; none where none is known"),
    TableColumn("stored_at", Type.TIME, "when the run was first stored; none for a bare record"),
    TableColumn("updated_at", Type.TIME, "when it was last stored; none for a bare record", usual=False),
)

CALL_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("agent_id", Type.TEXT, "the agent"),
    TableColumn("run_id", Type.TEXT, "the run's UUID"),
    TableColumn("call", Type.COUNT, "the call's place in its run, from 1"),
    TableColumn("kind", Type.TEXT, "llm or tool"),
    TableColumn("name", Type.TEXT, "the provider of an LLM call, or the tool"),
    TableColumn("started_at", Type.TIME, "when the call began"),
    TableColumn("ended_at", Type.TIME, "when it ended; none if unfinished"),
    TableColumn("duration", Type.DURATION, "from beginning to end; none if unfinished"),
    TableColumn("model", Type.TEXT, "the model that answered"),
    TableColumn("finish_reason", Type.TEXT, "why the answer ended"),
    TableColumn("prompt_tokens", Type.COUNT, "tokens of the prompt"),
    TableColumn("output_tokens", Type.COUNT, "tokens of the answer"),
    TableColumn("total_tokens", Type.COUNT, "tokens of both"),
    TableColumn("cache_read_tokens", Type.COUNT, "prompt tokens read from a cache"),
    TableColumn("tool_call_count", Type.COUNT, "tool calls that the answer asked for"),
    TableColumn("cost", Type.NUMBER, "what the call cost"),
    TableColumn("request", Type.TEXT, "the annotated request as JSON", usual=False),
    TableColumn("response", Type.TEXT, "the annotated response as JSON", usual=False),
)


def choose(rows: TableRows, columns: Sequence[str] | None) -> tuple[TableColumn, ...]:
    """The columns to write, in the order asked for.

    Raises:
        InvalidConfigurationError: `rows` is neither runs nor calls, or no column is asked for.
        UnknownColumnError: the table has no such column.
    """
    if rows not in ("runs", "calls"):
        raise InvalidConfigurationError(f"rows are 'runs' or 'calls', not {rows!r}")
    known = RUN_COLUMNS if rows == "runs" else CALL_COLUMNS
    if columns is None:
        return tuple(column for column in known if column.usual)
    if isinstance(columns, str):
        raise InvalidConfigurationError(f"columns is a list of names, such as [{columns!r}]")
    by_name = {column.name: column for column in known}
    for name in columns:
        if name not in by_name:
            raise UnknownColumnError(f"a table of {rows} has no column {name!r}; it has {', '.join(by_name)}")
    if not columns:
        raise InvalidConfigurationError("no column is asked for; leave `columns` out to have all")
    return tuple(by_name[name] for name in dict.fromkeys(columns))
