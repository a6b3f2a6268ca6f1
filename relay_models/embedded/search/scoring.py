"""The scores of the documents that a query finds."""

from __future__ import annotations

from relay_models.embedded.search.request import Request
from relay_models.embedded.search.select import Selection

__all__ = ["scores"]


def scores(selection: Selection, request: Request) -> list[tuple[int, bytes, float]]:
    """(docid, key, score) of all documents found, by docid."""
    return [(docid, key, 1.0) for docid, key in selection.rows("d.docid, d.key", "ORDER BY d.docid")]
