"""`write_report`: one self-contained HTML file about the runs that meet a filter."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from relay_models._files import PRIVATE, open_output
from relay_models.pictures import Timeline
from relay_models.web.numbers import Numbers, plain_svg
from relay_models.web.question import Question
from relay_models.web.rendering import make_environment, row_view, static_file
from relay_models.web.timelines import drawn_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_models.records import RunRecord
    from relay_models.sync import RedisBackend

__all__ = ["report_html", "write_report"]

SLOWEST = 5
"""How many timelines a report has."""


def report_html(
    backend: RedisBackend,
    filter: str | None = None,
    *,
    columns: Sequence[str] = (),
    order_by: str = "-started_at",
    limit: int = 200,
    title: str = "",
) -> str:
    """Write a report about runs as HTML: numbers, charts, a table of runs, and timelines of the slowest.

    Args:
        backend: The store.
        filter: Text of the filter language; all runs by default.
        columns: The columns of the table; the usual ones by default.
        order_by: The order of the table.
        limit: Maximum number of rows in the table.
        title: The headline.

    Returns:
        A page without scripts that loads nothing.

    Raises:
        QueryError: The filter, a column or the order means nothing.
    """
    where = filter or None
    question = Question(filter or "", tuple(columns), order_by, document=backend.runs.document)
    numbers = Numbers(backend, where, link=lambda text: "", narrow=question.narrowed, exact=True)
    page = backend.find_runs(where, order_by=order_by, limit=limit, columns=True, on_corrupt="skip")
    slowest = backend.find_runs(where, order_by="-duration", limit=SLOWEST, on_corrupt="skip")
    shown = tuple(column for column in question.shown if column.name != "run_id")
    style = static_file("app.css").decode()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        make_environment()
        .get_template("report.html")
        .render(
            title=title or "Runs", style=style, style_hash=f"sha256-{digest}", where=filter, order=order_by,
            numbers=numbers, count=backend.count_runs(where), columns=shown, now=datetime.now(UTC),
            rows=[row_view(run, question) for run in page],
            timelines=[_timeline(run.record) for run in slowest if run.record is not None],
        )
    )  # fmt: skip


def _timeline(record: RunRecord) -> tuple[str, str]:
    """The timeline of a run, and what is said of it."""
    drawn = drawn_part(record)
    note = "" if drawn is record else f"The first {len(drawn.calls):,} of {len(record.calls):,} calls:"
    return plain_svg(Timeline(drawn).svg(width=1100)), note


def write_report(
    backend: RedisBackend,
    target: str | PathLike[str],
    filter: str | None = None,
    *,
    columns: Sequence[str] = (),
    order_by: str = "-started_at",
    limit: int = 200,
    title: str = "",
) -> Path:
    """Write a report about runs to a file, which only its owner can read: it holds names and times of runs.

    Args:
        backend: The store.
        target: The file.
        filter: Text of the filter language; all runs by default.
        columns: The columns of the table; the usual ones by default.
        order_by: The order of the table.
        limit: Maximum number of rows in the table.
        title: The headline.

    Returns:
        The path of the file.

    Raises:
        QueryError: The filter, a column or the order means nothing.
        OSError: The file cannot be written.
    """
    text = report_html(backend, filter, columns=columns, order_by=order_by, limit=limit, title=title)
    with open_output(target, mode=PRIVATE) as file:
        file.write(text.encode())
    return Path(target)
