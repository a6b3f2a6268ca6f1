"""`relay-models runs watch`: new and changed runs as they are stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_models.errors import CorruptDocumentError

__all__ = ["watch_runs"]

COLUMNS = ["started_at", "agent_id", "run_id", "duration", "llm_calls", "tool_calls", "total_tokens", "models"]
WIDTHS = {
    "started_at": 19, "agent_id": 24, "run_id": 36, "duration": 8, "llm_calls": 3, "tool_calls": 3, "total_tokens": 8,
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
    """Print each new or changed run on a line of its own, at once."""
    from relay_models.export import to_dicts
    from relay_models.timeline.text import clip_cells, plain

    from .output import cell_text

    session.open()
    out = session.out
    columns = list(names) if names else COLUMNS
    corrupt: list[CorruptDocumentError] = []
    since = datetime.fromtimestamp(0, UTC) if from_start else None
    runs = session.backend.watch_runs(
        filter, since=since, changes=changes, columns=True, interval=interval, corrupt=corrupt
    )
    for shown, run in enumerate(runs, 1):
        session.complain_of(corrupt)
        (row,) = to_dicts([run], columns=names if out.as_json else columns)
        if out.as_json:
            out.line(row)
        else:
            texts = {name: plain(cell_text(row[name])) for name in columns}
            parts = [clip_cells(text, WIDTHS[name]) if name in WIDTHS else text for name, text in texts.items()]
            out.line_text("  ".join(parts).rstrip())
        if count and shown >= count:
            return
