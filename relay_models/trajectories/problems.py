"""`describe`: why a record could not be made, in one line."""

from __future__ import annotations

from pydantic import ValidationError

from relay_models.records.record import error_details

__all__ = ["describe"]


def describe(error: ValidationError) -> str:
    """The first fault with its path, and how many more there are."""
    details = error_details(error)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{'.'.join(map(str, details[0]['loc']))}: {details[0]['msg']}{more}"
