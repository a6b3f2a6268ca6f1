"""What the page and the MCP server show: values as text, calls as messages, comparisons."""

from __future__ import annotations

from relay_models.views.calls import MOST_CALLS, CallView, MessageView, Part, call_views, json_text
from relay_models.views.columns import (
    equal_to,
    find_model,
    find_run,
    known_columns,
    model_name,
    quoted,
    with_shown_values,
)
from relay_models.views.comparing import CallPair, Fact, RunComparison, compare_runs
from relay_models.views.families import Family, family_of
from relay_models.views.formats import column_text, heading_text, is_right, money_text, short_id, value_text
from relay_models.views.sessions import SessionPage, SessionSummary, read_before, session_page
from relay_models.views.windows import MOST_EXACT, compare_windows, usual_columns

__all__ = [
    "MOST_CALLS",
    "MOST_EXACT",
    "CallPair",
    "CallView",
    "Fact",
    "Family",
    "MessageView",
    "Part",
    "RunComparison",
    "SessionPage",
    "SessionSummary",
    "call_views",
    "column_text",
    "compare_runs",
    "compare_windows",
    "equal_to",
    "family_of",
    "find_model",
    "find_run",
    "heading_text",
    "is_right",
    "json_text",
    "known_columns",
    "model_name",
    "money_text",
    "quoted",
    "read_before",
    "session_page",
    "short_id",
    "usual_columns",
    "value_text",
    "with_shown_values",
]
