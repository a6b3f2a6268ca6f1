"""Shorter names of columns, in the filter language, in orders and on the command line."""

from __future__ import annotations

__all__ = ["ALIASES"]

ALIASES = {
    "agent": "agent_id",
    "id": "run_id",
    "run": "run_id",
    "model": "models",
    "tool": "tools",
    "provider": "providers",
    "reason": "finish_reasons",
    "finish_reason": "finish_reasons",
    "started": "started_at",
    "ended": "ended_at",
    "stored": "stored_at",
    "updated": "updated_at",
    "tokens": "total_tokens",
    "words": "text",
}
"""Shorter names that the language takes for columns."""
