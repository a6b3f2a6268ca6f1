"""`show_stats`: print aggregates as tables or JSON, and save them as charts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_models.cli.session import Session

__all__ = ["save_chart", "show_stats", "stats_rows"]

NONE = "(none)"


def stats_rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the rows as dicts, in the order of their columns."""
    from relay_models.pictures.charts import as_mapping  # lazy: start-up time

    return [dict(as_mapping(row)) for row in rows]


def show_stats(session: Session, rows: Iterable[Any]) -> None:
    """Print the rows; the columns they are grouped by are on the left."""
    from relay_models.cli.output import Column, cell_text  # lazy: start-up time

    read = stats_rows(rows)
    if session.as_json:
        session.out.array(read)
        return
    if not read:
        session.out.print("no runs match")
        return
    names = list(dict.fromkeys(name for row in read for name in row))
    right = {name: _numeric([row.get(name) for row in read]) for name in names}
    buckets = bucket_texts([row[names[0]] for row in read]) if isinstance(read[0][names[0]], datetime) else {}
    columns = [
        # A bucket is never cut.
        Column(name, right[name], priority=5 if right[name] else 8, least=6 if right[name] else 10)
        if name != names[0] or not buckets
        else Column(name, priority=9, least=40)
        for name in names
    ]

    def cell(row: dict[str, Any], name: str) -> str:
        value = row.get(name)
        if isinstance(value, datetime):
            return buckets.get(value, "") or bucket_text(value)
        return NONE if value is None and not right[name] else cell_text(value)

    session.out.table(columns, [[cell(row, name) for name in names] for row in read])


def bucket_texts(moments: Sequence[datetime | None]) -> dict[datetime, str]:
    """Format the starts of buckets, all equally short: days without times, minutes without seconds."""
    known = [moment for moment in moments if moment is not None]
    texts = {moment: bucket_text(moment) for moment in known}
    for length, tail in ((16, ":00"), (10, " 00:00")):
        if all(
            text[length : length + len(tail)] == tail and text[length + len(tail) :][:1] != "."
            for text in texts.values()
        ):
            texts = {moment: text[:length] + text[length + len(tail) :] for moment, text in texts.items()}
    return texts


def bucket_text(moment: datetime) -> str:
    """Format the start of a bucket in its time zone, with as much precision as needed."""
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    if moment.microsecond:
        text += f".{moment.microsecond:06}".rstrip("0")
    offset = moment.strftime("%z")
    return text if offset in ("", "+0000") else f"{text} {offset}"


def save_chart(session: Session, rows: Iterable[Any], path: str) -> None:
    """Save a chart of the rows.

    Raises:
        InvalidConfigurationError: matplotlib cannot write files with this extension.
        MissingExtraError: matplotlib is not installed.
    """
    from pathlib import Path  # lazy: start-up time

    from relay_models._files import open_output  # lazy: start-up time
    from relay_models.errors import InvalidConfigurationError  # lazy: start-up time
    from relay_models.pictures import chart  # lazy: start-up time

    figure = chart(rows)
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in figure.canvas.get_supported_filetypes():
        raise InvalidConfigurationError(f"a chart is saved as .svg, .png or .pdf, not as {ending or 'nothing'!r}")
    # Fonts with a single weight are good enough; do not warn about them.
    logger = logging.getLogger("matplotlib.font_manager")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with open_output(path) as file:
            figure.savefig(file, format=ending)
    finally:
        logger.setLevel(before)
    session.out.note(f"saved {path}")


def _numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float | Decimal | timedelta) and not isinstance(value, bool | Enum) for value in known
    )
