"""`between`: the SQL test of a column for a range of numbers."""

from __future__ import annotations

from relay_models.embedded.search.syntax.nodes import Numeric

__all__ = ["between"]


def between(column: str, node: Numeric) -> tuple[str, list[object]]:
    """The test and its arguments."""
    parts: list[str] = []
    arguments: list[object] = []
    infinity = float("inf")
    if node.low is not None and not (node.low == -infinity and node.with_low):
        parts.append(f"{column} >{'=' if node.with_low else ''} ?")
        arguments.append(node.low)
    if node.high is not None and not (node.high == infinity and node.with_high):
        parts.append(f"{column} <{'=' if node.with_high else ''} ?")
        arguments.append(node.high)
    return " AND ".join(parts) or f"{column} IS NOT NULL", arguments
