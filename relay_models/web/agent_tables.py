"""`accumulator_rows`: an agent's running statistics as the rows of a table."""

from __future__ import annotations

from relay_models import AccumulatorState, NodeAccumulators, RunningStats
from relay_models.pictures.text import number_text, plain

__all__ = ["accumulator_rows"]

_QUANTITIES = (
    ("remaining_calls", "remaining calls"),
    ("interarrival_ms", "next call after (ms)"),
    ("output_tokens", "output tokens"),
    ("sensitivity", "sensitivity"),
)


def accumulator_rows(state: AccumulatorState) -> list[tuple[str, ...]]:
    """Rows of path, quantity, samples, mean, standard deviation, p50, p95 and greatest value, over all calls."""
    rows = []
    for path in state.paths:
        node = state.nodes[path]
        for name, words in _QUANTITIES:
            stats = _of_all(node, name)
            if stats.count:
                rows.append((plain(path) or "(root)", words, *_numbers(stats)))
    return rows


def _of_all(node: NodeAccumulators, name: str) -> RunningStats:
    stats: RunningStats = getattr(node, f"all_{name}")
    return stats


def _numbers(stats: RunningStats) -> tuple[str, ...]:
    spread = stats.stddev
    numbers = (stats.mean, spread, stats.quantile(0.5), stats.quantile(0.95), stats.digest.max)
    return (f"{stats.count:,}", *("" if value is None else number_text(value) for value in numbers))
