"""Backoff: how long to pause before the next attempt, outside the transport's own retries."""

from __future__ import annotations

from typing import Any

import redis.backoff

__all__ = ["Backoff"]

# redis-om installs type stubs of an old redis-py, which lack this class.
_backoff: Any = redis.backoff


class Backoff:
    """Bounded exponential backoff with jitter, as redis-py computes it: pauses double, half of each is random.

    Args:
        first: the longest first pause (seconds).
        longest: the longest pause of all (seconds).

    Example:
        ```python
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                await attempt()
                backoff.reset()
            except ConnectionFailedError:
                await sleep(backoff.next())
        ```
    """

    def __init__(self, first: float, longest: float) -> None:
        self._strategy = _backoff.EqualJitterBackoff(base=first, cap=longest)
        self._longest = longest
        self._failures = 0

    def next(self) -> float:
        """Return the next pause (seconds)."""
        pause: float = self._strategy.compute(self._failures)
        # 2**64 times any pause is beyond its maximum; more would overflow a double in the end.
        self._failures = min(self._failures + 1, 64)
        return pause

    def slow_down(self) -> None:
        """Make the next pauses the longest ones: trying soon is of no use."""
        self._failures = 64

    def reset(self) -> None:
        """Begin with the first pause again, after a success."""
        self._failures = 0
