"""Export runs, calls and aggregates: dicts, pandas, polars and Arrow in memory; JSON lines, CSV and Parquet in files.

Every function takes runs in any iterable: `RunRecord` or `Run` values in a list, a page, a generator or an async
iterator such as `RedisBackend.iter_runs`, for which it returns an awaitable. It also takes the rows of
`aggregate_runs`.

Example:
    ```python
    frame = to_pandas(runs)
    rows = await write_parquet(backend.iter_runs("planner"), "planner.parquet", rows="calls")
    per_hour = to_pandas(await backend.aggregate_runs(every="1h"))
    ```

Instants are timestamps in UTC and durations are durations, both in microseconds; list columns are lists. Files are
written in bounded memory, whatever the number of runs, and replaced only when they are complete.
"""

from __future__ import annotations

from relay_models.export.columns import CALL_COLUMNS, RUN_COLUMNS, TableColumn, TableRows
from relay_models.export.tables import to_arrow, to_dicts, to_pandas, to_polars, write_csv, write_jsonl, write_parquet

__all__ = [
    "CALL_COLUMNS",
    "RUN_COLUMNS",
    "TableColumn",
    "TableRows",
    "to_arrow",
    "to_dicts",
    "to_pandas",
    "to_polars",
    "write_csv",
    "write_jsonl",
    "write_parquet",
]
