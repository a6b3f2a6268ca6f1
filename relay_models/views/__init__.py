"""What the page and the MCP server show: values as text, calls as messages, comparisons."""

from __future__ import annotations

from relay_models.views.calls import CallView, MessageView, Part, call_views, json_text
from relay_models.views.columns import find_run, known_columns, quoted
from relay_models.views.comparing import CallPair, Fact, RunComparison, compare_runs, compare_windows
from relay_models.views.formats import column_text, heading_text, is_right, short_id, value_text

__all__ = [
    "CallPair",
    "CallView",
    "Fact",
    "MessageView",
    "Part",
    "RunComparison",
    "call_views",
    "column_text",
    "compare_runs",
    "compare_windows",
    "find_run",
    "heading_text",
    "is_right",
    "json_text",
    "known_columns",
    "quoted",
    "short_id",
    "value_text",
]
