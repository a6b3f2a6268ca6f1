"""`inclusive_usage`: token usage for a record, from a format whose input tokens include cached ones."""

from __future__ import annotations

from typing import Any

__all__ = ["inclusive_usage", "unsigned"]


def inclusive_usage(
    prompt: Any, output: Any, *, total: Any = None, read: Any = None, written: Any = None, cost: Any = None
) -> dict[str, Any]:
    """Make the `usage` of a record; figures that are no token counts are left out.

    `uncached_input_tokens` says that the prompt tokens include the cache (see `relay_models.records.tokens`). Where
    the prompt has fewer tokens than the cache, the writer has counted as Anthropic does, and the cache is added.
    """
    prompt, output, total = unsigned(prompt), unsigned(output), unsigned(total)
    read, written = unsigned(read), unsigned(written)
    within = (read or 0) + (written or 0)
    if prompt is not None and prompt < within:
        prompt += within
    if total is None and prompt is not None and output is not None:
        total = prompt + output
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": total,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "uncached_input_tokens": None if prompt is None or not within else prompt - within,
        "cost": cost,
    }
    return {name: value for name, value in usage.items() if value is not None}


def unsigned(value: Any, bits: int = 64) -> int | None:
    """Return a whole number that fits into `bits`, or None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**bits else None
