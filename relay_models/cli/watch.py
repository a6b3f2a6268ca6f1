"""`relay-models runs watch`: new runs as they are stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay_models.sync import RedisBackend

__all__ = ["new_runs", "watch_runs"]

COLUMNS = ["started_at", "agent_id", "run_id", "duration", "llm_calls", "tool_calls", "total_tokens", "models"]
WIDTHS = {
    "started_at": 19, "agent_id": 24, "run_id": 36, "duration": 8, "llm_calls": 3, "tool_calls": 3, "total_tokens": 8,
}  # fmt: skip


def new_runs(backend: RedisBackend, filter: Any, *, interval: float, from_start: bool) -> Iterator[Any]:
    """`Run` rows in the order in which they were first stored, for ever."""
    after = None
    if not from_start:
        last = backend.find_runs(None, order_by="-stored_at", limit=1, columns=True)
        began = next((run.stored_at for run in last), None)
        if began is not None:
            from relay_models.documents import Run

            filter = Run.stored_at > began if filter is None else filter & (Run.stored_at > began)
    while True:
        page = backend.find_runs(filter, order_by="stored_at", limit=500, after=after, columns=True)
        yield from page
        if len(page):
            after = page.cursor
        else:
            time.sleep(interval)


def watch_runs(
    session: Session, filter: Any, names: Sequence[str] | None, interval: float, count: int, from_start: bool
) -> None:
    """Print each new run on a line of its own, at once."""
    from relay_models.export import to_dicts
    from relay_models.timeline.text import clip_cells, plain

    from .output import cell_text

    out = session.out
    columns = list(names) if names else COLUMNS
    for shown, run in enumerate(new_runs(session.open(), filter, interval=interval, from_start=from_start), 1):
        (row,) = to_dicts([run], columns=names if out.as_json else columns)
        if out.as_json:
            out.line(row)
        else:
            texts = {name: plain(cell_text(row[name])) for name in columns}
            parts = [clip_cells(text, WIDTHS[name]) if name in WIDTHS else text for name, text in texts.items()]
            out.line_text("  ".join(parts).rstrip())
        if count and shown >= count:
            return
