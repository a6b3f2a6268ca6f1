# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/patience.py by scripts/generate_sync.py: change that, not this.
"""Patience: how a reply that is late is waited for, so that no wait outlasts the server that it is for."""

from __future__ import annotations

import math
import time
from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from relay_models.transport._io_sync import Operation

__all__ = ["Patience"]

# Seconds without a reply after which is looked whether it can still come.
_LOOK_INTERVAL = 1.0
# The shortest wait for a reply (seconds).
_SHORTEST = 0.01


class Patience:
    """Waits for replies, and looks meanwhile, again and again, whether a late one can still come.

    Args:
        look: raises where it cannot, or is not worth waiting for.
        seconds: maximum wait for each reply, None for no limit.
        deadline: when all waiting ends, on the monotonic clock.
    """

    def __init__(self, look: Operation[None], seconds: float | None, *, deadline: float = math.inf) -> None:
        self._look = look
        self._seconds = math.inf if seconds is None else seconds
        self._deadline = deadline

    def options(self) -> dict[str, Any]:
        """What to pass to redis-py's `read_response` for the first, short wait for a reply."""
        return self._options(min(self._seconds, self._deadline - time.monotonic()))

    def read(self, connection: Any) -> Any:
        """Read a reply that did not come within the first wait.

        Raises:
            TimeoutError: it did not come in time.
        """
        end = min(self._deadline, time.monotonic() + self._seconds - _LOOK_INTERVAL)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise RedisTimeoutError("no reply came")
            self._look()
            try:
                return connection.read_response(disable_decoding=True, **self._options(left))
            except RedisTimeoutError:
                continue

    def _options(self, left: float) -> dict[str, Any]:
        return {"timeout": max(_SHORTEST, min(_LOOK_INTERVAL, left)), "disconnect_on_error": False}
