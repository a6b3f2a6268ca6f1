"""The clock of a store: the server's time in microseconds, never twice the same within one backend."""

from __future__ import annotations

import threading
import time

__all__ = ["StoreClock"]


class StoreClock:
    """Microseconds since the epoch, strictly increasing; safe to read from many threads.

    It runs on the local monotonic clock and is set once by the server's, so that the backends of several machines
    order what they store by one clock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self._last = 0

    def set(self, server_us: int, sent_ns: int, received_ns: int) -> None:
        """The server said `server_us` between two readings of `time.monotonic_ns`."""
        with self._lock:
            self._offset = server_us - (sent_ns + received_ns) // 2000

    def now(self) -> int:
        """The next instant."""
        with self._lock:
            self._last = max(self._last + 1, time.monotonic_ns() // 1000 + self._offset)
            return self._last
