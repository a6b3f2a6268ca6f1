"""`family_of`: the runs that a run is nested with, as the rows of a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay_models import Run

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["Family", "family_of"]

MOST_RUNS = 200
"""Maximum number of runs of a tree that are shown."""


@dataclass(frozen=True, slots=True)
class Family:
    """The tree of runs that called each other: each with how deep it is."""

    rows: tuple[tuple[int, Run], ...]
    is_complete: bool


def family_of(backend: RedisBackend, run: Any) -> Family:
    """Find the runs of a run's tree, itself included; none where it is alone."""
    columns = backend.runs.document.columns()
    root = str(run.root_run_id or run.run_id)
    of_tree = (columns["root_run_id"] == root) | (columns["run_id"] == root)
    if run.parent_run_id is not None:
        of_tree |= columns["run_id"] == str(run.parent_run_id)
    of_tree |= columns["parent_run_id"] == str(run.run_id)
    page = backend.find_runs(of_tree, order_by="started_at", limit=MOST_RUNS, columns=True, on_corrupt="skip")
    if len(page) < 2:
        return Family((), True)
    return Family(tuple(_tree(page)), page.next is None)


def _tree(runs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """The runs, each under the one that called it; those whose caller is not there are at the top."""
    known = {run.run_id for run in runs}
    below: dict[Any, list[Any]] = {}
    for run in runs:
        below.setdefault(run.parent_run_id if run.parent_run_id in known else None, []).append(run)
    seen: set[Any] = set()
    # What only calls itself is at the end, so that no run is left out.
    waiting = [(0, run) for run in (*reversed(runs), *reversed(below.get(None, [])))]
    while waiting:
        depth, run = waiting.pop()
        if run.run_id in seen:
            continue
        seen.add(run.run_id)
        yield depth, run
        waiting += [(depth + 1, child) for child in reversed(below.get(run.run_id, []))]
