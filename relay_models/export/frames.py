"""Tables in memory: dicts, pandas, polars and Arrow, all built a batch of columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from relay_models.errors import InvalidRecordError, MissingExtraError
from relay_models.export.columns import TableColumn, Type

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["arrow_batch", "arrow_schema", "pandas_frame", "polars_frame", "require"]

Columns = dict[str, list[Any]]


def require(module: str, extra: str) -> Any:
    """An optional package.

    Raises:
        MissingExtraError: it is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise MissingExtraError(
            f"this needs {name}, which is not installed: pip install 'relay-models[{extra}]'", name=name
        ) from error


def arrow_schema(columns: Sequence[TableColumn]) -> Any:
    """The Arrow schema of a table of these columns."""
    pa = require("pyarrow", "arrow")
    types = {
        Type.TEXT: pa.string(),
        Type.TEXTS: pa.list_(pa.string()),
        Type.COUNT: pa.uint64(),
        Type.NUMBER: pa.float64(),
        Type.TIME: pa.timestamp("us", tz="UTC"),
        Type.DURATION: pa.duration("us"),
    }
    return pa.schema(
        [pa.field(column.name, types[column.type], metadata={"about": column.about}) for column in columns]
    )


def arrow_batch(schema: Any, values: Columns) -> Any:
    """One Arrow batch from columns of Python values."""
    pa = require("pyarrow", "arrow")
    arrays = [_converted(field.name, pa.array, values[field.name], type=field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def pandas_frame(columns: Sequence[TableColumn], values: Columns) -> pandas.DataFrame:
    """A pandas frame whose types can hold missing values: counts stay integers, lists stay lists."""
    pd = require("pandas", "pandas")
    types = {
        Type.TEXT: "string",
        Type.TEXTS: "object",
        Type.COUNT: "UInt64",
        Type.NUMBER: "Float64",
        Type.TIME: "datetime64[us, UTC]",
        Type.DURATION: "timedelta64[us]",
    }
    series = {
        column.name: _converted(column.name, pd.Series, values[column.name], dtype=types[column.type])
        for column in columns
    }
    frame: pandas.DataFrame = pd.DataFrame(series)
    return frame


def polars_frame(columns: Sequence[TableColumn], values: Columns) -> polars.DataFrame:
    """A polars frame."""
    pl = require("polars", "polars")
    types = {
        Type.TEXT: pl.String(),
        Type.TEXTS: pl.List(pl.String()),
        Type.COUNT: pl.UInt64(),
        Type.NUMBER: pl.Float64(),
        Type.TIME: pl.Datetime("us", "UTC"),
        Type.DURATION: pl.Duration("us"),
    }
    series = [
        _converted(column.name, pl.Series, column.name, values[column.name], dtype=types[column.type])
        for column in columns
    ]
    frame: polars.DataFrame = pl.DataFrame(series)
    return frame


def _converted(name: str, make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What `make` gives; a value beyond the column's range is an error that names the column."""
    try:
        return make(*arguments, **options)
    except (OverflowError, ValueError, TypeError) as error:
        raise InvalidRecordError(f"a value of column {name!r} does not fit its type: {error}", path=name) from error
