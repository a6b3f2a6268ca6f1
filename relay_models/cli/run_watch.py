"""`watch_runs`: print new and changed runs as they are stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relay_models.cli.run_tables import listed_cell, listed_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_models.cli.session import Session

__all__ = ["watch_runs"]

COLUMNS = ["started_at", "agent_id", "run_id", "duration", "llm_calls", "tool_calls", "total_tokens", "models"]
# Usual widths; longer values are cut.
SIZES = {
    "started_at": 19, "agent_id": 24, "run_id": 36, "duration": 8, "llm_calls": 3, "tool_calls": 5, "total_tokens": 8,
    "models": 24,
}  # fmt: skip


def watch_runs(
    session: Session,
    filter: Any,
    names: Sequence[str] | None,
    *,
    interval: float,
    count: int,
    from_start: bool,
    changes: bool,
) -> None:
    """Print each new or changed run on its own line, immediately."""
    from relay_models.export import to_dicts  # lazy: start-up time
    from relay_models.views.columns import with_shown_values  # lazy: start-up time

    session.open()
    out = session.out
    columns = list(names) if names else COLUMNS
    since = datetime.fromtimestamp(0, UTC) if from_start else None
    runs = session.backend.watch_runs(filter, since=since, changes=changes, columns=True, interval=interval)
    show = None
    if not out.as_json:
        heads = [listed_column(name, named=bool(names)) for name in columns]
        show = out.rolling(heads, [SIZES.get(name, 20) for name in columns])
    for shown, run in enumerate(runs, 1):
        session.report_unreadable(runs.corrupt)
        (row,) = to_dicts([run], columns=names if show is None else [*columns, "status"])
        if show is None:
            out.line(row)
        else:
            row = with_shown_values(run, row)
            show([listed_cell(row, name, named=bool(names)) for name in columns])
        if count and shown >= count:
            return
