"""Where rows go, one after another: into lists, data frames or files. A sink holds one batch of rows at most.

The frames are the exception, as they hold everything by their nature. Every sink is fed by `add` and ended by
`finish`, so that the same ones serve ordinary and asynchronous iterators.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeVar

from relay_models._files import replacing
from relay_models.export.columns import TableColumn, TableRows, choose
from relay_models.export.frames import Columns, arrow_batch, arrow_schema, pandas_frame, polars_frame, require
from relay_models.export.rows import body, expand

__all__ = ["ArrowSink", "CsvSink", "DictSink", "JsonLinesSink", "PandasSink", "ParquetSink", "PolarsSink", "Sink"]

Result = TypeVar("Result")
Target = str | PathLike[str] | BinaryIO

BATCH_ROWS = 8_192
"""Rows that are collected before they are written to Arrow or Parquet."""


class Sink(ABC, Generic[Result]):
    """Takes records or rows until it is finished; entered and left as a context, so that a failure leaves no file."""

    def __enter__(self) -> Sink[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to let go of."""

    @abstractmethod
    def add(self, item: Any) -> None:
        """Take one `RunRecord` or one `Run` row."""

    @abstractmethod
    def finish(self) -> Result:
        """The result, after the last item."""


class _TableSink(Sink[Result]):
    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        self.rows: TableRows = rows
        self.columns: tuple[TableColumn, ...] = choose(rows, columns)
        self.names = tuple(column.name for column in self.columns)


class DictSink(_TableSink[list[dict[str, Any]]]):
    """A list of dicts with Python values."""

    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        self._collected: list[dict[str, Any]] = []

    def add(self, item: Any) -> None:
        self._collected.extend({name: row[name] for name in self.names} for row in expand(item, self.rows, self.names))

    def finish(self) -> list[dict[str, Any]]:
        return self._collected


class _ColumnSink(_TableSink[Result]):
    """Collects values by column."""

    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        self.values: Columns = {name: [] for name in self.names}
        self.held = 0

    def add(self, item: Any) -> None:
        for row in expand(item, self.rows, self.names):
            for name in self.names:
                self.values[name].append(row[name])
            self.held += 1
            if self.held >= BATCH_ROWS:
                self.full()

    def full(self) -> None:
        """A batch of rows is there."""

    def take(self) -> Columns:
        """The values so far, which are then no longer held."""
        taken, self.values, self.held = self.values, {name: [] for name in self.names}, 0
        return taken


class PandasSink(_ColumnSink[Any]):
    """A pandas frame."""

    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        require("pandas", "pandas")

    def finish(self) -> Any:
        return pandas_frame(self.columns, self.take())


class _BatchSink(_ColumnSink[Result]):
    """Turns each batch of rows into an Arrow batch."""

    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        self.schema = arrow_schema(self.columns)

    @abstractmethod
    def put(self, batch: Any) -> None:
        """Take one Arrow batch."""

    def full(self) -> None:
        self.put(arrow_batch(self.schema, self.take()))


class ArrowSink(_BatchSink[Any]):
    """An Arrow table."""

    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        self._batches: list[Any] = []

    def put(self, batch: Any) -> None:
        self._batches.append(batch)

    def finish(self) -> Any:
        if self.held:
            self.full()
        return require("pyarrow", "arrow").Table.from_batches(self._batches, schema=self.schema)


class PolarsSink(_ColumnSink[Any]):
    """A polars frame, put together from batches to keep the Python values of one batch only."""

    def __init__(self, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        self._polars = require("polars", "polars")
        self._frames: list[Any] = []

    def full(self) -> None:
        self._frames.append(polars_frame(self.columns, self.take()))

    def finish(self) -> Any:
        if self.held or not self._frames:
            self.full()
        return self._polars.concat(self._frames, rechunk=True)


class _FileSink(Sink[int]):
    """Writes into a file that appears when all went well, or into an open binary stream, which stays open."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.written = 0
        self._stack = ExitStack()
        self.stream: BinaryIO

    def __enter__(self) -> _FileSink:
        if isinstance(self.target, (str, PathLike)):
            file: AbstractContextManager[BinaryIO] = replacing(self.target)
            self.stream = self._stack.enter_context(file)
        else:
            self.stream = self.target
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self) -> None:
        """Write what comes before the rows."""

    def finish(self) -> int:
        """Write what comes after the rows; the number of rows."""
        return self.written


class JsonLinesSink(_FileSink):
    """One JSON object a line: whole records, which lose nothing, or the rows of a table."""

    def __init__(self, target: Target, rows: TableRows | None, columns: Sequence[str] | None) -> None:
        super().__init__(target)
        self.rows = rows
        self.names = () if rows is None else tuple(column.name for column in choose(rows, columns))

    def add(self, item: Any) -> None:
        if self.rows is None:
            self.stream.write(record_line(item))
            self.written += 1
            return
        for row in expand(item, self.rows, self.names):
            values = {name: _json(row[name]) for name in self.names}
            self.stream.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
            self.written += 1


class CsvSink(_FileSink):
    """Comma-separated values, as RFC 4180 has them, in UTF-8 with one line of names.

    Instants are RFC 3339 in UTC, durations are seconds, lists are JSON arrays, what is missing is empty. A spreadsheet
    takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula and runs it, and names come from anybody:
    such a text gets an apostrophe in front, unless `escape_formulas` is off.
    """

    def __init__(
        self, target: Target, rows: TableRows, columns: Sequence[str] | None, *, escape_formulas: bool = True
    ) -> None:
        super().__init__(target)
        self.rows: TableRows = rows
        self.names = tuple(column.name for column in choose(rows, columns))
        self.escape_formulas = escape_formulas

    def begin(self) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(self.names)
        self._flush()

    def add(self, item: Any) -> None:
        for row in expand(item, self.rows, self.names):
            self._writer.writerow([self._cell(row[name]) for name in self.names])
            self.written += 1
        self._flush()

    def _flush(self) -> None:
        self.stream.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()

    def _cell(self, value: Any) -> str:
        match value:
            case None:
                return ""
            case str():
                return f"'{value}" if self.escape_formulas and value.startswith(FORMULA_STARTS) else value
            case list():
                return json.dumps(value, ensure_ascii=False)
            case _:
                return str(_json(value))


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ParquetSink(_BatchSink[int]):
    """A Parquet file, a row group per batch, compressed with zstd."""

    def __init__(self, target: Target, rows: TableRows, columns: Sequence[str] | None) -> None:
        super().__init__(rows, columns)
        self.target = target
        self.written = 0
        self._parquet = require("pyarrow.parquet", "arrow")
        self._stack = ExitStack()

    def __enter__(self) -> ParquetSink:
        stream: Any = self.target
        if isinstance(self.target, (str, PathLike)):
            file: AbstractContextManager[BinaryIO] = replacing(self.target)
            stream = self._stack.enter_context(file)
        writer = self._parquet.ParquetWriter(stream, self.schema, compression="zstd")
        self._writer = self._stack.enter_context(writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def put(self, batch: Any) -> None:
        self._writer.write_batch(batch)
        self.written += batch.num_rows

    def finish(self) -> int:
        if self.held:
            self.full()
        return self.written


def record_line(item: Any) -> bytes:
    """A record as a line of JSON: of a stored run its text as it is, of which it is known that it can be read."""
    record = body(item)
    text = None if item is record else item.record_json
    if text is None or "\n" in text or "\r" in text:
        text = record.model_dump_json()
    return f"{text}\n".encode()


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value / timedelta(seconds=1)
    return value
