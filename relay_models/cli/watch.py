"""`relay-models runs watch`: new runs as they are stored."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .runs import each_run
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

__all__ = ["new_runs", "watch_runs"]

COLUMNS = ["started_at", "agent_id", "run_id", "duration", "llm_calls", "tool_calls", "total_tokens", "models"]
OVERLAP = timedelta(seconds=10)
WIDTHS = {
    "started_at": 19, "agent_id": 24, "run_id": 36, "duration": 8, "llm_calls": 3, "tool_calls": 3, "total_tokens": 8,
}  # fmt: skip


def new_runs(session: Session, filter: Any, *, interval: float, from_start: bool) -> Iterator[Any]:
    """`Run` rows as they are stored, each once, for ever.

    Several processes may store at once, each by its own reading of the server's clock, so a run can turn up a little
    before one that was seen already: every look goes back by `OVERLAP`, and what was shown is remembered that long.
    """
    newest = None
    if not from_start:
        for run in session.backend.find_runs(None, order_by="-stored_at", limit=1, columns=True):
            newest = run.stored_at
    begin = newest
    shown: dict[tuple[str, str], datetime] = {}
    while True:
        seen = 0
        for run in _since(session, filter, newest):
            key = (run.agent_id, str(run.run_id))
            if key in shown or (begin is not None and run.stored_at <= begin):
                continue
            seen += 1
            shown[key] = run.stored_at
            newest = run.stored_at if newest is None else max(newest, run.stored_at)
            yield run
        if newest is not None:
            shown = {key: at for key, at in shown.items() if at >= newest - OVERLAP}
        if not seen:
            time.sleep(interval)


def _since(session: Session, filter: Any, newest: datetime | None) -> Iterator[Any]:
    from relay_models.documents import Run

    if newest is not None:
        recent = Run.stored_at >= newest - OVERLAP
        filter = recent if filter is None else filter & recent
    return each_run(session, filter, "stored_at", None)


def watch_runs(
    session: Session, filter: Any, names: Sequence[str] | None, interval: float, count: int, from_start: bool
) -> None:
    """Print each new run on a line of its own, at once."""
    from relay_models.export import to_dicts
    from relay_models.timeline.text import clip_cells, plain

    from .output import cell_text

    session.open()
    out = session.out
    columns = list(names) if names else COLUMNS
    for shown, run in enumerate(new_runs(session, filter, interval=interval, from_start=from_start), 1):
        (row,) = to_dicts([run], columns=names if out.as_json else columns)
        if out.as_json:
            out.line(row)
        else:
            texts = {name: plain(cell_text(row[name])) for name in columns}
            parts = [clip_cells(text, WIDTHS[name]) if name in WIDTHS else text for name, text in texts.items()]
            out.line_text("  ".join(parts).rstrip())
        if count and shown >= count:
            return
