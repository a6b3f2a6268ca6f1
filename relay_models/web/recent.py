"""`recent_filter`: the last time in which there are not too many documents to count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

__all__ = ["recent_filter"]

_WINDOWS = (
    timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1),
    timedelta(days=6), timedelta(days=30), timedelta(days=365),
)  # fmt: skip


def recent_filter(collection: Any, most: int, *, whole: bool = False) -> str:
    """The filter of the longest of some times before the newest document in which there are at most `most`.

    No filter (an empty text) where these are all documents.

    Args:
        collection: runs, or documents of a user's model.
        most: maximum number of documents.
        whole: no filter (an empty text) where there are at most `most` documents at all.
    """
    if whole and collection.count() <= most:
        return ""
    time = "stored_at" if collection.document.is_own_model() else "started_at"
    newest = collection.find(None, order_by=f"-{time}", limit=1, columns=True)
    last = getattr(newest[0], time) if newest else None
    # A time in a filter has four digits for the year.
    if last is None or last.year < 1002:
        return ""
    text = ""
    # Counting takes as long as there are documents: short times come first.
    for span in _WINDOWS:
        first = last - span
        longer = f"{time} >= {first:%Y-%m-%d}" if span.days else f"{time} >= {first:%Y-%m-%dT%H:%MZ}"
        if text and collection.count(longer) > most:
            break
        text = longer
    else:
        # The longest time may hold all there are.
        first = last - _WINDOWS[-1]
        if not collection.count(f"{time} < {first:%Y-%m-%d}"):
            return ""
    return text
