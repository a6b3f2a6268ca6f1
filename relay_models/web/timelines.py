"""`drawn_part`: what of a run a timeline shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_models.views import MOST_CALLS

if TYPE_CHECKING:
    from relay_models.records import RunRecord

__all__ = ["drawn_part"]

MOST_DRAWN = 2_000
"""Maximum number of calls of one timeline."""


def drawn_part(record: RunRecord, first: int = 0) -> RunRecord:
    """The run, or where it has very many calls, a run of those that a page lists, as long as these took.

    Args:
        record: the run.
        first: the index of the first call that is listed.
    """
    if len(record.calls) <= MOST_DRAWN:
        return record
    calls = record.calls[first : first + MOST_CALLS]
    began = min(call.started_at for call in calls)
    ended = max(call.ended_at or call.started_at for call in calls)
    return record.model_copy(update={"calls": calls, "started_at": began, "ended_at": ended})
