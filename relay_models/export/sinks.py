"""`Sink`: where exported rows go: lists, data frames and files.

A file sink holds one batch of rows at most, a frame sink holds them all. Items come in through `add`, and `finish`
returns the result, so that the same sinks serve sync and async iterators.
"""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeVar

from relay_models._checks import check_count, shown
from relay_models._files import open_output
from relay_models.documents import Document, record_of
from relay_models.errors import InvalidConfigurationError
from relay_models.export.frames import Columns, arrow_batch, arrow_schema, pandas_frame, polars_frame, require
from relay_models.export.rows import Table

__all__ = ["ArrowSink", "CsvSink", "DictSink", "JsonLinesSink", "PandasSink", "ParquetSink", "PolarsSink", "Sink"]

Result = TypeVar("Result")
Target = str | PathLike[str] | BinaryIO

BATCH_ROWS = 8_192
"""Rows per Arrow batch and per Parquet row group."""


def check_target(target: Any) -> None:
    """Raise `InvalidConfigurationError` for what is neither the path of a file nor open for writing."""
    if not hasattr(target, "write") and not isinstance(target, str | PathLike):
        raise InvalidConfigurationError(f"path is the path of a file, or an open binary file, not {shown(target)}")


class Sink(ABC, Generic[Result]):
    """Takes items until it is finished. A context manager, so that a failure leaves no partial file."""

    def __enter__(self) -> Sink[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what the sink holds."""

    @abstractmethod
    def add(self, item: Any) -> None:
        """Add one item: a record, a `Run` or a row of an aggregate."""

    @abstractmethod
    def finish(self) -> Result:
        """Return the result, after the last item."""


class _TableSink(Sink[Result]):
    def __init__(self, table: Table) -> None:
        self.table = table
        self.columns = table.columns
        self.names = table.names


class DictSink(_TableSink[list[dict[str, Any]]]):
    """A list of dicts with Python values."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._collected: list[dict[str, Any]] = []

    def add(self, item: Any) -> None:
        self._collected.extend({name: row[name] for name in self.names} for row in self.table.rows(item))

    def finish(self) -> list[dict[str, Any]]:
        return self._collected


class _ColumnSink(_TableSink[Result]):
    """Collects values by column."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.values: Columns = {name: [] for name in self.names}
        self.held = 0

    def add(self, item: Any) -> None:
        for row in self.table.rows(item):
            for name in self.names:
                self.values[name].append(row[name])
            self.held += 1
            if self.held >= BATCH_ROWS:
                self.full()

    def full(self) -> None:
        """Handle a complete batch of rows."""

    def take(self) -> Columns:
        """Return the collected values, and begin a new batch."""
        taken, self.values, self.held = self.values, {name: [] for name in self.names}, 0
        return taken


class PandasSink(_ColumnSink[Any]):
    """A pandas frame."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        require("pandas", "pandas")

    def finish(self) -> Any:
        return pandas_frame(self.columns, self.take())


class _BatchSink(_ColumnSink[Result]):
    """Turns each batch of rows into an Arrow batch."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.schema = arrow_schema(self.columns)

    @abstractmethod
    def put(self, batch: Any) -> None:
        """Add one Arrow batch."""

    def full(self) -> None:
        self.put(arrow_batch(self.schema, self.take()))


class ArrowSink(_BatchSink[Any]):
    """An Arrow table."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._batches: list[Any] = []

    def put(self, batch: Any) -> None:
        self._batches.append(batch)

    def finish(self) -> Any:
        if self.held:
            self.full()
        return require("pyarrow", "arrow").Table.from_batches(self._batches, schema=self.schema)


class PolarsSink(_ColumnSink[Any]):
    """A polars frame, built batch by batch, so that the Python values of only one batch are held."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._polars = require("polars", "polars")
        self._frames: list[Any] = []

    def full(self) -> None:
        self._frames.append(polars_frame(self.columns, self.take()))

    def finish(self) -> Any:
        if self.held or not self._frames:
            self.full()
        return self._polars.concat(self._frames, rechunk=True)


class _FileSink(Sink[int]):
    """Writes to a file, which is replaced only on success, or to an open binary stream, which stays open."""

    def __init__(self, target: Target, mode: int) -> None:
        check_target(target)
        check_count("mode", mode, 0, 0o7777)
        self.target = target
        self.mode = mode
        self.written = 0
        self._stack = ExitStack()
        self.stream: BinaryIO

    def __enter__(self) -> _FileSink:
        if isinstance(self.target, (str, PathLike)):
            file: AbstractContextManager[BinaryIO] = open_output(self.target, mode=self.mode)
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
        """Write what comes after the rows; return the number of rows."""
        return self.written


class JsonLinesSink(_FileSink):
    """One JSON object per line: whole records (no table), which is lossless, or the rows of a table."""

    def __init__(self, target: Target, table: Table | None, *, mode: int) -> None:
        super().__init__(target, mode)
        self.table = table

    def add(self, item: Any) -> None:
        if self.table is None:
            self.stream.write(record_line(item))
            self.written += 1
            return
        for row in self.table.rows(item):
            values = {name: _json(row[name]) for name in self.table.names}
            self.stream.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
            self.written += 1


class CsvSink(_FileSink):
    """Comma-separated values (RFC 4180) in UTF-8, with a header line."""

    def __init__(self, target: Target, table: Table, *, mode: int, escape_formulas: bool = True) -> None:
        super().__init__(target, mode)
        self.table = table
        self.escape_formulas = escape_formulas

    def begin(self) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow([self._cell(name) for name in self.table.names])
        self._flush()

    def add(self, item: Any) -> None:
        for row in self.table.rows(item):
            self._writer.writerow([self._cell(row[name]) for name in self.table.names])
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
            case bool():
                return "true" if value else "false"
            case str():
                return f"'{value}" if self.escape_formulas and is_formula(value) else value
            case list():
                return json.dumps(value, ensure_ascii=False)
            case _:
                return str(_json(value))


_FORMULA = re.compile(r"'*(?:[\x00\t\r\n]|[\s\x00-\x1f\u200b\ufeff]*[=+\-@＝＋－＠])")
# What a spreadsheet may take for a formula: an operator, also a full-width one or one after blanks that it strips.
# A text that looks as if it had been escaped is escaped, too: readers take away one apostrophe and have each text.


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run the text, or what is left of it without its first apostrophes, as a formula."""
    return _FORMULA.match(text) is not None


class ParquetSink(_BatchSink[int]):
    """A Parquet file: one row group per batch, compressed with zstd."""

    def __init__(self, target: Target, table: Table, *, mode: int) -> None:
        super().__init__(table)
        check_target(target)
        check_count("mode", mode, 0, 0o7777)
        self.target = target
        self.mode = mode
        self.written = 0
        self._parquet = require("pyarrow.parquet", "arrow")
        self._stack = ExitStack()

    def __enter__(self) -> ParquetSink:
        stream: Any = self.target
        if isinstance(self.target, (str, PathLike)):
            file: AbstractContextManager[BinaryIO] = open_output(self.target, mode=self.mode)
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
    """Return a record, or a document of a user's model with its ``pk``, as a line of JSON: its stored text if known."""
    if isinstance(item, Document) and item.is_own_model():
        text, fields = item.model_dump_json(), item.__dict__.get("record_json")
        if fields is not None and fields.startswith("{") and not _has_line_breaks(fields):
            pk = json.dumps(item.pk, ensure_ascii=False)
            text = f'{{"pk":{pk}}}' if fields == "{}" else f'{{"pk":{pk},{fields[1:]}'
    else:
        record = record_of(item)
        stored = None if item is record else item.record_json
        text = record.model_dump_json() if stored is None or _has_line_breaks(stored) else stored
    return f"{text}\n".encode()


def _has_line_breaks(text: str) -> bool:
    return "\n" in text or "\r" in text


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value / timedelta(seconds=1)
    if isinstance(value, date):
        return value.isoformat()
    return value
