"""`known_columns`, `quoted` and `find_run`: the columns that are shown, literals of filters, and runs by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_models import Run
from relay_models.columns.column import Column
from relay_models.columns.kind import Kind
from relay_models.errors import NotFoundError, QueryError

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["find_run", "known_columns", "quoted"]


def known_columns(document: type[Run]) -> dict[str, Column[Any]]:
    """The columns of a store's runs that can be shown, by name; `document` is its ``backend.runs.document``."""
    return {name: column for name, column in document.columns().items() if column.kind is not Kind.WORDS}


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"})


def quoted(text: str) -> str:
    """A text as a literal of the filter language."""
    return f'"{text.translate(_ESCAPES)}"'


def find_run(backend: RedisBackend, wanted: str, agent: str | None = None) -> Run:
    """The run with an id, or the only one whose id begins so, with its record.

    Raises:
        NotFoundError: there is none.
        QueryError: there are several.
    """
    run_id = wanted.strip().strip("….").lower()
    columns = backend.runs.document.columns()
    found: Any = []
    if run_id:
        column = columns["run_id"]
        parts: list[Any] = [column == run_id if len(run_id) == 36 else column.startswith(run_id)]
        if agent is not None:
            parts.append(columns["agent_id"] == agent)
        found = backend.find_runs(parts, limit=3)
    if not found:
        raise NotFoundError(f"there is no run {wanted!r}" + ("" if agent is None else f" of agent {agent!r}"))
    if len(found) > 1:
        shown = ", ".join(f"{run.run_id} of {run.agent_id!r}" for run in found[:2])
        raise QueryError(f"several runs begin with {wanted!r}: {shown}, …")
    run: Run = found[0]
    return run
