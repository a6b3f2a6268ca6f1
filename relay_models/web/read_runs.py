"""`ReadRuns`: few runs, read once and aggregated here as often as a page needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay_models.columns.kind import Kind
from relay_models.query.aggregate.groups import AggregateRows, Groups
from relay_models.query.aggregate.request import Aggregation
from relay_models.query.aggregate.row_groups import add_row

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["ReadRuns"]


class ReadRuns:
    """Runs whose columns were read.

    Args:
        columns: the columns of runs.
        runs: the runs.
        names: the columns that matter.
    """

    def __init__(self, columns: Mapping[str, Any], runs: Iterable[Any], names: Iterable[str]) -> None:
        self._columns = dict(columns)
        read = [columns[name] for name in dict.fromkeys(names) if name in columns]
        self._rows = [{column.name: _stored(column, run) for column in read} for run in runs]

    @classmethod
    def read(cls, backend: RedisBackend, where: str | None, most: int, names: Iterable[str]) -> ReadRuns | None:
        """Read the runs that meet a filter; None where there are more than `most`, or some cannot be read."""
        page = backend.find_runs(where, limit=most, columns=True, on_corrupt="skip")
        if page.next is not None or page.corrupt:
            return None
        return cls(backend.runs.document.columns(), page, names)

    def __len__(self) -> int:
        return len(self._rows)

    def having(self, name: str, value: Any = None) -> ReadRuns:
        """Those that have a value of a column, or one value of it (as it is stored)."""
        found = ReadRuns(self._columns, (), ())
        found._rows = [row for row in self._rows if row[name] is not None and value in (None, row[name])]
        return found

    def ends(self) -> tuple[datetime, datetime] | None:
        """When the first and the last began; None where there are no runs."""
        load = self._columns["started_at"].type.load
        times = [row["started_at"] for row in self._rows]
        return (load(min(times)), load(max(times))) if times else None

    def aggregate(self, **asked: Any) -> AggregateRows:
        """Group and count them, as `relay_models.sync.RedisBackend.aggregate_runs` does."""
        groups = Groups(Aggregation.parse(self._columns, **asked))
        for row in self._rows:
            add_row(groups, row)
        return groups.rows()


def _stored(column: Any, run: Any) -> Any:
    value = getattr(run, column.name)
    if value is None:
        return [] if column.kind is Kind.TAGS else None
    return column.type.store(value)
