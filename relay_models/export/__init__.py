"""Tables of runs and calls: dicts, pandas, polars and Arrow in memory; JSON lines, CSV and Parquet in files.

Every function takes runs as they come: `RunRecord` values or `Run` rows, from a list, a page, a generator or an
asynchronous iterator such as `RedisBackend.iter_runs`. Given an asynchronous one it returns an awaitable::

    frame = to_pandas(runs)
    rows = await write_parquet(backend.iter_runs("planner"), "planner.parquet", rows="calls")

`rows` says what a row is: ``runs`` (one per run) or ``calls`` (one per call). Instants are real timestamps in UTC,
durations are real durations, both to the microsecond; list columns are lists. Files are written in bounded memory,
whatever the number of runs, and appear under their name only when they are complete.
"""

from __future__ import annotations

from relay_models.export.columns import CALL_COLUMNS, RUN_COLUMNS, TableColumn, TableRows, Type
from relay_models.export.tables import to_arrow, to_dicts, to_pandas, to_polars, write_csv, write_jsonl, write_parquet

__all__ = [
    "CALL_COLUMNS",
    "RUN_COLUMNS",
    "TableColumn",
    "TableRows",
    "Type",
    "to_arrow",
    "to_dicts",
    "to_pandas",
    "to_polars",
    "write_csv",
    "write_jsonl",
    "write_parquet",
]
