"""`families`: runs with the runs that they called, for export and for the tree of `runs show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_models.records import RunRecord
    from relay_models.sync import RedisBackend

__all__ = ["descendants", "families", "nested_columns"]


def nested_columns(backend: RedisBackend, run_id: str, root_id: str | None) -> list[Any]:
    """Return the rows of all runs of a run's tree, itself and the root included as far as they are stored."""
    from relay_models.documents import Run  # lazy: start-up time

    root = root_id or run_id
    of_tree = (Run.root_run_id == root) | (Run.run_id == root)
    return list(backend.stream_runs(of_tree, order_by="started_at", columns=True, on_corrupt="skip"))


def descendants(backend: RedisBackend, run: RunRecord) -> list[RunRecord]:
    """Return the stored runs below a run, at any depth, oldest first."""
    root = str(run.id if run.ext is None or run.ext.root_run_id is None else run.ext.root_run_id)
    found = _with_records(backend, root)
    below, more = {run.id}, True
    while more:
        new = {each.id for each in found if each.id not in below and each.ext and each.ext.parent_run_id in below}
        more = bool(new)
        below |= new
    return [each for each in found if each.id in below and each.id != run.id]


def families(
    backend: RedisBackend, runs: Iterable[RunRecord], chosen: Any
) -> Iterator[tuple[RunRecord, list[RunRecord]]]:
    """Yield each run with the stored runs below it. A run whose root meets the filter is in the family of that one.

    Args:
        backend: the store.
        runs: the runs that meet the filter.
        chosen: the filter; None for all runs.
    """
    from relay_models.documents import Run  # lazy: start-up time

    for run in runs:
        root = None if run.ext is None else run.ext.root_run_id
        if root is not None and root != run.id:
            is_root = Run.run_id == str(root)
            if backend.count_runs(is_root if chosen is None else is_root & chosen):
                continue
        yield run, descendants(backend, run)


def _with_records(backend: RedisBackend, root: str) -> list[RunRecord]:
    from relay_models.documents import Run  # lazy: start-up time

    rows = backend.stream_runs(Run.root_run_id == root, order_by="started_at", on_corrupt="skip")
    return [row.record for row in rows if row.record is not None]
