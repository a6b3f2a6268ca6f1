"""Build Arrow batches and pandas and polars frames from columns of Python values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING, Any

from relay_models.columns.column import Kind
from relay_models.errors import InvalidRecordError, MissingExtraError
from relay_models.export.columns import TableColumn

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["arrow_batch", "arrow_schema", "pandas_frame", "polars_frame", "require"]

Columns = dict[str, list[Any]]


def require(module: str, extra: str) -> Any:
    """Import an optional package.

    Raises:
        MissingExtraError: It is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise MissingExtraError(
            f"this needs {name}, which is not installed: pip install 'relay-models[{extra}]'", name=name
        ) from error


def arrow_schema(columns: Sequence[TableColumn]) -> Any:
    """Return the Arrow schema of a table of these columns."""
    pa = require("pyarrow", "arrow")
    types: dict[Kind | type, Any] = {
        bool: pa.bool_(),
        date: pa.date32(),
        Kind.TAG: pa.string(),
        Kind.TAGS: pa.list_(pa.string()),
        Kind.COUNT: pa.uint64(),
        Kind.NUMBER: pa.float64(),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
        Kind.DURATION: pa.duration("us"),
    }
    return pa.schema(
        [
            pa.field(
                column.name, pa.int64() if _is_signed(column) else types[column.type], metadata={"about": column.about}
            )
            for column in columns
        ]
    )


def arrow_batch(schema: Any, values: Columns) -> Any:
    """Build one Arrow batch from columns of Python values."""
    pa = require("pyarrow", "arrow")
    arrays = [_converted(field.name, pa.array, values[field.name], type=field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def pandas_frame(columns: Sequence[TableColumn], values: Columns) -> pandas.DataFrame:
    """Build a pandas frame whose types can hold missing values: counts stay integers, lists stay lists."""
    pd = require("pandas", "pandas")
    types: dict[Kind | type, str] = {
        bool: "boolean",
        date: "datetime64[us]",  # pandas has no dates
        Kind.TAG: "string",
        Kind.TAGS: "object",
        Kind.COUNT: "UInt64",
        Kind.NUMBER: "Float64",
        Kind.TIME: "datetime64[us, UTC]",
        Kind.DURATION: "timedelta64[us]",
    }
    series = {
        column.name: _converted(
            column.name, pd.Series, values[column.name], dtype="Int64" if _is_signed(column) else types[column.type]
        )
        for column in columns
    }
    frame: pandas.DataFrame = pd.DataFrame(series)
    return frame


def polars_frame(columns: Sequence[TableColumn], values: Columns) -> polars.DataFrame:
    """Build a polars frame."""
    pl = require("polars", "polars")
    types: dict[Kind | type, Any] = {
        bool: pl.Boolean(),
        date: pl.Date(),
        Kind.TAG: pl.String(),
        Kind.TAGS: pl.List(pl.String()),
        Kind.COUNT: pl.UInt64(),
        Kind.NUMBER: pl.Float64(),
        Kind.TIME: pl.Datetime("us", "UTC"),
        Kind.DURATION: pl.Duration("us"),
    }
    series = [
        _converted(
            column.name,
            pl.Series,
            column.name,
            values[column.name],
            dtype=pl.Int64() if _is_signed(column) else types[column.type],
        )
        for column in columns
    ]
    frame: polars.DataFrame = pl.DataFrame(series)
    return frame


def _is_signed(column: TableColumn) -> bool:
    return column.signed and column.kind is Kind.COUNT


def _converted(name: str, make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call `make`; where a value does not fit the column's type, raise an error that names the column."""
    try:
        return make(*arguments, **options)
    except (OverflowError, ValueError, TypeError) as error:
        raise InvalidRecordError(f"a value of column {name!r} does not fit its type: {error}", path=name) from error
