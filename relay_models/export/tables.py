"""The export functions, for sync and async iterators of runs, and for aggregates."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

from relay_models._checks import check_type
from relay_models._files import PRIVATE
from relay_models.export.columns import TableRows
from relay_models.export.rows import is_aggregate, table_of
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
    """Add all items to the sink: now, or when awaited."""
    if isinstance(runs, AsyncIterable):
        return _pour_async(runs, sink)
    check_type("runs", runs, Iterable, "a list or another iterable of runs")
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
    """Return the rows as dicts of Python values.

    Args:
        runs: `RunRecord` or `Run` values in any iterable, sync or async; or the rows of `aggregate_runs`.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call). Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.

    Returns:
        The rows, with aware datetimes in UTC and timedeltas. An awaitable of it where `runs` is async.

    Raises:
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    return _pour(runs, DictSink(table_of(runs, rows, columns)))


@overload
def to_pandas(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> pandas.DataFrame: ...
@overload
def to_pandas(
    runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...
) -> Awaitable[pandas.DataFrame]: ...
def to_pandas(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """Build a pandas frame.

    Args:
        runs: `RunRecord` or `Run` values in any iterable, sync or async; or the rows of `aggregate_runs`.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call). Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.

    Returns:
        The frame. Its types can hold missing values: counts stay integers. An awaitable of it where `runs` is async.

    Raises:
        MissingExtraError: pandas is not installed.
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    return _pour(runs, PandasSink(table_of(runs, rows, columns)))


@overload
def to_polars(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> polars.DataFrame: ...
@overload
def to_polars(
    runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...
) -> Awaitable[polars.DataFrame]: ...
def to_polars(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """Build a polars frame.

    Args:
        runs: `RunRecord` or `Run` values in any iterable, sync or async; or the rows of `aggregate_runs`.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call). Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.

    Returns:
        The frame. An awaitable of it where `runs` is async.

    Raises:
        MissingExtraError: polars is not installed.
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    return _pour(runs, PolarsSink(table_of(runs, rows, columns)))


@overload
def to_arrow(runs: Runs, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> Any: ...
@overload
def to_arrow(runs: AsyncRuns, *, rows: TableRows = ..., columns: Sequence[str] | None = ...) -> Awaitable[Any]: ...
def to_arrow(runs: Runs | AsyncRuns, *, rows: TableRows = "runs", columns: Sequence[str] | None = None) -> Any:
    """Build an Arrow table.

    Args:
        runs: `RunRecord` or `Run` values in any iterable, sync or async; or the rows of `aggregate_runs`.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call). Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.

    Returns:
        A `pyarrow.Table`. An awaitable of it where `runs` is async.

    Raises:
        MissingExtraError: pyarrow is not installed.
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    return _pour(runs, ArrowSink(table_of(runs, rows, columns)))


@overload
def write_jsonl(
    runs: Runs,
    path: Target,
    *,
    rows: TableRows | None = ...,
    columns: Sequence[str] | None = ...,
    mode: int = ...,
) -> int: ...
@overload
def write_jsonl(
    runs: AsyncRuns,
    path: Target,
    *,
    rows: TableRows | None = ...,
    columns: Sequence[str] | None = ...,
    mode: int = ...,
) -> Awaitable[int]: ...
def write_jsonl(
    runs: Runs | AsyncRuns,
    path: Target,
    *,
    rows: TableRows | None = None,
    columns: Sequence[str] | None = None,
    mode: int = PRIVATE,
) -> Any:
    """Write one JSON object per line.

    Without `rows` a line is a whole record, exactly as `RunRecord.model_dump_json` returns it: nothing is lost, and
    ``relay-models import`` reads it; of a document of your own model, its ``pk`` and all of its fields. With `rows` a
    line is a row of the table: instants as RFC 3339, durations in seconds.

    Args:
        runs: `RunRecord` or `Run` values or documents of your own model in any iterable, sync or async; or the rows of
            `aggregate_runs`.
        path: The file's name, or an open binary stream, which stays open.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call); None for whole
            records. Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.
        mode: Permissions of a new file; by default only its owner may read it, because runs hold prompts.

    Returns:
        The number of lines. An awaitable of it where `runs` is async.

    Raises:
        OSError: The file cannot be written. It then has its old content.
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    whole = rows is None and columns is None and not is_aggregate(runs)
    table = None if whole else table_of(runs, rows or "runs", columns)
    return _pour(runs, JsonLinesSink(path, table, mode=mode))


@overload
def write_csv(
    runs: Runs,
    path: Target,
    *,
    rows: TableRows = ...,
    columns: Sequence[str] | None = ...,
    mode: int = ...,
    escape_formulas: bool = ...,
) -> int: ...
@overload
def write_csv(
    runs: AsyncRuns,
    path: Target,
    *,
    rows: TableRows = ...,
    columns: Sequence[str] | None = ...,
    mode: int = ...,
    escape_formulas: bool = ...,
) -> Awaitable[int]: ...
def write_csv(
    runs: Runs | AsyncRuns,
    path: Target,
    *,
    rows: TableRows = "runs",
    columns: Sequence[str] | None = None,
    mode: int = PRIVATE,
    escape_formulas: bool = True,
) -> Any:
    """Write comma-separated values (RFC 4180) in UTF-8, with a header line.

    Instants are RFC 3339 in UTC, durations are in seconds, lists are JSON arrays, missing values are empty.

    Args:
        runs: `RunRecord` or `Run` values in any iterable, sync or async; or the rows of `aggregate_runs`.
        path: The file's name, or an open binary stream, which stays open.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call). Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.
        mode: Permissions of a new file; by default only its owner may read it, because runs hold prompts.
        escape_formulas: Put an apostrophe in front of texts that spreadsheets would run as a formula: those that begin
            with ``=``, ``+``, ``-``, ``@``, a tab or a line break, also after blanks. Texts that begin with apostrophes
            and go on so get one more, so that a program that takes one away has every text unchanged.

    Returns:
        The number of rows. An awaitable of it where `runs` is async.

    Raises:
        OSError: The file cannot be written. It then has its old content.
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    return _pour(runs, CsvSink(path, table_of(runs, rows, columns), mode=mode, escape_formulas=escape_formulas))


@overload
def write_parquet(
    runs: Runs,
    path: Target,
    *,
    rows: TableRows = ...,
    columns: Sequence[str] | None = ...,
    mode: int = ...,
) -> int: ...
@overload
def write_parquet(
    runs: AsyncRuns,
    path: Target,
    *,
    rows: TableRows = ...,
    columns: Sequence[str] | None = ...,
    mode: int = ...,
) -> Awaitable[int]: ...
def write_parquet(
    runs: Runs | AsyncRuns,
    path: Target,
    *,
    rows: TableRows = "runs",
    columns: Sequence[str] | None = None,
    mode: int = PRIVATE,
) -> Any:
    """Write a Parquet file, with one row group per 8,192 rows.

    Args:
        runs: `RunRecord` or `Run` values in any iterable, sync or async; or the rows of `aggregate_runs`.
        path: The file's name, or an open binary stream, which stays open.
        rows: What a row is: ``runs`` (one per run) or ``calls`` (one per call). Aggregates have rows of their own.
        columns: Names of the columns, in order; the default ones without.
        mode: Permissions of a new file; by default only its owner may read it, because runs hold prompts.

    Returns:
        The number of rows. An awaitable of it where `runs` is async.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: The file cannot be written. It then has its old content.
        UnknownColumnError: `columns` names a column that the table does not have.
        InvalidConfigurationError: An item is neither a run nor a row of an aggregate, or was read without its record.
    """
    return _pour(runs, ParquetSink(path, table_of(runs, rows, columns), mode=mode))
