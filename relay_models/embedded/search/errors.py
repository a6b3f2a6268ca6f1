"""The error that a search command answers with."""

from __future__ import annotations

__all__ = ["SearchError"]


class SearchError(Exception):
    """A refused FT.* command; `str(error)` is the whole text of the error reply."""
