"""`metadata`: makes the value of a column from the metadata of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relay_models._checks import check_type
from relay_models.records import RunRecord

__all__ = ["metadata"]


def metadata(name: str, *, default: Any = None) -> Callable[[RunRecord], Any]:
    """Make a column's value of the run's metadata, for `column`.

    Looked up in the run's own metadata (``run.ext.metadata``) first, then call by call, in the metadata that the
    runtime kept (``call.metadata_snapshot.extensions``) and in that of other sources (``call.ext.metadata``). The
    first value that is not None counts.

    Args:
        name: the key; of nested objects the keys with dots between, such as ``"customer.tier"``.
        default: the value where no metadata has the key.

    Example:
        ```python
        class AcmeRun(Run):
            tenant: Column[str | None] = column(metadata("tenant"))
        ```
    """
    check_type("name", name, str, "a key of metadata")
    path = name.split(".")

    def value(run: RunRecord) -> Any:
        if run.ext is not None and (found := _look_up(run.ext.metadata, name, path)) is not None:
            return found
        for call in run.calls:
            snapshot = call.metadata_snapshot
            if snapshot is not None and (found := _look_up(snapshot.extensions, name, path)) is not None:
                return found
            if call.ext is not None and (found := _look_up(call.ext.metadata, name, path)) is not None:
                return found
        return default

    return value


def _look_up(values: Any, name: str, path: list[str]) -> Any:
    if not isinstance(values, Mapping):
        return None
    if name in values:
        return values[name]
    for part in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(part)
    return values
