"""The functions that make tables, for ordinary and for asynchronous iterators of runs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

from relay_models.export.columns import TableRows
from relay_models.export.sinks import (
    ArrowSink,
    CsvSink,
    DictSink,
    JsonLinesSink,
    PandasSink,
    ParquetSink,
    PolarsSink,
    Sink,
)

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["to_arrow", "to_dicts", "to_pandas", "to_polars", "write_csv", "write_jsonl", "write_parquet"]

Result = TypeVar("Result")
Runs = Iterable[Any]
AsyncRuns = AsyncIterable[Any]
Target = str | PathLike[str] | BinaryIO


def _pour(runs: Runs | AsyncRuns, sink: Sink[Result]) -> Any:
    """Feed all runs to the sink: at once, or when awaited."""
    if isinstance(runs, AsyncIterable):
        return _pour_async(runs, sink)
    with sink:
        for run in runs:
            sink.add(run)
        return sink.finish()


async def _pour_async(runs: AsyncRuns, sink: Sink[Result]) -> Result:
    with sink:
        async for run in runs:
            sink.add(run)
        return sink.finish()


@overload
def to_dicts(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> list[dict[str, Any]]: ...
@overload
def to_dicts(
    runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...
) -> Awaitable[list[dict[str, Any]]]: ...
def to_dicts(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """A list of dicts, with Python values.

    Raises:
        UnknownColumnError: `columns` names one that the table does not have.
    """
    return _pour(runs, DictSink(rows, columns))


@overload
def to_pandas(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> pandas.DataFrame: ...
@overload
def to_pandas(
    runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...
) -> Awaitable[pandas.DataFrame]: ...
def to_pandas(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """A pandas frame, with types that can hold missing values: counts stay integers.

    Raises:
        MissingExtraError: pandas is not installed.
        UnknownColumnError: `columns` names one that the table does not have.
    """
    return _pour(runs, PandasSink(rows, columns))


@overload
def to_polars(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> polars.DataFrame: ...
@overload
def to_polars(
    runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...
) -> Awaitable[polars.DataFrame]: ...
def to_polars(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """A polars frame.

    Raises:
        MissingExtraError: polars is not installed.
        UnknownColumnError: `columns` names one that the table does not have.
    """
    return _pour(runs, PolarsSink(rows, columns))


@overload
def to_arrow(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> Any: ...
@overload
def to_arrow(runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> Awaitable[Any]: ...
def to_arrow(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """An Arrow table, a `pyarrow.Table`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        UnknownColumnError: `columns` names one that the table does not have.
    """
    return _pour(runs, ArrowSink(rows, columns))


@overload
def write_jsonl(
    runs: Runs, path: Target, *, rows: TableRows | None = ..., columns: Sequence[str] | None = ...
) -> int: ...
@overload
def write_jsonl(
    runs: AsyncRuns, path: Target, *, rows: TableRows | None = ..., columns: Sequence[str] | None = ...
) -> Awaitable[int]: ...
def write_jsonl(
    runs: Runs | AsyncRuns, path: Target, *, rows: TableRows | None = None, columns: Sequence[str] | None = None
) -> Any:
    """Write one JSON object a line; the number of lines.

    Without `rows` a line is a whole record, just as `RunRecord.model_dump_json` gives it: nothing is lost, and
    ``relay-models import`` reads it. With `rows` a line is a row of the table: instants as RFC 3339, durations as
    seconds. `path` is a name, or an open binary stream.
    """
    return _pour(runs, JsonLinesSink(path, rows, columns))


@overload
def write_csv(
    runs: Runs, path: Target, *, rows: TableRows = ..., columns: Sequence[str] | None = ..., escape_formulas: bool = ...
) -> int: ...
@overload
def write_csv(
    runs: AsyncRuns,
    path: Target,
    *,
    rows: TableRows = ...,
    columns: Sequence[str] | None = ...,
    escape_formulas: bool = ...,
) -> Awaitable[int]: ...
def write_csv(
    runs: Runs | AsyncRuns,
    path: Target,
    *,
    rows: TableRows = "runs",
    columns: Sequence[str] | None = None,
    escape_formulas: bool = True,
) -> Any:
    """Write comma-separated values with a line of names; the number of rows.

    Instants are RFC 3339 in UTC, durations are seconds, lists are JSON arrays, what is missing is empty. Spreadsheets
    run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, and names come from anybody: such a text gets
    an apostrophe in front. ``escape_formulas=False`` writes it as it is, for readers that are no spreadsheets.
    """
    return _pour(runs, CsvSink(path, rows, columns, escape_formulas=escape_formulas))


@overload
def write_parquet(runs: Runs, path: Target, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> int: ...
@overload
def write_parquet(
    runs: AsyncRuns, path: Target, *, rows: TableRows = ..., columns: Sequence[str] | None = ...
) -> Awaitable[int]: ...
def write_parquet(
    runs: Runs | AsyncRuns, path: Target, *, rows: TableRows = "runs", columns: Sequence[str] | None = None
) -> Any:
    """Write a Parquet file, with one row group per 8,192 rows; the number of rows.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    return _pour(runs, ParquetSink(path, rows, columns))
