"""`time_limit`: a point in time by which a whole call ends, however many commands, attempts and waits it takes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["time_left", "time_limit", "without_time_limit"]


@dataclass(slots=True)
class _Limit:
    """When a block ends, on the monotonic clock, and the limit of the block around it."""

    deadline: float
    outer: _Limit | None


_current: ContextVar[_Limit | None] = ContextVar("relay_models_time_limit", default=None)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Let what waits inside the block wait until a point in time and no longer; an earlier one of blocks around holds.

    Args:
        seconds: from now; None for no limit but that of the blocks around.
    """
    outer = _current.get()
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    token = _current.set(_Limit(deadline if outer is None else min(deadline, outer.deadline), outer))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def without_time_limit() -> Iterator[None]:
    """Let something that has limits of its own happen inside the block: those around it end that much later."""
    limit, began = _current.get(), time.monotonic()
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
        elapsed = time.monotonic() - began
        while limit is not None:
            limit.deadline += elapsed
            limit = limit.outer


def time_left() -> float:
    """Return how long the running call may still wait (seconds, not below 0); infinity where it has no limit."""
    limit = _current.get()
    return math.inf if limit is None else max(0.0, limit.deadline - time.monotonic())
