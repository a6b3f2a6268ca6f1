# ruff: noqa
# fmt: off
# Generated from relay_models/transport/_async/patience.py by scripts/generate_sync.py: change that, not this.
"""Patience: how a reply that is late is waited for, so that no wait outlasts the server that it is for."""

from __future__ import annotations

import math
import time
from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from relay_models.transport._io_sync import Operation, read_reply
from relay_models.transport.time_limit import time_left

__all__ = ["Patience"]

# Seconds without a reply after which is looked whether it can still come.
_LOOK_INTERVAL = 1.0
# The shortest wait for a reply (seconds).
_SHORTEST = 0.01


class Patience:
    """Waits for replies, and looks meanwhile, again and again, whether a late one can still come.

    Args:
        look: raises where it cannot, or is not worth waiting for.
        seconds: maximum wait for each reply, None for no limit but that of the running call.
    """

    def __init__(self, look: Operation[None], seconds: float | None) -> None:
        self._look = look
        self._seconds = math.inf if seconds is None else seconds

    def read(self, connection: Any) -> Any:
        """Read a reply.

        Raises:
            TimeoutError: of redis-py; it did not come in time.
        """
        left = min(self._seconds, time_left())
        # Most replies are there already: no time is measured for those.
        end = None
        while True:
            try:
                return read_reply(connection, max(_SHORTEST, min(_LOOK_INTERVAL, left)))
            except RedisTimeoutError:
                if left <= _LOOK_INTERVAL:
                    raise
                if end is None:
                    end = time.monotonic() + left - _LOOK_INTERVAL
            self._look()
            left = end - time.monotonic()
