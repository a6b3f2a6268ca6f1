"""The errors that a search command answers with."""

from __future__ import annotations

__all__ = ["SearchError", "UnsupportedError"]


class SearchError(Exception):
    """A refused FT.* command; `str(error)` is the whole text of the error reply."""


class UnsupportedError(SearchError):
    """Something that a real server does and this engine does not: ``UnsupportedError("GEO fields are")``."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject} not supported by the embedded engine; use a Redis server with search")
