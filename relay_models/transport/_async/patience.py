"""Patience: how a reply that is late is waited for, so that no wait outlasts the server that it is for."""

from __future__ import annotations

import math
import time
from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from relay_models.transport._io_async import Operation, read_reply

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

    async def read(self, connection: Any) -> Any:
        """Read a reply.

        Raises:
            TimeoutError: of redis-py; it did not come in time.
        """
        left = self._seconds
        if self._deadline < math.inf:
            left = min(left, self._deadline - time.monotonic())
        # Most replies are there already: no time is measured for those.
        end = None
        while True:
            try:
                return await read_reply(connection, max(_SHORTEST, min(_LOOK_INTERVAL, left)))
            except RedisTimeoutError:
                if left <= _LOOK_INTERVAL:
                    raise
                if end is None:
                    end = time.monotonic() + left - _LOOK_INTERVAL
            await self._look()
            left = end - time.monotonic()
